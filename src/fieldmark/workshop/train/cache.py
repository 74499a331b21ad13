"""Outputs of a frozen network, kept by the content of the picture, so that a second run computes nothing twice.

A cache is a folder of shards; a shard is two files: `NAME.npy`, float16 rows [n, ...], memory-mapped, and `NAME.key`,
16 bytes of each picture's SHA-256, in order, and the CRC-32 of both (of the .npy file, going on with the digests).
Shards are written whole, one every `SHARD_ROWS` pictures or `SHARD_BYTES`, so that a killed run goes on from the last
one. A shard whose CRC-32 differs, as after a power cut, is one that is not there.
"""

import contextlib
import os
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from uuid import uuid4

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from fieldmark.errors import PictureError, UsageError
from fieldmark.field.runtime import Engine, cores, stream
from fieldmark.files import atomic_file, cache_folder, is_file, sha256, trim_cache
from fieldmark.pictures import read_bytes
from fieldmark.types import Picture

SHARD_ROWS = 2048
SHARD_BYTES = 64_000_000
KEY_BYTES = 16
CRC_BYTES = 4
PIECE_BYTES = 1 << 22
DIGESTS_AT_ONCE = 64  # files a thread takes: to hand over each would cost as much as a small file
DAMAGED = (OSError, ValueError, EOFError)
Digest = bytes
Tick = Callable[[int, int], None]


def feature_folder() -> Path:
    """Where all feature caches are, one folder for each frozen network, input and view."""
    return cache_folder() / "features"


def check_writable() -> None:
    """UsageError when features cannot be kept, before any is computed."""
    folder = feature_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        raise UsageError(_unwritable(error.strerror or str(error))) from error


def _unwritable(reason: str) -> str:
    return (
        f"the cache folder {cache_folder()} cannot be written ({reason}); "
        "set FIELDMARK_CACHE to a folder with room that can be"
    )


def digests(paths: Sequence[Path]) -> list[Digest | str]:
    """The content digest of every file, or the sentence why it cannot be read."""

    def one(path: Path) -> Digest | str:
        try:
            return _digest(read_bytes(path))
        except PictureError as error:
            return str(error)

    def some(start: int) -> list[Digest | str]:
        return [one(path) for path in paths[start : start + DIGESTS_AT_ONCE]]

    with ThreadPoolExecutor(cores()) as pool:
        return list(chain.from_iterable(pool.map(some, range(0, len(paths), DIGESTS_AT_ONCE))))


def _digest(data: bytes) -> Digest:
    return bytes.fromhex(sha256(data))[:KEY_BYTES]


