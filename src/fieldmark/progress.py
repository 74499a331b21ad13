"""Progress with remaining time on standard error: a live bar on a terminal, a line a step elsewhere."""

import contextlib
import io
import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

LINE_EVERY_S = 10.0
SENTENCE = -1  # in place of done and total: the step is a sentence, shown as it is


class Reporter:
    """A context that shows steps; call it with (step, done, total)."""

    def __init__(self) -> None:
        self._begun: dict[str, float] = {}
        self._shown = 0.0
        self._step = ""

    def __enter__(self) -> "Reporter":
        return self

    def say(self, step: str) -> None:
        """Show a step whose length is not known."""
        self(step, 0, 0)

    def __call__(self, step: str, done: int, total: int) -> None:
        now = time.monotonic()
        begun = self._begun.setdefault(step, now)
        live = sys.stderr.isatty()
        if total == SENTENCE:
            sys.stderr.write(f"\n{step}" if live else f"{step}\n")
            self._step = step
            return
        if not live and step == self._step and now - self._shown < LINE_EVERY_S:
            return
        if live and step == self._step and now - self._shown < 0.1 and done < total:
            return
        if live and step != self._step and self._step:
            sys.stderr.write("\n")
        self._step, self._shown = step, now
        text = _line(step, done, total, now - begun)
        sys.stderr.write(f"\r\x1b[2K{text}" if live else f"{text}\n")
        sys.stderr.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if sys.stderr.isatty() and self._step:
            sys.stderr.write("\n")


def _line(step: str, done: int, total: int, elapsed_s: float) -> str:
    if not 0 < done < total or elapsed_s < 0.2:
        return f"{step} ..." if done < total or total == 0 else f"{step} done in {elapsed_s:.1f} s"
    left = elapsed_s / done * (total - done)
    speed = f"{done / elapsed_s:,.0f} a second, " if done >= elapsed_s else ""
    return f"{step}  {done:,} of {total:,}  {speed}{left:.0f} s left"


class _Unfailing(io.RawIOBase):
    """A stream to a file descriptor that drops what cannot be written."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def fileno(self) -> int:
        return self._descriptor

    def write(self, data: Any) -> int:
        with contextlib.suppress(OSError):
            return os.write(self._descriptor, data)
        return len(data)


def steady_streams() -> None:
    """Let no work end because nobody listens: closed standard streams lead nowhere, standard error never fails."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # else the next file opened would be taken for the stream
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for as long as the process
    if sys.stderr is None or sys.stderr is sys.__stderr__:
        encoding = sys.stderr.encoding if sys.stderr is not None else "utf-8"
        sys.stderr = io.TextIOWrapper(io.BufferedWriter(_Unfailing(2)), encoding, line_buffering=True)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file name may hold what the terminal's encoding does not
            stream.reconfigure(errors="backslashreplace")
