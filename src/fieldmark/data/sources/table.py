"""A CSV, TSV or Parquet table with `path` and `label` (or `labels`, or a numeric `target`), and, where present, split,
group, coarse, mask."""

import csv
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from fieldmark.data.index import Index, Skipped
from fieldmark.data.masks import BACKGROUND, FOREGROUND
from fieldmark.errors import DataError, MissingExtraError
from fieldmark.types import MaskFile, Outlines, Sample

from .annotated import Notes, Progress, mask_names_in
from .box_table import CORNERS, not_boxes, open_boxes
from .parquet import read_parquet
from .place import SameFiles, find_file, find_picture

if TYPE_CHECKING:
    from _csv import Reader

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
KINDS = ("label", "labels", "target", "mask")  # what tells the truth, the first that is there
COLUMNS = ("path", *KINDS, "split", "group", "coarse", *CORNERS)
LABEL_SEPARATOR = ";"
MAX_ROWS = 20_000_000
MAX_ROW_LINES = 10  # a quote that is never closed runs through the rest of the file
Row = dict[str, str]


def open_table(path: Path, source: str | None = None, progress: Progress | None = None) -> Index:
    """The Index of a table, of one row a picture or one row a box; paths in it are relative to its folder.

    Rows without path, label (target, where that is all) or file are left out and listed; an empty cell in `labels` says
    that the picture has none of them. Raises DataError for missing columns, for one path with
    two different labels or splits, and for a table that cannot be read.
    """
    rows = _rows(path)
    first = next(rows, None)
    rows = chain([] if first is None else [first], rows)
    columns = set() if first is None else first[1].keys()
    if {"label", *CORNERS} <= columns:
        return open_boxes(path, rows, source or str(path), progress)
    found = _Found(path, mask_names_in(path.parent) if "mask" in columns else None, not_boxes(columns))
    for line, row in rows:
        found.add(line, row)
    samples = _sound(found.samples) if found.kind == "label" and found.mask_names is None else found.samples
    return Index(source or str(path), tuple(samples), tuple(found.skipped), found.kind, found.notes.all())


def is_table(path: Path) -> bool:
    """Whether a file is a table that says what pictures show, by its columns and its first row."""
    try:
        next(_rows(path), None)
    except (DataError, MissingExtraError):
        return False
    return True


class _Found:
    """The samples of a table so far, what was left out, and where each file stands first, however it is spelt."""

    def __init__(self, table: Path, mask_names: tuple[str, ...] | None, no_boxes: str) -> None:
        self.table = table
        self.mask_names = mask_names
        self.samples: list[Sample] = []
        self.skipped: list[Skipped] = []
        self.notes = Notes()
        self.kind = KINDS[0]
        self._advice = no_boxes or "keep one row"
        if no_boxes:
            self.notes.add(table.name, no_boxes)
        self._first: dict[str, tuple[int, Sample]] = {}
        self._same: SameFiles[tuple[int, Sample]] = SameFiles()

    def add(self, line: int, row: Row) -> None:
        self.kind = next(kind for kind in KINDS if kind in row)
        sample = self._sample(line, row)
        if isinstance(sample, str):
            self.skipped.append(Skipped(row["path"] or f"line {line}", sample))
            return
        there = self._first.get(sample.name) or self._same.before(sample.path, (line, sample))
        if there is not None:
            self.skipped.append(_duplicate(self.table, line, sample, *there, self._advice))
            return
        self._first[sample.name] = (line, sample)
        self.samples.append(sample)

    def _sample(self, line: int, row: Row) -> Sample | str:
        """The sample of one row, or the reason why it has none."""
        labels, target = _labels(row), _number(row.get("target", ""))
        place = find_picture(self.table.parent, row["path"])
        if isinstance(place, str):
            return place
        if self.kind == "label" and not labels:
            return "the row has no label"
        if self.kind == "target" and target is None:
            return "its target is no number"
        mask = self._mask(line, row.get("mask", ""), labels)
        if self.kind == "mask" and mask is None:
            return "the row has no mask"
        return Sample(
            *place,
            labels,
            split=row.get("split") or None,
            group=row.get("group") or None,
            coarse=row.get("coarse") or None,
            target=target,
            mask=mask,
        )

    def _mask(self, line: int, written: str, labels: tuple[str, ...]) -> MaskFile | None:
        """Class numbers where classes.txt names them, else which pixels show what the row's one label says."""
        if not written or "\0" in written:
            return None
        root = self.table.parent
        path = find_file(root, written)
        if path is None:
            self.notes.add(self.table.name, f"line {line}: the mask {written[:80]} is not there")
            path = root / written
        if self.mask_names is not None:
            return MaskFile(path, self.mask_names)
        return MaskFile(path, (BACKGROUND, labels[0] if len(labels) == 1 else FOREGROUND), binary=True)


