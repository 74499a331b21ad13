"""What every task answers, on arrays alone; training's validation and the field use the same answers.

N pictures, L classes (or labels, or the one number of a regression).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fieldmark.types import Prediction, Sample

Outputs = Mapping[str, NDArray[np.floating]]  # name -> [N, ...]


@dataclass(frozen=True)
class TaskFacts:
    """What a task needs to know of a recogniser: its classes, two-level labels, calibration and thresholds; `positive`,
    the class that two-class rates are of; `target`, how a number is read from the network (mean, scale, error)."""

    classes: tuple[str, ...]
    coarse_of: Mapping[str, str] = field(default_factory=dict)
    temperature: float = 1.0
    thresholds: Mapping[str, float] = field(default_factory=dict)
    label_thresholds: tuple[float, ...] = ()
    positive: str = ""
    target: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_bundle(cls, facts: Mapping[str, Any]) -> "TaskFacts":
        """From `bundle.json`; LookupError, TypeError, ValueError or AttributeError where it is damaged."""
        temperature = float((facts.get("calibration") or {}).get("temperature", 1.0))
        if not 0 < temperature < np.inf:
            raise ValueError(f"a temperature must be above 0, not {temperature}")
        return cls(
            tuple(facts["classes"]),
            dict(facts.get("coarse") or {}),
            temperature,
            dict(facts.get("thresholds") or {}),
            tuple(float(v) for v in facts.get("label_thresholds") or ()),
            str(facts.get("positive") or ""),
            {key: float(value) for key, value in (facts.get("target") or {}).items()},
        )


class Guess(NamedTuple):
    """What needs no picture: the score that it gets under `key`, and what it is in words after "better than"."""

    key: str
    score: float
    words: str


class Task(Protocol):
    """One kind of question that a recogniser answers; `outputs` names the network's outputs that it needs, `headline`
    the score that tells most."""

    @property
    def name(self) -> str: ...

    @property
    def outputs(self) -> tuple[str, ...]: ...

    @property
    def headline(self) -> str: ...

    @property
    def fewest_classes(self) -> int: ...

    def columns(self, facts: TaskFacts) -> tuple[str, ...]:
        """What predictions say beside labels, the keys of `Prediction.extra`."""
        ...

    def check(self, samples: Sequence[Sample]) -> None:
        """DataError, in one sentence, for samples whose truth is of another kind."""
        ...

    def predict(self, paths: Sequence[str], outputs: Outputs, facts: TaskFacts) -> list[Prediction]:
        """One prediction a picture, in order."""
        ...

    def score(self, samples: Sequence[Sample], outputs: Outputs, facts: TaskFacts) -> dict[str, Any]:
        """The scores that `train` and `evaluate` print, under the contract's keys."""
        ...

    def each(self, samples: Sequence[Sample], outputs: Outputs, facts: TaskFacts) -> NDArray[np.float64]:
        """How well every single picture did, [N], the higher the better: what paired comparisons are made of."""
        ...

    def guess(self, samples: Sequence[Sample], facts: TaskFacts) -> Guess:
        """The score of a guess without pictures."""
        ...

    def strength(self, outputs: Outputs, facts: TaskFacts) -> NDArray[np.float64]:
        """What an explanation watches: how strongly each class is stated, [N, L]."""
        ...

    def margins(self, logits: NDArray[np.floating], facts: TaskFacts) -> NDArray[np.float64]:
        """How far logits [N, L] are from another decision, [N] in logits; near ties are answered in float32."""
        ...

    def decisions(self, logits: NDArray[np.floating], facts: TaskFacts) -> NDArray[Any]:
        """What is decided from logits [N, L], [N, ...]; a number itself where nothing is decided."""
        ...
