"""Outputs of a frozen network, kept by the content of the picture, so that a second run computes nothing twice.

A cache is a folder of shards; a shard is two files: `NAME.npy`, float16 rows [n, D], memory-mapped, and `NAME.key`,
16 bytes of each picture's SHA-256, in order. Shards are written whole, one every `SHARD_ROWS` pictures, so that a
killed run goes on from the last one.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from fieldmark.errors import PictureError
from fieldmark.field.runtime import Engine, cores, stream
from fieldmark.files import atomic_file, cache_folder, sha256, trim_cache
from fieldmark.pictures import read_bytes
from fieldmark.types import Picture

SHARD_ROWS = 2048
KEY_BYTES = 16
DAMAGED = (OSError, ValueError, EOFError)
Digest = bytes
Tick = Callable[[int, int], None]


def feature_folder() -> Path:
    """Where all feature caches are, one folder for each frozen network, input and view."""
    return cache_folder() / "features"


def digests(paths: Sequence[Path]) -> list[Digest | str]:
    """The content digest of every file, or the sentence why it cannot be read."""

    def one(path: Path) -> Digest | str:
        try:
            return bytes.fromhex(sha256(read_bytes(path)))[:KEY_BYTES]
        except PictureError as error:
            return str(error)

    with ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(one, paths))


class FeatureCache:
    """Rows of one frozen network on one view of pictures; `rows(digest)` finds them, `extend` computes what lacks."""

    def __init__(self, key: str, output: str) -> None:
        self.folder = feature_folder() / sha256(key.encode())[:32]
        self.output = output
        self._place: dict[Digest, tuple[int, int]] = {}
        self._shards: list[NDArray[np.float16]] = []
        for path in sorted(self.folder.glob("*.key")):
            self._open(path)

    def _open(self, keys: Path) -> None:
        with contextlib.suppress(*DAMAGED):  # a shard cut or evicted under us is one that is not there
            shard = open_memmap(keys.with_suffix(".npy"), mode="r")
            raw = keys.read_bytes()
            if shard.ndim == 2 and shard.dtype == np.float16 and len(raw) == KEY_BYTES * len(shard):
                self._add(shard, [raw[i : i + KEY_BYTES] for i in range(0, len(raw), KEY_BYTES)])
                os.utime(keys)
                os.utime(keys.with_suffix(".npy"))

    def _add(self, shard: NDArray[np.float16], keys: Iterable[Digest]) -> None:
        self._place |= {key: (len(self._shards), row) for row, key in enumerate(keys)}
        self._shards.append(shard)

    def __contains__(self, digest: Digest) -> bool:
        return digest in self._place

    def rows(self, wanted: Sequence[Digest]) -> NDArray[np.float16]:
        """The rows [N, D] of these pictures, in this order."""
        places = [self._place[d] for d in wanted]
        return np.stack([self._shards[s][r] for s, r in places])

    def extend(
        self,
        engine: Engine,
        wanted: Sequence[tuple[Digest, Path]],
        load: Callable[[bytes, Digest], Picture],
        tick: Tick,
    ) -> dict[Digest, str]:
        """Compute and keep the rows that are not there; the sentences for pictures that cannot be used."""
        todo = {digest: path for digest, path in wanted if digest not in self}
        errors: dict[Digest, str] = {}
        keys: list[Digest] = []
        rows: list[NDArray[np.float16]] = []
        done = len(wanted) - len(todo)
        tick(done, len(wanted))
        for seen in stream(engine, todo.items(), lambda item: load(read_bytes(item[1]), item[0]), (self.output,)):
            if seen.error is not None:
                errors[seen.item[0]] = seen.error
            else:
                keys.append(seen.item[0])
                rows.append(_half(seen.outputs[self.output]))
            if len(rows) == SHARD_ROWS:
                self._write(keys, rows)
                keys, rows = [], []
            done += 1
            tick(done, len(wanted))
        if rows:
            self._write(keys, rows)
        return errors

    def _write(self, keys: list[Digest], rows: list[NDArray[np.float16]]) -> None:
        place = self.folder / uuid4().hex
        shard = np.stack(rows)
        with atomic_file(place.with_suffix(".npy")) as partial, partial.open("wb") as out:
            np.save(out, shard, allow_pickle=False)
        with atomic_file(place.with_suffix(".key")) as partial:
            partial.write_bytes(b"".join(keys))
        self._add(open_memmap(place.with_suffix(".npy"), mode="r"), keys)
        trim_cache(feature_folder())


def _half(values: NDArray[np.float32]) -> NDArray[np.float16]:
    limit = np.finfo(np.float16).max
    return np.clip(values, -limit, limit).astype(np.float16)