class FeatureCache:
    """Rows of one frozen network on one view of pictures; `rows` finds them, `fill` computes what lacks."""

    def __init__(self, key: str, output: str) -> None:
        self.folder = feature_folder() / sha256(key.encode())[:32]
        self.output = output
        self._place: dict[Digest, tuple[int, int]] = {}
        self._shards: list[NDArray[np.float16]] = []
        with ThreadPoolExecutor(cores()) as pool:
            found = [s for s in pool.map(_read, sorted(self.folder.glob("*.key"))) if s is not None]
        shapes = Counter(shard.shape[1:] for shard, _ in found).most_common(1)
        for shard, keys in found:
            if shard.shape[1:] == shapes[0][0]:
                self._add(shard, keys)

    def _add(self, shard: NDArray[np.float16], keys: Iterable[Digest]) -> None:
        self._place |= {key: (len(self._shards), row) for row, key in enumerate(keys)}
        self._shards.append(shard)

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, digest: Digest) -> bool:
        return digest in self._place

    def row(self, digest: Digest) -> NDArray[np.float16]:
        """The row of a picture, not copied."""
        shard, row = self._place[digest]
        found: NDArray[np.float16] = self._shards[shard][row]
        return found

    def rows(self, wanted: Sequence[Digest]) -> NDArray[np.float16]:
        """The rows [N, ...] of these pictures, in this order."""
        return np.stack([self.row(digest) for digest in wanted])

    def write(self, keys: list[Digest], rows: list[NDArray[np.float16]]) -> None:
        """Keep these rows as one shard; UsageError when the cache cannot be written."""
        place = self.folder / uuid4().hex
        try:
            with atomic_file(place.with_suffix(".npy")) as partial:
                with partial.open("wb") as out:
                    np.save(out, np.stack(rows), allow_pickle=False)
                check = _checksum(partial, b"".join(keys))
            with atomic_file(place.with_suffix(".key")) as partial:
                partial.write_bytes(b"".join(keys) + check)
        except (UsageError, OSError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            raise UsageError(_unwritable(getattr(cause, "strerror", None) or str(cause or error))) from error
        self._add(open_memmap(place.with_suffix(".npy"), mode="r"), keys)
        trim_cache(feature_folder())


def _checksum(rows: Path, digests: bytes) -> bytes:
    check = 0
    with rows.open("rb") as stream:
        while piece := stream.read(PIECE_BYTES):
            check = zlib.crc32(piece, check)
    return zlib.crc32(digests, check).to_bytes(CRC_BYTES, "little")


def _read(keys: Path) -> tuple[NDArray[np.float16], list[Digest]] | None:
    """The rows and digests of a shard, and mark it as used; None for one that is damaged or was evicted under us."""
    place = keys.with_suffix(".npy")
    if not is_file(keys) or not is_file(place):
        return None
    with contextlib.suppress(*DAMAGED):
        raw = keys.read_bytes()
        digests, check = raw[:-CRC_BYTES], raw[-CRC_BYTES:]
        if _checksum(place, digests) != check:
            return None
        shard = open_memmap(place, mode="r")
        if shard.ndim >= 2 and shard.dtype == np.float16 and len(digests) == KEY_BYTES * len(shard):
            os.utime(keys)
            os.utime(place)
            return shard, [digests[i : i + KEY_BYTES] for i in range(0, len(digests), KEY_BYTES)]
    return None


class _Shards:
    """Rows on their way into a cache, written a shard at a time."""

    def __init__(self, cache: FeatureCache) -> None:
        self.cache = cache
        self.keys: list[Digest] = []
        self.rows: list[NDArray[np.float16]] = []

    def add(self, key: Digest, row: NDArray[np.float32]) -> None:
        if key in self.cache:
            return
        self.keys.append(key)
        self.rows.append(_half(row))
        if len(self.rows) == SHARD_ROWS or len(self.rows) * self.rows[0].nbytes >= SHARD_BYTES:
            self.flush()

    def flush(self) -> None:
        if self.rows:
            self.cache.write(self.keys, self.rows)
            self.keys, self.rows = [], []


def fill(
    caches: Sequence[FeatureCache],
    engine: Engine,
    wanted: Sequence[tuple[Digest, Path]],
    load: Callable[[bytes, Digest], Picture],
    tick: Tick,
) -> dict[Digest, str]:
    """Compute and keep, in one pass, the rows that any of `caches` lacks; the sentences for pictures that cannot be
    used. Each cache keeps the engine's output that it is named for."""
    todo = {digest: path for digest, path in wanted if any(digest not in cache for cache in caches)}
    errors: dict[Digest, str] = {}
    shards = [_Shards(cache) for cache in caches]
    done = len(wanted) - len(todo)
    tick(done, len(wanted))
    names = tuple(cache.output for cache in caches)
    for seen in stream(engine, todo.items(), lambda item: load(same_bytes(item[1], item[0]), item[0]), names):
        if seen.error is not None:
            errors[seen.item[0]] = seen.error
        elif not all(np.isfinite(seen.outputs[name]).all() for name in names):
            errors[seen.item[0]] = "the network's answer to it is not finite; check model.weights"
        else:
            for shard in shards:
                shard.add(seen.item[0], seen.outputs[shard.cache.output])
        done += 1
        tick(done, len(wanted))
    for shard in shards:
        shard.flush()
    return errors


def same_bytes(path: Path, digest: Digest) -> bytes:
    """The bytes of a file whose digest is known; PictureError when it has others by now."""
    data = read_bytes(path)
    if _digest(data) != digest:
        raise PictureError("the file has changed since the training began")
    return data


def _half(values: NDArray[np.float32]) -> NDArray[np.float16]:
    limit = np.finfo(np.float16).max
    return np.clip(values, -limit, limit).astype(np.float16)
