"""A CSV, TSV or Parquet table with `path` and `label` (or `labels`), and, where present, split, group, coarse, mask."""

import csv
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from fieldmark.data.index import Index, Skipped
from fieldmark.errors import DataError, MissingExtraError
from fieldmark.files import is_file
from fieldmark.types import Sample

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
LABEL_SEPARATOR = ";"
MAX_ROWS = 20_000_000
Row = dict[str, str]


def open_table(path: Path, source: str | None = None) -> Index:
    """The Index of a table; paths in it are relative to its folder.

    Rows without path, label or file are left out and listed. Raises DataError for missing columns, for one path with
    two different labels or splits, and for a table that cannot be read.
    """
    rows = _parquet(path) if path.suffix.lower() == ".parquet" else _text(path)
    samples: list[Sample] = []
    skipped: list[Skipped] = []
    first: dict[str, tuple[int, Sample]] = {}
    for line, row in rows:
        sample = _sample(path.parent, row)
        if isinstance(sample, str):
            skipped.append(Skipped(row["path"] or f"line {line}", sample))
        elif sample.name in first:
            skipped.append(_duplicate(path, line, sample, *first[sample.name]))
        else:
            first[sample.name] = (line, sample)
            samples.append(sample)
    return Index(source or str(path), tuple(samples), tuple(skipped))


def _sample(root: Path, row: Row) -> Sample | str:
    """The sample of one row, or the reason why it has none."""
    if not row["path"] or "\0" in row["path"]:
        return "the row has no path"
    name = PurePosixPath(row["path"].replace("\\", "/")).as_posix()
    labels = _labels(row)
    if not labels:
        return "the row has no label"
    picture = root / row["path"]
    if not is_file(picture):
        picture = root / name
    if not is_file(picture):
        return "no such file"
    mask = row.get("mask")
    return Sample(
        picture,
        name,
        labels,
        split=row.get("split") or None,
        group=row.get("group") or None,
        coarse=row.get("coarse") or None,
        mask=root / mask if mask else None,
    )


def _labels(row: Row) -> tuple[str, ...]:
    if "label" in row:
        return (row["label"],) if row["label"] else ()
    return tuple(sorted({part.strip() for part in row["labels"].split(LABEL_SEPARATOR)} - {""}))


def _duplicate(table: Path, line: int, again: Sample, first_line: int, first: Sample) -> Skipped:
    for what in ("labels", "split"):
        a, b = getattr(first, what), getattr(again, what)
        if a != b:
            raise DataError(f"{table}: {again.name} is {a} in line {first_line} and {b} in line {line}; keep one row")
    return Skipped(again.name, f"line {line} repeats line {first_line}")


def _check_columns(path: Path, columns: list[str]) -> None:
    if "path" not in columns or not {"label", "labels"} & set(columns):
        found = ", ".join(columns) if columns else "none"
        raise DataError(f"{path} needs the columns path and label (or labels); found: {found}")


def _text(path: Path) -> Iterator[tuple[int, Row]]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, delimiter=delimiter)
            header = [name.strip().lower() for name in next(reader, [])]
            _check_columns(path, header)
            for count, written in enumerate(reader):
                if count >= MAX_ROWS:
                    raise DataError(f"{path} has more than {MAX_ROWS:,} rows; split it into several tables")
                cells = [cell.strip() for cell in written]
                if any(cells[len(header) :]):
                    raise DataError(
                        f"{path}: line {reader.line_num} has {len(cells)} cells, but the header {len(header)}; "
                        "put quotes around values that hold the separator"
                    )
                if any(cells):
                    padded = cells + [""] * (len(header) - len(cells))
                    yield reader.line_num, dict(zip(header, padded, strict=False))
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text; save the table as UTF-8") from None
    except (OSError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from error


def _parquet(path: Path) -> Iterator[tuple[int, Row]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise MissingExtraError("reading Parquet", "table") from None
    try:
        table = parquet.read_table(path, partitioning=None)
    except (OSError, ArrowException) as error:
        raise DataError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error
    header = [str(name).strip().lower() for name in table.column_names]
    _check_columns(path, header)
    table = table.rename_columns(header)
    for line, row in enumerate(table.to_pylist(), start=1):
        yield line, {name: _cell(value) for name, value in row.items()}


def _cell(value: Any) -> str:
    """A Parquet value as a text table writes it."""
    if isinstance(value, list):
        return LABEL_SEPARATOR.join(_cell(part) for part in value)
    return "" if value is None else str(value).strip()
