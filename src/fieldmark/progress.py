"""Progress with remaining time on standard error: a live bar on a terminal, a line a step elsewhere."""

import sys
import time
from types import TracebackType

LINE_EVERY_S = 10.0


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
    return f"{step}  {done:,} of {total:,}  {done / max(elapsed_s, 1e-9):,.0f} a second, {left:.0f} s left"
