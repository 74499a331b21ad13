"""A table of numbers in time order, and how it becomes the input of a network without a look into the future.

T time steps, C columns, F = 4 C inputs.
"""

import csv
import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldmark.errors import DataError
from fieldmark.files import is_file, sha256

from .index import Skipped

SUFFIXES = (".csv", ".tsv")
MOST_ROWS, MOST_CELLS = 5_000_000, 20_000_000
FEWEST_ROWS = 60
NUMERIC = 0.5  # of a column's filled cells, above which the others are taken for gaps
TIME_NAMES = ("time", "date", "datetime", "timestamp", "ds", "year", "index", "id", "")
MISSING = ("", "nan", "na", "n/a", "null", "none", "-", "?")
LONGEST_PERIOD, PERIOD_ROWS = 1_000, 20_000
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


def open_series(place: str | Path) -> Series:
    """The Series of a CSV or TSV table whose rows are in time order; a header is optional. Columns of dates, of counted
    rows and of text are left out, and so are cells that are no numbers. Raises DataError when nothing is left."""
    path = Path(place)
    if not is_file(path):
        raise DataError(f"{place}: no such file; give a .csv or .tsv table of numbers in time order")
    names, rows = _table(path)
    columns = [[row[i] if i < len(row) else "" for row in rows] for i in range(len(names))]
    parsed = {name: _numbers(cells) for name, cells in zip(names, columns, strict=True)}
    _check_order(path, names, columns)
    kept = [name for name, values in parsed.items() if values is not None and not _counts(name, values)]
    if not kept:
        raise DataError(f"{path} has no column of numbers to predict; found: {', '.join(names)[:200] or 'none'}")
    if len(rows) < FEWEST_ROWS:
        raise DataError(f"{path} has {len(rows)} rows of numbers; to learn from, give at least {FEWEST_ROWS}")
    values = np.stack([np.asarray(parsed[name]) for name in kept], 1)
    if np.isnan(values).all(0).any():
        raise DataError(f"{path}: a column holds no number at all; leave it out")
    skipped = [Skipped(f"column {name}", "no column of numbers to predict") for name in names if name not in kept]
    for name, cells in zip(names, columns, strict=True):
        if name in kept:
            wrong = [i for i, cell in enumerate(cells) if np.isnan(parsed[name][i]) and cell.lower() not in MISSING]  # type: ignore[index]
            skipped += [Skipped(f"row {i + 1}, column {name}", f"{cells[i][:40]!r} is no number") for i in wrong]
    return Series(str(place), tuple(kept), values, sha256(path.read_bytes()), tuple(skipped))


def _table(path: Path) -> tuple[list[str], list[list[str]]]:
    """Column names and the stripped cells of each row that is not empty."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows: list[list[str]] = []
            for row in csv.reader(stream, delimiter="\t" if path.suffix.lower() == ".tsv" else ","):
                if len(rows) > MOST_ROWS or len(rows) * max(1, len(row)) > MOST_CELLS:
                    raise DataError(
                        f"{path} has more than {MOST_ROWS:,} rows or {MOST_CELLS:,} cells; give a part of it"
                    )
                if any(cell.strip() for cell in row):
                    rows.append([cell.strip() for cell in row])
    except UnicodeDecodeError:
        raise DataError(f"{path} is no UTF-8 text; save the table as UTF-8") from None
    except (OSError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from error
    if not rows:
        raise DataError(f"{path} is empty; give a table of numbers in time order")
    headed = any(np.isnan(_number(cell)) and cell.lower() not in MISSING and _moment(cell) is None for cell in rows[0])
    names = rows.pop(0) if headed else [f"column {i + 1}" for i in range(len(rows[0]))]
    if len(set(names)) < len(names):
        raise DataError(f"{path} has a column name twice; rename one")
    return names, rows


def _number(cell: str) -> float:
    """The finite number in a cell, else NaN."""
    try:
        value = float(cell)
    except ValueError:
        return float("nan")
    return value if abs(value) < 1e300 else float("nan")


def _numbers(cells: Sequence[str]) -> Values | None:
    """A column's numbers, NaN for the others; None when it is no column of numbers."""
    values = np.array([_number(cell) for cell in cells])
    filled = sum(cell.lower() not in MISSING for cell in cells)
    return values if filled and np.isfinite(values).sum() > NUMERIC * filled else None


def _counts(name: str, values: Values) -> bool:
    """Whether a column only says when: by its name, or since it rises by the same step from row to row."""
    steps = np.diff(values)
    return name.lower() in TIME_NAMES or bool(len(steps) > 1 and steps[0] > 0 and (steps == steps[0]).all())


def _moment(cell: str) -> float | None:
    """A date or time as a number that grows with it; None for anything else."""
    try:
        return datetime.datetime.fromisoformat(cell).replace(tzinfo=datetime.UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def _check_order(path: Path, names: Sequence[str], columns: Sequence[Sequence[str]]) -> None:
    """DataError when a column of times runs backwards."""
    for name, cells in zip(names, columns, strict=True):
        if name.lower() not in TIME_NAMES:
            continue
        times = [m if (m := _moment(cell)) is not None else _number(cell) for cell in cells]
        falls = np.flatnonzero(np.diff(np.array(times)) < 0)
        if falls.size:
            raise DataError(
                f"{path}: its rows are not in time order: {name} falls after row {falls[0] + 1}; sort the table by it"
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
        """From the training part [T, C] alone; `period` 0: the one with the least seasonal-naive error there."""
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
        return cls(rows[0], rows[1], rows[2], int(facts["period"]))

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
    values = values[-PERIOD_ROWS:]
    longest = min(LONGEST_PERIOD, len(values) // 3)
    errors = [float(np.abs(values[p:] - values[:-p]).mean()) for p in range(1, longest + 1)]
    return 1 + int(np.argmin(errors)) if errors else 1
