"""Where the linear head looks: the places around which later stages' views are cropped.

F features, h x w positions.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fieldmark.field.runtime import Engine, stream
from fieldmark.field.runtime.evidence import class_evidence
from fieldmark.pictures import load
from fieldmark.types import Picture, Preprocess
from fieldmark.workshop.learn.linear import LinearHead, signed_power
from fieldmark.workshop.train.augment import Place
from fieldmark.workshop.train.cache import Digest, same_bytes

Guide = Mapping[Digest, Place]
NO_GUIDE: Guide = {}


def find_places(
    engine: Engine,
    head: LinearHead,
    wanted: Sequence[tuple[Digest, Path]],
    preprocess: Preprocess,
    tick: Callable[[int, int], None],
) -> Guide:
    """Of each picture the place with the most evidence for what the head says of it, by an engine with the output
    "features". Pictures that cannot be used have none."""

    def look(item: tuple[Digest, Path]) -> Picture:
        return load(same_bytes(item[1], item[0]), preprocess)

    found = {}
    for done, seen in enumerate(stream(engine, wanted, look, ("features",)), start=1):
        if seen.error is None and np.isfinite(seen.outputs["features"]).all():
            found[seen.item[0]] = place_of(seen.outputs["features"], head)
        tick(done, len(wanted))
    return found


def place_of(features: NDArray[np.float32], head: LinearHead) -> Place:
    """The middle of the position of features [F, h, w] that adds most to the head's highest logit."""
    h, w = features.shape[1:]
    pooled = features.mean((1, 2))
    best = head.logits(pooled[None])[0].argmax()
    average = np.full((1, h, w), 1 / (h * w), np.float32)
    evidence = class_evidence(average, signed_power(pooled, head.power), features, head.weight[best])
    row, column = divmod(int(evidence.argmax()), w)
    return (column + 0.5) / w, (row + 0.5) / h
