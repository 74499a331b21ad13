"""A second glance (after RA-CNN, Fu et al. 2017): the region that the first one rests on is cut from the original
picture at full resolution and looked at again; the logits of both are joined.

The region is learned by nothing more than the head: its centre is the centre of mass of the positive class evidence
for the most probable class.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fieldmark.geometry import Box
from fieldmark.types import Picture

from .engine import Arrays, Engine
from .evidence import OUTPUTS
from .stream import Load, Look, Seen, see

T = TypeVar("T")
Region = Box  # in shares of the network's view of the picture
SETTLED = ("calibration", "thresholds", "label_thresholds", "positive", "target")
Evidence = Callable[[Arrays], NDArray[np.float32]]


@dataclass(frozen=True)
class Glances:
    """How many glances a picture gets, 1 or 2; `side` of the region as a share of the view's, `share` of the second
    glance's logits in the sum; `settled`: what validation decided for that sum, in the place of `SETTLED` facts of one
    glance."""

    count: int = 1
    side: float = 0.7  # as `share`, measured: docs/experiments.md
    share: float = 0.35
    settled: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_bundle(cls, facts: Mapping[str, Any]) -> "Glances":
        """From `bundle.json`; ValueError or TypeError where it is damaged."""
        known = facts.get("glances") or {}
        found = cls(**{name: known[name] for name in ("count", "side", "share", "settled") if name in known})
        if found.count not in (1, 2) or not (0 < found.side <= 1 and 0 <= found.share <= 1):
            raise ValueError("glances is out of range")
        if not isinstance(found.settled, Mapping) or not set(found.settled) <= set(SETTLED):
            raise ValueError("glances.settled holds what a glance does not settle")
        return found

    def facts(self, facts: Mapping[str, Any]) -> Mapping[str, Any]:
        """The facts of a bundle as they are for so many glances."""
        return {**facts, **self.settled} if self.count == 2 else facts


def region_of(evidence: NDArray[np.float32], side: float) -> Region:
    """The square of this side, inside the view, around the centre of mass of the positive evidence [h, w]."""
    h, w = evidence.shape
    positive = np.maximum(evidence, 0).astype(np.float64)
    total = positive.sum()
    if not total > 0:
        positive, total = np.ones_like(positive), float(positive.size)
    x = float((positive.sum(0) * (np.arange(w) + 0.5)).sum() / total / w)
    y = float((positive.sum(1) * (np.arange(h) + 0.5)).sum() / total / h)
    left, top = (min(max(centre - side / 2, 0.0), 1.0 - side) for centre in (x, y))
    return left, top, left + side, top + side


def second_look(glances: Glances, evidence: Evidence, load_region: Callable[[T, Region], Picture]) -> Look[T]:
    """The look of a stream whose pictures are seen twice. `evidence` gives that of one picture's outputs for its
    most probable class [h, w]; `load_region` the part of an item's picture as the network's input."""

    def look(engine: Engine, load: Load[T], items: Sequence[T], outputs: Sequence[str]) -> list[Seen[T]]:
        first = see(engine, load, items, tuple(dict.fromkeys((*outputs, *OUTPUTS))))
        places = [i for i, s in enumerate(first) if s.error is None and _finite(s.outputs)]
        regions = {i: region_of(evidence(first[i].outputs), glances.side) for i in places}
        again = see(engine, lambda i: load_region(items[i], regions[i]), places, ("logits",))
        for place, seen in zip(places, again, strict=True):
            if seen.error is None:
                share, logits = glances.share, first[place].outputs["logits"]
                first[place].outputs["logits"] = (1 - share) * logits + share * seen.outputs["logits"]
        return [Seen(s.item, {name: s.outputs[name] for name in outputs if name in s.outputs}, s.error) for s in first]

    return look


def _finite(outputs: Arrays) -> bool:
    return all(np.isfinite(outputs[name]).all() for name in OUTPUTS)
