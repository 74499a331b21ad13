"""DATA in any of its forms becomes an Index: a folder, a table, a known name."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from fieldmark.data.index import Index
from fieldmark.errors import DataError, unknown_name
from fieldmark.files import is_file, is_folder

from .folder import open_folder
from .named import OPENERS, open_named
from .table import TABLE_SUFFIXES, open_table

Progress = Callable[[str, int, int], None]


def _open_field_guide(progress: Progress | None) -> Index:
    from fieldmark.data.synthetic import cached_field_guide, telling_boxes

    folder = cached_field_guide(
        None if progress is None else lambda done, n: progress("drawing the field guide", done, n)
    )
    index, boxes = open_table(folder / "labels.csv", source="field-guide"), telling_boxes(folder)
    return replace(index, samples=tuple(replace(s, boxes=boxes[s.name]) for s in index.samples))


NAMED: dict[str, Callable[[Progress | None], Index]] = {
    "field-guide": _open_field_guide,
    **{name: partial(open_named, name) for name in OPENERS},
}


def open_data(data: str | Path, progress: Progress | None = None) -> Index:
    """The Index of DATA: a folder, a CSV, TSV or Parquet table, or a known name.

    Raises DataError, in one sentence that says what to do, when DATA is none of these or holds no labelled picture.
    """
    if not str(data):
        raise DataError("DATA is empty; give a folder, a table or a known name (. is the current folder)")
    path = Path(data)
    if is_folder(path):
        index = open_folder(path)
    elif is_file(path):
        if path.suffix.lower() not in TABLE_SUFFIXES:
            raise DataError(f"{path} is no table; give a folder of class folders or a .csv, .tsv or .parquet table")
        index = open_table(path)
    elif str(data) in NAMED:
        index = NAMED[str(data)](progress)
    elif path.suffix or len(path.parts) > 1:
        raise DataError(
            f"{data}: no such file or folder; give a folder of class folders or a table with path and label"
        )
    else:
        raise DataError(f"{data}: no such file or folder, and {unknown_name('data set', str(data), NAMED)}")
    if not index.samples:
        raise DataError(f"{data} holds no usable labelled picture" + _first_reason(index))
    return index


def _first_reason(index: Index) -> str:
    if not index.skipped:
        return "; give a folder of class folders or a table with path and label"
    return f" (the first of {len(index.skipped)} left out: {index.skipped[0].name}: {index.skipped[0].reason})"
