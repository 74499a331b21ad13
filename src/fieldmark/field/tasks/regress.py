"""Regression: one number a picture."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldmark.data.index import Index, numbered
from fieldmark.errors import DataError
from fieldmark.field.evaluate import regression as metrics
from fieldmark.types import Prediction, Sample

from .base import Guess, OnLogits, Outputs, TaskFacts

DIGITS = 6


class Regress(OnLogits):
    """The network states the number in units of the training part's spread; `value` is it in the data's own, `interval`
    what holds nine of ten true numbers by the errors on validation."""

    name = "regress"
    headline = "mae"
    fewest_classes = 1

    def columns(self, facts: TaskFacts) -> tuple[str, ...]:
        return ("value", "interval")

    def select(self, index: Index) -> Index:
        return numbered(index)

    def check(self, samples: Sequence[Sample]) -> None:
        if not any(s.target is not None for s in samples):
            raise DataError("no picture of this data has a number; give a table with the column target")

    def strength(self, outputs: Outputs, facts: TaskFacts) -> NDArray[np.float64]:
        """The number itself, [N, 1]."""
        return facts.target["mean"] + facts.target["scale"] * np.asarray(outputs["logits"], np.float64)

    def predict(self, paths: Sequence[str], outputs: Outputs, facts: TaskFacts) -> list[Prediction]:
        found, reach = [], facts.target.get("error90")
        for path, value in zip(paths, self.strength(outputs, facts)[:, 0].tolist(), strict=True):
            extra: dict[str, Any] = {"value": _short(value)}
            if reach is not None:
                extra["interval"] = [_short(value - reach), _short(value + reach)]
            found.append(Prediction(path, extra=extra))
        return found

    def targets(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """The true numbers [N]; NaN where a sample has none."""
        return np.array([np.nan if s.target is None else s.target for s in samples])

    def score(self, samples: Sequence[Sample], outputs: Outputs, facts: TaskFacts) -> dict[str, Any]:
        truth, values = self.targets(samples), self.strength(outputs, facts)[:, 0]
        known = np.isfinite(truth)
        if not known.any():
            return {"n": 0, "mae": None, "rmse": None, "r2": None}
        baseline = np.abs(truth[known] - facts.target["mean"])
        result = {"n": int(known.sum()), **metrics.scores(values[known], truth[known])}
        result["baseline_mae"] = float(baseline.mean())
        if "error90" in facts.target:
            result["within_interval"] = float((np.abs(values - truth)[known] <= facts.target["error90"]).mean())
        return result

    def each(self, samples: Sequence[Sample], outputs: Outputs, facts: TaskFacts) -> NDArray[np.float64]:
        """The negative absolute error; that of a sample without a number is 0."""
        return -np.abs(np.nan_to_num(self.strength(outputs, facts)[:, 0] - self.targets(samples)))

    def guess(self, samples: Sequence[Sample], facts: TaskFacts) -> Guess:
        return Guess("r2", 0.0, "always stating the mean of the training part")

    def margins(self, logits: NDArray[np.floating], facts: TaskFacts) -> NDArray[np.float64]:
        """None is far from another one: every number is answered in float32."""
        return np.zeros(len(logits))

    def decisions(self, logits: NDArray[np.floating], facts: TaskFacts) -> NDArray[Any]:
        return np.asarray(logits)


def _short(value: float) -> float:
    """Rounded to as many significant digits as a float32 network states."""
    return float(f"{value:.{DIGITS}g}")
