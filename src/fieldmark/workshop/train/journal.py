"""What a run writes down as it goes: `log.jsonl`, one JSON object a line, and the seconds of its steps."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fieldmark.errors import UsageError
from fieldmark.progress import SENTENCE
from fieldmark.workshop.train.trackers import Tracker

Progress = Callable[[str, int, int], None]  # step, done, total


def silent(step: str, done: int, total: int) -> None:
    """Progress for nobody."""


class Journal:
    """The log of a run; `begun` is on the clock of time.monotonic()."""

    def __init__(
        self,
        path: Path,
        progress: Progress = silent,
        begun: float | None = None,
        trackers: Sequence[Tracker] = (),
    ) -> None:
        self.path, self.progress, self.trackers = path, progress, trackers
        self.begun = time.monotonic() if begun is None else begun
        self.steps: list[tuple[str, float]] = []

    def write(self, event: str, **facts: Any) -> None:
        """Append one line; a killed run leaves at most its last line unfinished."""
        line = json.dumps(
            {"event": event, "seconds": round(time.monotonic() - self.begun, 3), **facts}, ensure_ascii=False
        )
        try:
            with self.path.open("a", encoding="utf-8", errors="backslashreplace") as out:
                out.write(line + "\n")
        except OSError as error:
            raise UsageError(f"cannot write {self.path}: {error.strerror}; free some room there") from error

    def measure(self, event: str, stage: str, step: int, **values: float) -> None:
        """Write down numbers of a step, and hand them to the trackers."""
        self.write(event, stage=stage, step=step, **values)
        for tracker in self.trackers:
            tracker.log({f"{stage}/{event}/{name}": float(v) for name, v in values.items()}, step)

    def close(self) -> None:
        """End the trackers' runs."""
        for tracker in self.trackers:
            tracker.close()

    def say(self, sentence: str) -> None:
        """A sentence for whoever watches."""
        self.write("note", sentence=sentence)
        self.progress(sentence, SENTENCE, SENTENCE)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Callable[[int, int], None]]:
        """Time a named step; gives the function that reports how much of it is done."""
        begun = time.monotonic()
        self.progress(name, 0, 0)
        yield lambda done, total: self.progress(name, done, total)
        seconds = time.monotonic() - begun
        self.progress(name, 1, 1)
        self.steps.append((name, seconds))
        self.write("step", name=name, took=round(seconds, 3))
