"""Learns where covering a picture takes the answer away: the `OcclusionMap` of a recogniser.

Pictures are covered here and there, mostly where the class evidence is high, with their own blurred colours; ridge
regression foresees how much of the best class's lead each covered position takes. F features, h x w positions, P of
them, D principal directions of the features, K x K positions around each.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fieldmark.errors import PictureError
from fieldmark.field.explain.faithfulness import blurred
from fieldmark.field.runtime import Engine, stream
from fieldmark.field.runtime.evidence import OUTPUTS
from fieldmark.field.runtime.occlusion import OcclusionMap, windows
from fieldmark.field.runtime.recogniser import Recogniser
from fieldmark.field.runtime.source import load_source
from fieldmark.types import Picture, Sample

LOOKS = 16  # covered forms of each picture
ANYWHERE = 0.2  # of them cover a place that the evidence does not name
SIDES = (1.0, 2.5)  # positions that a cover is long and wide
AROUND, DIRECTIONS = 7, 48  # K and D, at most (docs/experiments.md)
STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # of ridge, times what a thousand looks weigh
FOLDS = 3
FEWEST_POSITIONS, FEWEST_PICTURES = 9, 12
BASIS_PICTURES = 200  # from which the directions are found
MOST_BYTES = 500_000_000  # of features that are kept
LEAST_FORESEEN = 0.05  # of the variance of falls on other pictures: a model of less is none
Floats = NDArray[np.float32]
Tick = Callable[[int, int], None]


@dataclass(frozen=True)
class _Seen:
    """A picture as it is: where it is, its features [F, h, w], its answer and that class's lead, and its covers: pixels
    (left, top, right, bottom) each, and the share [LOOKS, P] of every position that they cover."""

    sample: Sample
    features: NDArray[np.float16]
    best: int
    lead: float
    boxes: NDArray[np.int64]
    shares: Floats


def learn_occlusion(
    recogniser: Recogniser, engine: Engine, samples: Sequence[Sample], looks: int, seed: int, tick: Tick
) -> OcclusionMap | None:
    """The map of a recogniser of classes, from at most so many looks at these pictures by an engine of its network;
    None where features have too few positions, too few pictures can be used, or nothing is foreseen of others."""
    rng = np.random.default_rng([seed, len(samples)])
    chosen = [samples[i] for i in np.sort(rng.permutation(len(samples))[: looks // (LOOKS + 1)])]
    total = len(chosen) * (LOOKS + 1)
    whole = []
    load = partial(load_source, preprocess=recogniser.preprocess)
    for sample, seen in zip(chosen, stream(engine, [s.path for s in chosen], load, OUTPUTS), strict=True):
        if seen.error is None and all(np.isfinite(values).all() for values in seen.outputs.values()):
            if seen.outputs["features"][0].size < FEWEST_POSITIONS:
                return None
            whole.append(_look(recogniser, sample, seen.outputs, rng))
            tick(len(whole), total)
            if len(whole) * whole[0].features.nbytes > MOST_BYTES:
                break
    if len(whole) < FEWEST_PICTURES:
        return None
    falls = np.zeros((len(whole), LOOKS), np.float32)
    usable = np.ones(falls.shape, bool)
    for place, seen in enumerate(stream(engine, _covered(recogniser, whole), load, ("logits",))):
        number, look = divmod(place, LOOKS)
        if seen.error is None:
            falls[number, look] = whole[number].lead - _lead(seen.outputs["logits"], whole[number].best)
        usable[number, look] = seen.error is None and np.isfinite(falls[number, look])
        tick(len(whole) + place + 1, total)
    return fit(whole, np.where(usable, falls, 0), usable)


def _lead(logits: Floats, best: int) -> float:
    """How far a class's logit is above the highest other one."""
    return float(logits[best] - np.delete(logits, best).max())


def _look(recogniser: Recogniser, sample: Sample, outputs: dict[str, Floats], rng: np.random.Generator) -> _Seen:
    logits, features = outputs["logits"], outputs["features"]
    first, second = np.argsort(-logits, kind="stable")[:2]
    evidence = recogniser.evidence(outputs, recogniser.head_weights[first] - recogniser.head_weights[second])
    boxes, shares = covers(evidence, recogniser.preprocess.size_wh, rng)
    return _Seen(sample, features.astype(np.float16), int(first), _lead(logits, int(first)), boxes, shares)


def covers(evidence: Floats, size_wh: tuple[int, int], rng: np.random.Generator) -> tuple[NDArray[np.int64], Floats]:
    """Boxes [LOOKS, 4] (xyxy, pixels of the network's input) around positions drawn by the squared positive evidence
    [h, w] above its mean, and some anywhere; and the share [LOOKS, P] of each position that they cover."""
    h, w = evidence.shape
    weight = np.maximum(evidence - evidence.mean(), 0).ravel().astype(np.float64) ** 2
    weight = weight / weight.sum() if weight.sum() > 0 else np.full(h * w, 1 / (h * w))
    weight = (1 - ANYWHERE) * weight + ANYWHERE / (h * w)
    row, column = np.divmod(rng.choice(h * w, LOOKS, p=weight), w)
    cell = np.array(size_wh, np.float64) / (w, h)
    centre = (np.stack([column, row], 1) + rng.random((LOOKS, 2))) * cell
    half = rng.uniform(*SIDES, (LOOKS, 2)) / 2 * cell
    boxes = np.rint(np.concatenate([centre - half, centre + half], 1)).clip(0, np.tile(size_wh, 2)).astype(np.int64)
    return boxes, _shares(boxes, (h, w), size_wh)


