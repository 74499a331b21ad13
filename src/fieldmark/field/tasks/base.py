"""What every task answers, on arrays alone; training's validation and the field use the same answers.

N pictures, L classes (or labels, or the one number of a regression).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fieldmark.data.index import Index
from fieldmark.geometry import Geometry
from fieldmark.types import Prediction, Sample

Outputs = Mapping[str, NDArray[Any]]  # name -> [N, ...]; objects where the pictures' own shapes differ
One = Mapping[str, NDArray[Any]]  # of one picture: without the first axis


@dataclass(frozen=True)
class TaskFacts:
    """What a task needs to know of a recogniser: its classes, two-level labels, calibration (logits over
    `temperature` plus `offset`) and thresholds; `positive`,
    the class that two-class rates are of; `target`, how a number is read from the network (mean, scale, error)."""

    classes: tuple[str, ...]
    coarse_of: Mapping[str, str] = field(default_factory=dict)
    temperature: float = 1.0
    thresholds: Mapping[str, float] = field(default_factory=dict)
    label_thresholds: tuple[float, ...] = ()
    positive: str = ""
    target: Mapping[str, float] = field(default_factory=dict)
    offset: float = 0.0

    @classmethod
    def from_bundle(cls, facts: Mapping[str, Any]) -> "TaskFacts":
        """From `bundle.json`; LookupError, TypeError, ValueError or AttributeError where it is damaged."""
        calibration = facts.get("calibration") or {}
        temperature = float(calibration.get("temperature", 1.0))
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
            float(calibration.get("offset", 0.0)),
        )


class Guess(NamedTuple):
    """What needs no picture: the score that it gets under `key`, and what it is in words after "better than"."""

    key: str
    score: float
    words: str


class Task(Protocol):
    """One kind of question that a recogniser answers; `outputs` names the network's outputs that it needs, `headline`
    the score that tells most. `located`: its answers lie somewhere in the picture, in whose own pixels they are given.

    Between network and answer stands `keep`: it makes of one picture's outputs what all that follows works with.
    """

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

    @property
    def located(self) -> bool: ...

    @property
    def least_alike(self) -> float:
        """Of decisions at a lower precision, the share that must be float32's for it to be used."""
        ...

    def select(self, index: Index) -> Index:
        """The samples whose truth is of this kind, the others left out and listed; DataError where none is."""
        ...

    def check(self, samples: Sequence[Sample]) -> None:
        """DataError, in one sentence, for samples whose truth is of another kind."""
        ...

    def unfit(self, outputs: Outputs, n_classes: int) -> str:
        """What is wrong with the shapes of a network's outputs, after "its network"; "" where they fit."""
        ...

    def keep(self, outputs: One, geometry: Geometry | None, facts: TaskFacts) -> One:
        """What the answers for one picture are made of; `geometry` places the network's input in it, where the task is
        `located`."""
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

    def alike(self, exact: Outputs, fast: Outputs, facts: TaskFacts) -> NDArray[np.float64]:
        """The share of each picture's decisions, [N], that is the same from two forms of a network's raw outputs."""
        ...


class OnLogits:
    """What tasks have in common that are answered from logits [N, L], one row a picture: near ties can be told, and
    are looked at again in float32."""

    outputs: tuple[str, ...] = ("logits",)
    located = False
    least_alike = 0.995  # when near ties are answered in float32

    def select(self, index: Index) -> Index:
        return index

    def unfit(self, outputs: Outputs, n_classes: int) -> str:
        fits = "logits" not in outputs or outputs["logits"].shape[1:] == (n_classes,)
        return "" if fits else f"does not give one logit for each of {n_classes} classes"

    def keep(self, outputs: One, geometry: Geometry | None, facts: TaskFacts) -> One:
        return outputs

    def alike(self, exact: Outputs, fast: Outputs, facts: TaskFacts) -> NDArray[np.float64]:
        """1 where all is decided alike, else 0."""
        one, other = (self.decisions(outputs["logits"], facts) for outputs in (exact, fast))
        return np.asarray((one == other).reshape(len(one), -1).all(1), np.float64)

    def strength(self, outputs: Outputs, facts: TaskFacts) -> NDArray[np.float64]:
        """What an explanation watches: how strongly each class is stated, [N, L]."""
        raise NotImplementedError

    def margins(self, logits: NDArray[np.floating], facts: TaskFacts) -> NDArray[np.float64]:
        """How far logits [N, L] are from another decision, [N] in logits; near ties are answered in float32."""
        raise NotImplementedError

    def decisions(self, logits: NDArray[np.floating], facts: TaskFacts) -> NDArray[Any]:
        """What is decided from logits [N, L], [N, ...]; a number itself where nothing is decided."""
        raise NotImplementedError
