"""What every task answers, on arrays alone; training's validation and the field use the same answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fieldmark.types import Prediction, Sample

Outputs = Mapping[str, NDArray[np.floating]]  # name -> [N, ...]


@dataclass(frozen=True)
class TaskFacts:
    """What a task needs to know of a recogniser: its classes, two-level labels, calibration and thresholds."""

    classes: tuple[str, ...]
    coarse_of: Mapping[str, str] = field(default_factory=dict)
    temperature: float = 1.0
    thresholds: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_bundle(cls, facts: Mapping[str, Any]) -> "TaskFacts":
        """From `bundle.json`; LookupError, TypeError, ValueError or AttributeError where it is damaged."""
        temperature = float(facts.get("calibration", {}).get("temperature", 1.0))
        if not 0 < temperature < np.inf:
            raise ValueError(f"a temperature must be above 0, not {temperature}")
        return cls(
            tuple(facts["classes"]),
            dict(facts.get("coarse") or {}),
            temperature,
            dict(facts.get("thresholds", {})),
        )


class Task(Protocol):
    """One kind of question that a recogniser answers; `outputs` names the network's outputs that it needs."""

    @property
    def name(self) -> str: ...

    @property
    def outputs(self) -> tuple[str, ...]: ...

    def predict(self, paths: Sequence[str], outputs: Outputs, facts: TaskFacts) -> list[Prediction]:
        """One prediction a picture, in order."""
        ...

    def targets(self, samples: Sequence[Sample], facts: TaskFacts) -> NDArray[Any]:
        """The truth of labelled samples in the task's own form."""
        ...

    def score(self, samples: Sequence[Sample], outputs: Outputs, facts: TaskFacts) -> dict[str, Any]:
        """The scores that `train` and `evaluate` print, under the contract's keys."""
        ...
