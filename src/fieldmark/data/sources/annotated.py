"""What the formats of boxes and masks share: the annotation of a picture becomes a Sample, its faults become notes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from fieldmark.data.boxes import MAX_BOXES, mend
from fieldmark.data.frame import read_frame, settle
from fieldmark.data.index import Note
from fieldmark.data.masks import MAX_CLASSES
from fieldmark.errors import DataError, PictureError, short
from fieldmark.files import is_file
from fieldmark.pictures import SUFFIXES, list_folder, read_bytes
from fieldmark.types import Outlines, Region, Sample

Progress = Callable[[str, int, int], None]
Item = TypeVar("Item")
CLASSES_FILE = "classes.txt"
MAX_TEXT_BYTES = 16_000_000  # of an annotation file of one picture, or of a list
MAX_NOTES = 1_000
MAX_SIDE = 1_000_000  # of a picture, in pixels
MAX_POINTS = 200_000  # of the outlines of a picture
SAID_EVERY = 100  # pictures


class Notes:
    """What was mended or passed over so far; after MAX_NOTES only how often."""

    def __init__(self) -> None:
        self._first: list[Note] = []
        self._more = 0

    def add(self, name: str, text: str) -> None:
        if len(self._first) < MAX_NOTES:
            self._first.append(Note(name, text))
        else:
            self._more += 1

    def all(self) -> tuple[Note, ...]:
        if not self._more:
            return tuple(self._first)
        return (*self._first, Note("...", f"{self._more:,} more of the kind"))


class Row(NamedTuple):
    """One box: where it stands in its file, its label, and its corners as written, NaN for what is no number."""

    place: str
    label: str
    xyxy: tuple[float, float, float, float]


@dataclass(frozen=True)
class Annotation:
    """What a file says of one picture: boxes, and regions where it has them.

    `size_wh` is the size of the picture that it names; `relative`: coordinates are shares of the picture's sides.
    """

    source: str
    rows: Sequence[Row] | None
    regions: tuple[Region, ...] | None = None
    size_wh: tuple[int, int] | None = None
    relative: bool = False


def annotated(sample: Sample, found: Annotation, notes: Notes) -> Sample:
    """The sample with boxes, mask and labels of its annotation; PictureError when the two do not go together."""
    rows, regions = found.rows or (), found.regions
    if len(rows) > MAX_BOXES:
        raise PictureError(f"it has {len(rows):,} boxes; at most {MAX_BOXES:,} can be used")
    if regions and sum(len(p) for r in regions for p in r.polygons) > MAX_POINTS:
        raise PictureError(f"its outlines have more than {MAX_POINTS:,} points")
    frame = read_frame(sample.path)
    xyxy = np.array([row.xyxy for row in rows], np.float64).reshape(-1, 4)
    if found.relative:
        xyxy = xyxy * np.tile(frame.size_wh, 2)
        regions = regions and tuple(_scaled(r, frame.size_wh) for r in regions)
    xyxy, grid_wh, done = settle(xyxy, found.size_wh, frame)
    if done:
        notes.add(found.source, done)
    boxes, problems = mend(xyxy, [row.label for row in rows], frame.size_wh)
    for i, problem in problems:
        notes.add(found.source, f"{rows[i].place} ({short(rows[i].label)}): {problem}")
    labels = set(boxes.labels) | {r.label for r in regions or ()}
    return replace(
        sample,
        labels=tuple(sorted(labels)),
        boxes=None if found.rows is None else boxes,
        mask=None if regions is None else Outlines(grid_wh, regions),
    )


def _scaled(region: Region, size_wh: tuple[int, int]) -> Region:
    return replace(region, polygons=tuple(p * np.array(size_wh, np.float32) for p in region.polygons))


def polygon(values: Sequence[Any]) -> np.ndarray[Any, np.dtype[np.float32]] | None:
    """x, y, x, y, ... as float32 [P, 2]; None when they are not three or more points."""
    numbers = [number(v) for v in values[: 2 * MAX_POINTS + 2]]
    if len(numbers) < 6 or len(numbers) % 2 or not np.isfinite(numbers).all():
        return None
    return np.clip(np.array(numbers, np.float64), -1e9, 1e9).astype(np.float32).reshape(-1, 2)


def number(value: Any) -> float:
    """A coordinate as it is written; NaN for what is none."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def size_of(width: Any, height: Any) -> tuple[int, int] | None:
    """The size that an annotation names; None when it names none that a picture can have."""
    given = number(width), number(height)
    return (int(given[0]), int(given[1])) if all(1 <= side < MAX_SIDE for side in given) else None


def read_text(path: Path) -> str:
    """The text of a small file; PictureError when it is too large or no UTF-8. An empty file is empty text."""
    if is_file(path) and path.stat().st_size == 0:
        return ""
    try:
        return read_bytes(path, MAX_TEXT_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PictureError("no UTF-8 text") from None


def read_lines(path: Path) -> list[str]:
    """The stripped lines of a small file, without empty ones at either end; PictureError as `read_text`.

    Other characters that end a line may be part of a name.
    """
    return [line.strip() for line in read_text(path).strip().split("\n")]


def read_names(path: Path) -> tuple[str, ...]:
    """The class names of a file, one a line, from number 0; DataError when it cannot be used."""
    try:
        names = tuple(read_lines(path))
    except PictureError as error:
        raise DataError(f"{path}: {error}") from None
    if not all(names) or len(set(names)) < len(names) or not names:
        raise DataError(f"{path} must hold one class name a line, none empty and none twice")
    return names


def mask_names_in(folder: Path) -> tuple[str, ...] | None:
    """The classes of mask values by the classes.txt of a folder; None when there is none, DataError for too many."""
    if not is_file(folder / CLASSES_FILE):
        return None
    names = read_names(folder / CLASSES_FILE)
    if len(names) > MAX_CLASSES:
        raise DataError(f"{folder / CLASSES_FILE} names {len(names)} classes; a mask can tell {MAX_CLASSES} apart")
    return names


def by_stem(folder: Path, suffixes: frozenset[str] = SUFFIXES) -> dict[str, Path]:
    """The visible files of these kinds in a folder by their names without suffix, sorted by name."""
    found = [p for p in list_folder(folder) if p.suffix.lower() in suffixes and not p.name.startswith(".")]
    return {p.stem: p for p in found}


def ticking(items: Sequence[Item], progress: Progress | None) -> Iterator[Item]:
    """The items, telling how far they are."""
    for done, item in enumerate(items, start=1):
        if progress is not None and (done % SAID_EVERY == 0 or done == len(items)):
            progress("reading annotations", done, len(items))
        yield item


def around(region: Region) -> tuple[float, float, float, float]:
    """The corners of the smallest box around the polygons of a region."""
    points = np.concatenate(region.polygons)
    (x0, y0), (x1, y1) = points.min(0).tolist(), points.max(0).tolist()
    return x0, y0, x1, y1
