"""Many pictures through an engine: in order, in bounded memory, unreadable ones reported and left out.

Every worker takes a micro-batch through reading, decoding, resizing and inference by itself. On a busy CPU nothing
hides behind compute, so the best is to keep each core on one piece of work and to hand nothing over.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Generic, Protocol, TypeVar

import numpy as np

from fieldmark.errors import PictureError, UsageError
from fieldmark.types import Picture

from .engine import Arrays, Engine, cores

T = TypeVar("T")
Load = Callable[[T], Picture]
AHEAD = 4  # micro-batches in flight a worker


@dataclass(frozen=True)
class Seen(Generic[T]):
    """One picture after the engine: its outputs (each without the batch axis), or the sentence why there are none."""

    item: T
    outputs: Arrays
    error: str | None = None


class Look(Protocol[T]):
    """How a micro-batch of items goes through an engine."""

    def __call__(self, engine: Engine, load: Load[T], items: Sequence[T], outputs: Sequence[str]) -> list[Seen[T]]: ...


def see(engine: Engine, load: Load[T], items: Sequence[T], outputs: Sequence[str]) -> list[Seen[T]]:
    """Load and run a micro-batch; a PictureError of `load` becomes that item's error."""
    pictures: list[Picture | str] = [_load(load, item) for item in items]
    usable = [p for p in pictures if not isinstance(p, str)]
    found = engine.run(np.stack(usable), outputs) if usable else {}
    rows = iter(range(len(usable)))
    seen: list[Seen[T]] = []
    for item, picture in zip(items, pictures, strict=True):
        if isinstance(picture, str):
            seen.append(Seen(item, {}, picture))
        else:
            row = next(rows)
            seen.append(Seen(item, {name: array[row] for name, array in found.items()}))
    return seen


def stream(
    engine: Engine,
    items: Iterable[T],
    load: Load[T],
    outputs: Sequence[str],
    workers: int | None = None,
    look: Look[T] = see,
) -> Iterator[Seen[T]]:
    """Load and run every item; results come in the order of `items`, whose pictures `load` gives as uint8 [H, W, 3].

    A PictureError of `load` becomes that item's error. `workers` None or 0 is one a core; at most `workers` x AHEAD
    micro-batches are held at a time. `look` is how each of them is seen.
    """
    workers = cores() if workers is None or workers == 0 else workers
    if not isinstance(workers, int) or workers < 0:
        raise UsageError(f"workers must be a whole number of 0 (all cores) or more, not {workers!r}")
    batches = _batched(items, engine.micro_batch)
    with ThreadPoolExecutor(workers, thread_name_prefix="fieldmark") as pool:
        pending: deque[Future[list[Seen[T]]]] = deque(
            pool.submit(look, engine, load, b, outputs) for b in islice(batches, workers * AHEAD)
        )
        try:
            while pending:
                done = pending.popleft().result()
                following = next(batches, None)
                if following is not None:
                    pending.append(pool.submit(look, engine, load, following, outputs))
                yield from done
        finally:
            for future in pending:
                future.cancel()


def _load(load: Callable[[T], Picture], item: T) -> Picture | str:
    try:
        return load(item)
    except PictureError as error:
        return str(error)


def _batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
