"""A table of numbers in time order, and how it becomes the input of a network without a look into the future.

T time steps, C columns, F = 4 C inputs.
"""

import csv
import datetime
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldmark.errors import DataError
from fieldmark.files import is_file, sha256
from fieldmark.printing import count

from .index import Skipped

SUFFIXES = (".csv", ".tsv")
MOST_BYTES, MOST_ROWS, MOST_CELLS, MOST_COLUMNS = 200_000_000, 2_000_000, 5_000_000, 1_000
FEWEST_ROWS = 60
LARGEST = 1e100  # of numbers: their squares are numbers too
TIMES = 0.9  # of a column's cells, from which on it is one of times
NUMERIC = 0.5  # of a column's filled cells, above which the others are taken for gaps
TIME_NAMES = ("time", "date", "datetime", "timestamp", "ds", "year", "index", "id")
MISSING = ("", "nan", "na", "n/a", "null", "none", "-", "?")
LONGEST_PERIOD, PERIOD_ROWS = 1_000, 20_000
CLEARLY = 0.9  # times the error at a shorter distance
TINY = 1e-300
CLIP = 8.0  # of inputs, in their own spread
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """A table's numeric columns: `values` [T, C], NaN where there is a gap."""

    source: str
    columns: tuple[str, ...]
    values: Values
    fingerprint: str
    skipped: tuple[Skipped, ...] = ()


def open_series(place: str | Path, wanted: Sequence[str] = ()) -> Series:
    """The Series of a CSV or TSV table whose rows are in time order; a header is optional.

    Columns of dates, of counted rows and of text are left out, and so are cells that are no numbers. With `wanted`, the
    columns of a model, these alone are taken, whatever they hold, from as few rows as there are. Raises DataError when
    nothing is left.
    """
    path = Path(place)
    if not is_file(path):
        raise DataError(f"{place}: no such file; give a .csv or .tsv table of numbers in time order")
    table = _table(path)
    names, rows = table.names, table.rows
    columns = {name: [row[i] if i < len(row) else "" for row in rows] for i, name in enumerate(names)}
    _check_order(path, columns)
    if lacks := [name for name in wanted if name not in columns]:
        raise DataError(f"{path} lacks the column {lacks[0]} that the model was trained on; found: {_some(names)}")
    parsed = {name: np.array([_number(c, table.decimal) for c in columns[name]]) for name in wanted or names}
    kept = [*wanted] or [name for name in names if _foreseen(name, columns[name], parsed[name])]
    if not kept:
        raise DataError(
            f"{path} has no column of numbers to predict; found: {_some(names)}; separate cells by commas, semicolons "
            "or tabs, all alike"
        )
    if len(kept) > MOST_COLUMNS:
        raise DataError(f"{path} has {len(kept):,} columns of numbers; give at most {MOST_COLUMNS:,}")
    fewest = 1 if wanted else FEWEST_ROWS
    if len(rows) < fewest:
        raise DataError(f"{path} has {count(len(rows), 'row')} of numbers; give at least {fewest}")
    values = np.stack([parsed[name] for name in kept], 1)
    skipped = (*table.skipped, *_left_out(columns, parsed, kept))
    return Series(str(place), tuple(kept), values, sha256(path.read_bytes()), skipped)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names)[:200] or "none"


@dataclass(frozen=True)
class _Table:
    """Column names, and the stripped cells of each row that is not empty; `decimal`: what numbers are written with."""

    names: list[str]
    rows: list[list[str]]
    decimal: str
    skipped: list[Skipped]


