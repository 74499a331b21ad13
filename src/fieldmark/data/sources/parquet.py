"""A Parquet table as rows of text, its cells as a text table writes them."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldmark.errors import DataError, MissingExtraError, first_line

if TYPE_CHECKING:
    from pyarrow import DataType

LISTS = "labels"  # the one column that may hold lists


def read_parquet(
    path: Path, known: Sequence[str], separator: str, check: Callable[[list[str], int], None]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Number, from 1, and cells of each row, of the columns in `known` alone.

    `check(columns, number of rows)` may refuse the table before it is read. Raises DataError when it cannot be read
    and when a column does not hold text, numbers or the like; MissingExtraError without pyarrow.
    """
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise MissingExtraError("reading Parquet", "table") from None
    try:
        facts = parquet.read_metadata(path)
        schema = facts.schema.to_arrow_schema()
    except (OSError, ArrowException, ValueError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {first_line(error)}") from error
    check([_plain(name) for name in schema.names], facts.num_rows)
    columns = {}
    for field in schema:
        if (name := _plain(field.name)) in known:
            _check_type(path, name, field.type)
            columns[name] = _column(path, field.name, separator)
    for line, cells in enumerate(zip(*columns.values(), strict=True), start=1):
        yield line, dict(zip(columns, cells, strict=True))


def _plain(name: str) -> str:
    return str(name).strip().lower()


def _check_type(path: Path, name: str, kind: "DataType") -> None:
    from pyarrow import types

    if name == LISTS and (types.is_list(kind) or types.is_large_list(kind)):
        kind = kind.value_type
    if types.is_nested(kind):
        hint = "; name a column of lists labels" if name == "label" and types.is_list(kind) else ""
        raise DataError(f"{path}: the column {name} holds {kind} values; write it as text{hint}")


def _column(path: Path, name: str, separator: str) -> list[str]:
    """The cells of one column; DataError for values that Python cannot hold."""
    from pyarrow import ArrowException, parquet

    try:
        values = parquet.read_table(path, columns=[name], partitioning=None).column(0).to_pylist()
    except (OSError, ArrowException, ValueError, OverflowError, KeyError) as error:  # KeyError: an unknown time zone
        raise DataError(
            f"{path}: the column {_plain(name)} cannot be read ({first_line(error)}); write it again as text"
        ) from error
    return [_cell(value, separator) for value in values]


def _cell(value: Any, separator: str) -> str:
    """A value as a text table writes it; what is missing, NaN too, is empty."""
    if isinstance(value, list):
        return separator.join(_cell(part, separator) for part in value)
    if value is None or value != value:
        return ""
    return (os.fsdecode(value) if isinstance(value, bytes) else str(value)).strip()