def _sound(samples: Sequence[Sample]) -> list[Sample]:
    """Samples of binary masks: where no picture of a label has one, there is nothing but background in them."""
    marked = {s.labels for s in samples if s.mask is not None}
    return [replace(s, mask=Outlines()) if marked and s.mask is None and s.labels not in marked else s for s in samples]


def _labels(row: Row) -> tuple[str, ...]:
    if "label" in row:
        return (row["label"],) if row["label"] else ()
    return tuple(sorted({part.strip() for part in row.get("labels", "").split(LABEL_SEPARATOR)} - {""}))


def _number(text: str) -> float | None:
    """A finite number, or None for anything else."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _duplicate(table: Path, line: int, again: Sample, first_line: int, first: Sample, advice: str) -> Skipped:
    which = again.name if again.name == first.name else f"{again.name} (the same file as {first.name})"
    for what in ("labels", "target", "split"):
        a, b = getattr(first, what), getattr(again, what)
        if a != b:
            raise DataError(f"{table}: {which} is {a} in line {first_line} and {b} in line {line}; {advice}")
    return Skipped(again.name, f"line {line} repeats line {first_line}")


def _check_columns(path: Path, columns: list[str]) -> None:
    if "path" not in columns or not set(KINDS) & set(columns):
        found = ", ".join(columns) if columns else "none"
        raise DataError(
            f"{path} needs the columns path and label (or labels, or target); found: {found}; "
            "numbers in time order are learned with --task sequence"
        )
    twice = [name for name, count in Counter(columns).items() if count > 1 and name in COLUMNS]
    if twice:
        raise DataError(f"{path} has more than one column {twice[0]}; keep one, or rename the others")


def _rows(path: Path) -> Iterator[tuple[int, Row]]:
    return _parquet(path) if path.suffix.lower() == ".parquet" else _text(path)


def _text(path: Path) -> Iterator[tuple[int, Row]]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = _cells(path, csv.reader(stream, delimiter=delimiter, strict=True))
            header = [name.lower() for name in next(rows, (0, []))[1]]
            _check_columns(path, header)
            for count, (line, cells) in enumerate(rows):
                if count >= MAX_ROWS:
                    raise DataError(f"{path} has more than {MAX_ROWS:,} rows; split it into several tables")
                if any(cells[len(header) :]):
                    raise DataError(
                        f"{path}: line {line} has {len(cells)} cells, but the header {len(header)}; "
                        "put quotes around values that hold the separator"
                    )
                if any(cells):
                    padded = cells + [""] * (len(header) - len(cells))
                    yield line, dict(zip(header, padded, strict=False))
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text; save the table as UTF-8") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from error


def _cells(path: Path, reader: "Reader") -> Iterator[tuple[int, list[str]]]:
    """The last line's number and the stripped cells of each row; DataError where quotes do not match."""
    while True:
        begun, row, reason = reader.line_num + 1, None, ""
        try:
            row = next(reader, None)
        except csv.Error as error:
            reason = str(error)
        if reader.line_num - begun >= MAX_ROW_LINES or reason.startswith("unexpected end"):
            raise DataError(f"{path}: a quote in line {begun} is not closed within {MAX_ROW_LINES} lines; close it")
        if reason.startswith("field larger"):
            most = f"{csv.field_size_limit():,}"
            raise DataError(f"{path}: line {begun} has a cell of more than {most} characters; leave its column out")
        if reason:
            raise DataError(f"{path}: the quotes in line {begun} do not match ({reason}); double a quote inside quotes")
        if row is None:
            return
        yield reader.line_num, [cell.strip() for cell in row]


def _parquet(path: Path) -> Iterator[tuple[int, Row]]:
    def check(header: list[str], n_rows: int) -> None:
        _check_columns(path, header)
        if n_rows > MAX_ROWS:
            raise DataError(f"{path} has more than {MAX_ROWS:,} rows; split it into several tables")

    return read_parquet(path, COLUMNS, LABEL_SEPARATOR, check)
