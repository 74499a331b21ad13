"""Pictures made from a data set's own files, kept in the cache: arrays as PNG, crops as JPEG, and a `labels.csv`.

They are made once, in full or not at all, and again when the files they come from change or when some are gone.
"""

import csv
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fieldmark.data.index import Index, Skipped, fingerprint
from fieldmark.errors import DataError, PictureError, UsageError
from fieldmark.files import atomic_folder, cache_folder, sha256, sha256_file
from fieldmark.pictures import decode, read_bytes
from fieldmark.types import Boxes, Sample

from .place import Progress

VERSION = 1  # of what is kept
FACTS = "facts.json"
STORED = 0  # PNG without compression: a small picture takes one block of the disk anyway, and its size is the same on
# every machine, so that the data's fingerprint is
QUALITY = 95
AT_A_TIME = 1000
Row = tuple[str, str, str | None, str | None]  # name, label, split, coarse


@dataclass(frozen=True)
class Part:
    """One split of a set in arrays: `pictures` uint8 [N, H, W] or [N, H, W, 3], `labels` and `coarse` [N]."""

    split: str | None
    pictures: NDArray[np.uint8]
    labels: Sequence[str]
    coarse: Sequence[str] | None = None


def kept_arrays(
    name: str, sources: Iterable[Path], read: Callable[[], Iterable[Part]], progress: Progress | None
) -> Index:
    """The Index of pictures that `read` gives from the files `sources`; it is not called when they are kept."""
    key = sha256("\n".join([str(VERSION), *map(sha256_file, sources)]).encode())

    def make(folder: Path) -> tuple[list[Row], list[Skipped]]:
        parts = list(read())
        total, rows = sum(len(part.pictures) for part in parts), []
        for part in parts:
            for i, row in enumerate(_rows(part)):
                _save(part.pictures[i], folder / row[0])
                rows.append(row)
                if progress is not None and (len(rows) % AT_A_TIME == 0 or len(rows) == total):
                    progress(f"unpacking {name}", len(rows), total)
        return rows, []

    return _kept(name, key, make)


def _rows(part: Part) -> Iterator[Row]:
    for i, label in enumerate(part.labels):
        name = f"{part.split or 'all'}/{i // AT_A_TIME:03d}/{i:06d}.png"
        yield name, label, part.split, part.coarse[i] if part.coarse is not None else None


def _save(picture: NDArray[np.uint8], path: Path) -> None:
    try:
        Image.fromarray(picture).save(path, compress_level=STORED)
    except FileNotFoundError:
        path.parent.mkdir(parents=True)
        Image.fromarray(picture).save(path, compress_level=STORED)


def kept_crops(name: str, index: Index, progress: Progress | None) -> Index:
    """The Index of the largest box of every picture, cut out; one without a box is left out."""
    boxes = [list(map(float, _largest(s.boxes))) if s.boxes is not None else [] for s in index.samples]
    key = sha256(json.dumps([VERSION, fingerprint(index.samples), boxes]).encode())

    def make(folder: Path) -> tuple[list[Row], list[Skipped]]:
        rows: list[Row] = []
        skipped = list(index.skipped)
        with ThreadPoolExecutor() as pool:
            for batch in _batches(index.samples):
                for sample, reason in zip(batch, pool.map(lambda s: _crop(s, folder), batch), strict=True):
                    if reason is None:
                        rows.append((_crop_name(sample), sample.label, sample.split, sample.coarse))
                    else:
                        skipped.append(Skipped(sample.name, reason))
                if progress is not None:
                    progress(f"cutting out {name}", len(rows) + len(skipped), len(index.samples) + len(index.skipped))
        return rows, skipped

    return _kept(name, key, make)


def _batches(samples: Sequence[Sample]) -> Iterator[list[Sample]]:
    waiting = iter(samples)
    while batch := list(islice(waiting, AT_A_TIME)):
        yield batch


def _largest(boxes: Boxes) -> NDArray[np.float32]:
    """The box of the largest area, xyxy; the first of several."""
    sides = boxes.xyxy[:, 2:] - boxes.xyxy[:, :2]
    found: NDArray[np.float32] = boxes.xyxy[int(np.argmax(sides.prod(axis=1)))]
    return found


def _crop_name(sample: Sample) -> str:
    return str(Path(sample.name).with_suffix(".jpg").as_posix())


def _crop(sample: Sample, folder: Path) -> str | None:
    """Cut one picture out; the reason when that cannot be."""
    if sample.boxes is None or not len(sample.boxes.xyxy):
        return "no box is given"
    try:
        image = decode(read_bytes(sample.path))
    except PictureError as error:
        return str(error)
    left, top, right, bottom = np.rint(_largest(sample.boxes)).astype(int).tolist()
    box = max(left, 0), max(top, 0), min(right, image.width), min(bottom, image.height)
    if box[0] >= box[2] or box[1] >= box[3]:
        return "its box lies outside of it"
    target = folder / _crop_name(sample)
    target.parent.mkdir(parents=True, exist_ok=True)
    image.crop(box).save(target, "JPEG", quality=QUALITY, subsampling=0)
    return None


def _kept(name: str, key: str, make: Callable[[Path], tuple[list[Row], list[Skipped]]]) -> Index:
    """What is kept of this name and key; made, or made again, when it is not all there."""
    folder = cache_folder() / "unpacked" / f"{name}-{key[:16]}"
    found = _open(name, folder)
    if found is not None:
        return found
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with atomic_folder(folder) as partial:
            rows, skipped = make(partial)
            _write(partial, rows, skipped)
    except UsageError:  # another process may have been faster
        if _open(name, folder) is None:
            raise
    found = _open(name, folder)
    if found is None:
        raise DataError(f"{folder} was changed while it was made; ask again")
    return found


def _write(folder: Path, rows: list[Row], skipped: list[Skipped]) -> None:
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(("path", "label", "split", "coarse"))
        table.writerows(rows)
    facts = {"pictures": len(rows), "skipped": [[s.name, s.reason] for s in skipped]}
    (folder / FACTS).write_text(json.dumps(facts) + "\n", encoding="utf-8")


def _open(name: str, folder: Path) -> Index | None:
    """The Index of a kept folder; None when it is not there or no longer complete."""
    try:
        facts: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        with (folder / "labels.csv").open(encoding="utf-8", newline="") as stream:
            rows = list(csv.reader(stream))[1:]
        samples = tuple(
            Sample(folder / path, path, (label,), part or None, coarse=coarse or None)
            for path, label, part, coarse in rows
        )
        whole = len(rows) == facts["pictures"] and _pictures(folder) >= {row[0] for row in rows}
        return Index(name, samples, tuple(Skipped(*row) for row in facts["skipped"])) if whole else None
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return None


def _pictures(folder: Path) -> set[str]:
    """The files below a folder, as paths relative to it; the system is asked once a folder, not once a file."""
    found, waiting = set(), [""]
    while waiting:
        here = waiting.pop()
        with os.scandir(folder / here) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{here}{entry.name}/")
                else:
                    found.add(f"{here}{entry.name}")
    return found
