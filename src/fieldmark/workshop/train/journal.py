"""What a run writes down as it goes: `log.jsonl`, one JSON object a line, and the seconds of its steps."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Progress = Callable[[str, int, int], None]  # step, done, total


def silent(step: str, done: int, total: int) -> None:
    """Progress for nobody."""


class Journal:
    """The log of a run; `begun` is on the clock of time.monotonic()."""

    def __init__(self, path: Path, progress: Progress = silent) -> None:
        self.path, self.progress = path, progress
        self.begun = time.monotonic()
        self.steps: list[tuple[str, float]] = []

    def write(self, event: str, **facts: Any) -> None:
        """Append one line; a killed run leaves at most its last line unfinished."""
        line = json.dumps(
            {"event": event, "seconds": round(time.monotonic() - self.begun, 3), **facts}, ensure_ascii=False
        )
        with self.path.open("a", encoding="utf-8") as out:
            out.write(line + "\n")

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