def _shares(boxes: NDArray[np.int64], grid_hw: tuple[int, int], size_wh: tuple[int, int]) -> Floats:
    sides = []
    for low, high, count, size in ((1, 3, grid_hw[0], size_wh[1]), (0, 2, grid_hw[1], size_wh[0])):
        edges = np.linspace(0, size, count + 1)
        ends = np.minimum(boxes[:, high, None], edges[1:]) - np.maximum(boxes[:, low, None], edges[:-1])
        sides.append(np.maximum(ends, 0) * count / size)
    return np.asarray(np.einsum("nh,nw->nhw", *sides).reshape(len(boxes), -1), np.float32)


def _covered(recogniser: Recogniser, whole: Sequence[_Seen]) -> Iterator[Picture]:
    """Every picture with each of its covers, made as they are asked for."""
    for seen in whole:
        try:
            picture = load_source(seen.sample.path, recogniser.preprocess)
        except PictureError:  # gone since: all of its looks are at nothing
            picture = np.zeros((0, 0, 3), np.uint8)
        vague = blurred(picture) if picture.size else picture
        for left, top, right, bottom in seen.boxes:
            frame = picture.copy()
            frame[top:bottom, left:right] = vague[top:bottom, left:right]
            yield frame


def fit(whole: Sequence[_Seen], falls: Floats, usable: NDArray[np.bool_]) -> OcclusionMap | None:
    """The map from pictures and how much each of their covers took, [n, LOOKS]; the strength of the ridge that foresees
    other pictures best. None where that is hardly better than the mean."""
    mean, directions = _directions([s.features for s in whole[:: -(-len(whole) // BASIS_PICTURES)]])
    n = directions.shape[1] * AROUND**2 + 1
    grams, sums, squares = np.zeros((FOLDS, n, n)), np.zeros((FOLDS, n)), np.zeros(FOLDS)
    for number, (seen, fell, used) in enumerate(zip(whole, falls, usable, strict=True)):
        rows = seen.shares[used] @ _around(np.einsum("fhw,fd->dhw", seen.features - mean[:, None, None], directions))
        fold, y = number % FOLDS, fell[used].astype(np.float64)
        grams[fold] += rows.T @ rows
        sums[fold] += rows.T @ y
        squares[fold] += y @ y
    looks, totals = usable.sum(), (grams.sum(0), sums.sum(0))
    missed = {s: _missed(s, grams, sums, squares, totals, looks) for s in STRENGTHS}
    strength = min(missed, key=lambda s: missed[s])
    if not looks or missed[strength] > (1 - LEAST_FORESEEN) * looks * falls[usable].var(dtype=np.float64):
        return None
    weights = _ridge(*totals, strength, looks)
    kernel = np.einsum("fd,dab->fab", directions, weights[:-1].reshape(-1, AROUND, AROUND))
    return OcclusionMap(mean, kernel.astype(np.float32), weights[-1:].astype(np.float32))


def _directions(features: Sequence[NDArray[np.float16]]) -> tuple[Floats, NDArray[np.float64]]:
    """The mean [F] of features at all positions, and their D principal directions [F, D]."""
    rows = [f.reshape(len(f), -1).T.astype(np.float32) for f in features]
    mean = np.mean([r.mean(0) for r in rows], 0)
    _, vectors = np.linalg.eigh(sum((r - mean).T @ (r - mean) for r in rows))
    return mean, vectors[:, -DIRECTIONS:].astype(np.float64)


def _around(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of values [D, h, w] those around each position, and 1: [P, D * K * K + 1]; beyond the border they are 0."""
    rows = windows(values, AROUND).transpose(1, 2, 0, 3, 4).reshape(values[0].size, -1)
    return np.concatenate([rows, np.ones((len(rows), 1))], 1)


def _ridge(gram: NDArray[np.float64], sums: NDArray[np.float64], strength: float, looks: float) -> NDArray[np.float64]:
    """Weights [n] that foresee best, shrunk by `strength` times what a thousand looks weigh."""
    weight = 1_000 * strength * np.trace(gram) / (len(gram) * max(1.0, looks))
    return np.linalg.solve(gram + max(weight, 1e-9) * np.eye(len(gram)), sums)


def _missed(
    strength: float,
    grams: NDArray[np.float64],
    sums: NDArray[np.float64],
    squares: NDArray[np.float64],
    totals: tuple[NDArray[np.float64], NDArray[np.float64]],
    looks: float,
) -> float:
    """The squared error on each fold of what the others foresee, all together."""
    missed, share = 0.0, (FOLDS - 1) / FOLDS
    for fold in range(FOLDS):
        weights = _ridge(totals[0] - grams[fold], totals[1] - sums[fold], strength, share * looks)
        missed += float(squares[fold] - 2 * weights @ sums[fold] + weights @ grams[fold] @ weights)
    return missed