def _table(path: Path) -> _Table:
    if path.stat().st_size > MOST_BYTES:
        raise DataError(f"{path} is larger than {MOST_BYTES / 1e6:.0f} MB; give a part of it")
    rows: list[list[str]] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            first = stream.readline()
            stream.seek(0)
            delimiter = max("\t" if path.suffix.lower() == ".tsv" else ",", ";", "\t", key=first.count)
            for row in csv.reader(stream, delimiter=delimiter):
                if len(rows) > MOST_ROWS or len(rows) * max(1, len(row)) > MOST_CELLS:
                    raise DataError(
                        f"{path} has more than {MOST_ROWS:,} rows or {MOST_CELLS:,} cells; give a part of it"
                    )
                if any(cell.strip() for cell in row):
                    rows.append([cell.strip() for cell in row])
    except UnicodeDecodeError:
        raise DataError(f"{path} is no UTF-8 text; save the table as UTF-8") from None
    except (OSError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table ({error}); look for a quote that is not closed") from error
    if not rows:
        raise DataError(f"{path} is empty; give a table of numbers in time order")
    decimal = "." if delimiter == "," else ","
    headed = any(np.isnan(_number(c, decimal)) and c.lower() not in MISSING and _moment(c) is None for c in rows[0])
    width = len(rows[0]) if headed else max(map(len, rows))
    names = [name or f"column {i + 1}" for i, name in enumerate(rows.pop(0) if headed else [""] * width)]
    if not rows:
        raise DataError(f"{path} has no rows below its header; give a table of numbers in time order")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DataError(f"{path} has the column {twice} twice; rename one")
    odd = [i for i, row in enumerate(rows) if len(row) != width]
    skipped = [Skipped(f"row {i + 1}", f"it has {len(rows[i])} cells, not {width}") for i in odd]
    return _Table(names, rows, decimal, skipped)


def _number(cell: str, decimal: str = ".") -> float:
    """The number in a cell, else NaN."""
    try:
        value = float(cell.replace("\u2212", "-").replace(decimal, "."))
    except ValueError:
        return float("nan")
    return value if abs(value) <= LARGEST else float("nan")


def _foreseen(name: str, cells: Sequence[str], values: Values) -> bool:
    """Whether a column holds numbers, most of it, and does not only say when."""
    filled = sum(cell.lower() not in MISSING for cell in cells)
    return bool(filled) and np.isfinite(values).sum() > NUMERIC * filled and not _counts(name, values)


def _counts(name: str, values: Values) -> bool:
    """Whether a column only says when: by its name, or since it rises by the same step from row to row."""
    steps = np.diff(values)
    return name.lower() in TIME_NAMES or bool(len(steps) > 1 and steps[0] > 0 and (steps == steps[0]).all())


def _left_out(columns: Mapping[str, Sequence[str]], parsed: Mapping[str, Values], kept: Sequence[str]) -> list[Skipped]:
    """What of the `parsed` columns is not used, and why: whole ones and cells."""
    found = []
    for name, values in parsed.items():
        cells = columns[name]
        if name in kept:
            wrong = [i for i in np.flatnonzero(np.isnan(values)).tolist() if cells[i].lower() not in MISSING]
            found += [Skipped(f"row {i + 1}, column {name}", _wrong(cells[i])) for i in wrong]
        else:
            when = _moment(cells[0]) is not None or _counts(name, values)
            found.append(Skipped(f"column {name}", "it says when; not foreseen" if when else "it holds no numbers"))
    return found


def _wrong(cell: str) -> str:
    more = "; a quote may not be closed" if "\n" in cell else ""
    return f"{cell[:40]!r} is no number of at most {LARGEST:g}{more}"


def _moment(cell: str) -> float | None:
    """A date or time as a number that grows with it; None for anything else."""
    try:
        return datetime.datetime.fromisoformat(cell).replace(tzinfo=datetime.UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def _times(cells: Sequence[str]) -> bool:
    """Whether a column holds dates or times, most of it."""
    others = (i for i, cell in enumerate(cells) if _moment(cell) is None)
    return next(itertools.islice(others, len(cells) - math.ceil(TIMES * len(cells)), None), None) is None


def _check_order(path: Path, columns: Mapping[str, Sequence[str]]) -> None:
    """DataError when a column of times runs backwards."""
    for name, cells in columns.items():
        named = name.lower() in TIME_NAMES
        if not named and not _times(cells):
            continue
        moments = [_moment(cell) for cell in cells]
        times = np.array([_number(c) if named and m is None else m for c, m in zip(cells, moments, strict=True)], float)
        places = np.flatnonzero(np.isfinite(times))
        falls = np.flatnonzero(np.diff(times[places]) < 0)
        if falls.size:
            raise DataError(
                f"{path}: its rows are not in time order: {name} falls after row {places[falls[0]] + 1}; sort the "
                "table by it"
            )


@dataclass(frozen=True)
class Scaling:
    """What of the training part makes inputs: mean and spread of each column, the mean size of its `step` from one row
    to the next, and the `period` after which the last cycle repeats best (1: none)."""

    mean: tuple[float, ...]
    spread: tuple[float, ...]
    step: tuple[float, ...]
    period: int

    def __post_init__(self) -> None:
        if not len(self.mean) == len(self.spread) == len(self.step) or not 1 <= self.period <= MOST_ROWS:
            raise ValueError("the scaling of a series does not fit")
        if not all(np.isfinite(v) for v in (*self.mean, *self.spread, *self.step)):
            raise ValueError("the scaling of a series must be numbers")
        if not all(v > 0 for v in (*self.spread, *self.step)):
            raise ValueError("the scaling of a series must be above 0")

    @classmethod
    def of(cls, train: Values, period: int = 0) -> "Scaling":
        """From the training part [T, C] alone; `period` 0: the one that repeats best there."""
        filled = fill_gaps(train, np.nanmean(train, 0))
        spread, step = filled.std(0), np.abs(np.diff(filled, axis=0)).mean(0)
        mean, spread = filled.mean(0), np.where(spread > 0, spread, 1.0)
        step = np.where(step > 0, step, spread)
        rows = [tuple(map(float, row)) for row in (mean, spread, step)]
        return cls(rows[0], rows[1], rows[2], period or _best_period(filled / step))

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> "Scaling":
        """From `bundle.json`; LookupError, TypeError or ValueError where it is damaged."""
        rows = [tuple(map(float, facts[name])) for name in ("mean", "spread", "step")]
        if type(facts["period"]) is not int:
            raise ValueError("the period of a series must be a whole number")
        return cls(rows[0], rows[1], rows[2], facts["period"])

    def inputs(self, values: Values) -> tuple[NDArray[np.float32], Values]:
        """What the network sees at each step, [T, F], and the last known values, [T, C]. Row t depends on rows up to t
        alone: the level, the last step, how far the value one period before the next lies away, and whether there was
        a value. A gap is the last known value."""
        last = fill_gaps(values, np.array(self.mean))
        step = np.array(self.step)
        ahead = self.season(last) - last
        change = np.diff(last, axis=0, prepend=last[:1])
        level = (last - self.mean) / self.spread
        parts = [np.clip(part, -CLIP, CLIP) for part in (level, change / step, ahead / step)]
        return np.concatenate([*parts, np.isfinite(values)], 1, dtype=np.float32), last

    def season(self, last: Values) -> Values:
        """The value one period before the next one, [T, C]; the last one where there is none yet."""
        back = self.period - 1
        return np.concatenate([last[:back], last[: len(last) - back]]) if 0 < back < len(last) else last


def fill_gaps(values: Values, first: Values) -> Values:
    """[T, C] with each gap as the last value before it; `first` [C] before any."""
    whole = np.concatenate([first[None], values])
    place = np.where(np.isfinite(whole), np.arange(len(whole))[:, None], 0)
    return np.asarray(np.take_along_axis(whole, np.maximum.accumulate(place, 0), 0)[1:])


def _best_period(values: Values) -> int:
    """The distance at which the columns [T, C] repeat themselves best, all together, of those at which at least one
    does so clearly better than at some shorter one: neighbours are alike without any cycle. 1 where there is none."""
    values = values[-PERIOD_ROWS:]
    longest = min(LONGEST_PERIOD, len(values) // 3)
    errors = np.array([np.abs(values[p:] - values[:-p]).mean(0) for p in range(1, longest + 1)]).reshape(longest, -1)
    if longest < 2:
        return 1
    shares = errors / np.maximum(errors.mean(0), TINY)  # columns that drift are far off at most distances
    clear = (errors[1:] < CLEARLY * np.maximum.accumulate(errors)[:-1]).any(1)
    return 2 + int(np.where(clear, shares[1:].sum(1), np.inf).argmin()) if clear.any() else 1
