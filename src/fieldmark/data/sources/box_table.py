"""A table with one row a box: path, label, xmin, ymin, xmax, ymax in pixels, and, where present, split and group."""

import math
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fieldmark.data.index import Index, Skipped
from fieldmark.errors import DataError, PictureError
from fieldmark.types import Sample

from .annotated import Annotation, Notes, Progress, Row, annotated, number, ticking
from .place import SameFiles, find_picture

CORNERS = ("xmin", "ymin", "xmax", "ymax")
OTHER_CORNERS = (
    ("x", "y", "w", "h"),
    ("x", "y", "width", "height"),
    ("x1", "y1", "x2", "y2"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("left", "top", "right", "bottom"),
)


@dataclass(frozen=True)
class _Picture:
    line: int
    sample: Sample
    rows: list[Row] = field(default_factory=list)


def not_boxes(columns: Container[str]) -> str:
    """Which columns a table of boxes lacks, in one sentence; empty for a table that has no columns of any box."""
    missing = [name for name in ("label", *CORNERS) if name not in columns]
    if any(corner in columns for corner in CORNERS):
        return f"its boxes are not read: there is no column {' and no column '.join(missing)}"
    other = next((names for names in OTHER_CORNERS if all(name in columns for name in names)), None)
    return f"its boxes are not read: write {', '.join(CORNERS)} instead of {', '.join(other)}" if other else ""


def open_boxes(
    table: Path, rows: Iterable[tuple[int, Mapping[str, str]]], source: str, progress: Progress | None = None
) -> Index:
    """The Index of the rows of a table of boxes; a row with neither label nor numbers is a picture without boxes.

    Rows that cannot be used are noted. Raises DataError when the rows of a picture differ in split or group, and when
    all corners are shares of the sides instead of pixels.
    """
    found: dict[str, _Picture] = {}
    skipped: dict[str, Skipped] = {}
    same: SameFiles[str] = SameFiles()
    notes = Notes()
    for line, row in rows:
        place = find_picture(table.parent, row["path"])
        if isinstance(place, str):
            name = row["path"] or f"line {line}"
            skipped.setdefault(name, Skipped(name, place))
            continue
        path, name = place
        if name not in found:
            name = same.before(path, name) or name
        sample = Sample(path, name, split=row.get("split") or None, group=row.get("group") or None)
        picture = found.setdefault(name, _Picture(line, sample))
        _check_same(table, line, sample, picture)
        _add(table, line, row, picture, notes)
    _check_pixels(table, found.values())
    samples = []
    for picture in ticking(list(found.values()), progress):
        try:
            samples.append(annotated(picture.sample, Annotation(table.name, picture.rows), notes))
        except PictureError as error:
            skipped.setdefault(picture.sample.name, Skipped(picture.sample.name, str(error)))
    return Index(source, tuple(samples), tuple(skipped.values()), "boxes", notes.all())


def _check_same(table: Path, line: int, again: Sample, picture: _Picture) -> None:
    for what in ("split", "group"):
        a, b = getattr(picture.sample, what), getattr(again, what)
        if a != b:
            raise DataError(
                f"{table}: {again.name} has the {what} {a} in line {picture.line} and {b} in line {line}; write one"
            )


def _check_pixels(table: Path, pictures: Iterable[_Picture]) -> None:
    corners = [abs(v) for picture in pictures for row in picture.rows for v in row.xyxy if not math.isnan(v)]
    if corners and max(corners) <= 1:
        raise DataError(f"{table}: every corner lies between 0 and 1, as shares of the sides do; give pixels")


def _add(table: Path, line: int, row: Mapping[str, str], picture: _Picture, notes: Notes) -> None:
    cells = [row[corner] for corner in CORNERS]
    if not row["label"] and any(cells):
        notes.add(table.name, f"line {line}: a box without label; left out")
    elif row["label"]:
        x0, y0, x1, y1 = map(number, cells)
        picture.rows.append(Row(f"line {line}", row["label"], (x0, y0, x1, y1)))
