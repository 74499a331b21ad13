"""A model of numbers in time order at work: what comes next, and how far off that is.

T rows, C columns, F inputs.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fieldmark.bundle import Bundle
from fieldmark.data.series import Scaling, Series, Values, open_series
from fieldmark.errors import BundleError, DataError, UsageError
from fieldmark.field.tasks.sequence import series_scores

from .carried import Carried
from .evaluation import Evaluation, Tick, silent
from .writer import choose_part

STEPS = 256  # of a call
MOST_AHEAD = 10_000


def _names(found: object) -> list[str]:
    if not isinstance(found, list) or not all(isinstance(n, str) for n in found) or len(set(found)) < len(found):
        raise ValueError("columns must be names, each once")
    return found


class Forecaster:
    """A loaded bundle of a series model."""

    def __init__(self, bundle: Bundle, precision: str = "auto", engine: str = "auto") -> None:
        self.bundle, self.engine = bundle, Carried(bundle, precision, engine)
        try:
            self.columns = tuple(_names(bundle.facts["columns"]))
            self.scaling = Scaling.from_json(bundle.facts["scaling"])
            if not len(self.columns) == len(self.scaling.mean) == self.engine.width:
                raise ValueError("it does not fit the network")
        except (LookupError, TypeError, ValueError) as error:
            raise BundleError(
                f"{bundle.path}: its scaling is not valid ({error}); copy the bundle again or train it anew"
            ) from error

    def open(self, data: str | Path) -> Series:
        """The table's columns that the model knows; DataError when one is not there."""
        return open_series(data, self.columns)

    def foresee(self, values: Values, tick: Tick = silent) -> Values:
        """After each row of values [T, C], the next row, from that row and those before it alone: [T, C]."""
        inputs, last = self.scaling.inputs(values)
        states, found = self.engine.begin(), []
        for at in range(0, len(inputs), STEPS):
            outputs, states = self.engine.run(np.ascontiguousarray(inputs[at : at + STEPS, None]), states)
            found.append(outputs[:, 0])
            tick(min(len(inputs), at + STEPS), len(inputs))
        return np.asarray(last + np.concatenate(found) * np.array(self.scaling.step))

    def predict(self, data: str | Path | Series, steps: int = 1) -> NDArray[np.float64]:
        """The next `steps` rows after a table, [steps, C]; beyond the first, each from those foreseen before it."""
        if not 1 <= steps <= MOST_AHEAD:
            raise UsageError(f"steps must be between 1 and {MOST_AHEAD:,}, not {steps}")
        values = (data if isinstance(data, Series) else self.open(data)).values
        inputs, last = self.scaling.inputs(values)
        states = self.engine.begin()
        for at in range(0, len(inputs), STEPS):
            outputs, states = self.engine.run(np.ascontiguousarray(inputs[at : at + STEPS, None]), states)
        kept = self.scaling.period + 1
        recent, found = last[-kept:], []
        for _ in range(steps):
            found.append(recent[-1] + outputs[-1, 0] * np.array(self.scaling.step))
            recent = np.concatenate([recent, found[-1][None]])[-kept:]
            inputs, _ = self.scaling.inputs(recent)
            outputs, states = self.engine.run(np.ascontiguousarray(inputs[-1:, None]), states)
        return np.stack(found)

    def evaluate(self, data: str | Path | Series, part: str | None = None, tick: Tick = silent) -> Evaluation:
        """Scores on a table: its last rows as recorded at training where it is the same, other tables whole."""
        series = data if isinstance(data, Series) else self.open(data)
        name, note, (start, stop) = choose_part(self.bundle, len(series.values), series.fingerprint, part)
        return Evaluation(name, note, self.score(series.values[:stop], start, tick), (), {}, (), series.skipped)

    def score(self, values: Values, start: int, tick: Tick = silent) -> dict[str, object]:
        """The scores of the rows from `start` on, each foreseen from those before it; DataError when none is known."""
        start = max(1, start)
        truth = values[start:]
        if not np.isfinite(truth).any():
            raise DataError("this part of the table has no values to compare with; choose another with --split")
        forecast = self.foresee(values, tick)
        _, last = self.scaling.inputs(values)
        season, known = self.scaling.season(last), slice(start - 1, -1)
        return series_scores(truth, forecast[known], last[known], season[known], self.columns)
