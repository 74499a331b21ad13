"""Semantic segmentation: one of L classes for every pixel, in the picture's own pixels. N pictures, h x w positions."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldmark.data.index import Index, Skipped
from fieldmark.data.masks import BACKGROUND, IGNORE, load_mask, mask_names
from fieldmark.errors import DataError, PictureError
from fieldmark.field.evaluate import segmentation
from fieldmark.field.evaluate.classmap import Box, ClassMap, class_map, decide, evidence, expected_iou, softmax
from fieldmark.field.evaluate.segmentation import Measured, measure
from fieldmark.geometry import Geometry
from fieldmark.types import Prediction, Sample, Score, pack, unpack

from .base import Guess, One, Outputs, TaskFacts

UNSURE_BELOW = 0.5  # of the IoU that the probabilities promise
SUMS = ("pixels", "sure", "hoped", "evidence")


class Segment:
    """Class scores on a grid, enlarged to the picture before anything is decided. Where the first class is the
    background, a picture is named after the largest thing in it."""

    name = "segment"
    outputs = ("logits",)
    headline = "miou"
    fewest_classes = 2
    located = True
    least_alike = 0.995  # of positions

    def columns(self, facts: TaskFacts) -> tuple[str, ...]:
        return ("shares", "mask")

    def select(self, index: Index) -> Index:
        """The samples whose mask can be read, with the names of what it shows as their labels."""
        with ThreadPoolExecutor() as pool:
            found = list(pool.map(_shown, index.samples))
        pairs = list(zip(index.samples, found, strict=True))
        usable = tuple(
            replace(s, labels=names, coarse=None, target=None) for s, names in pairs if isinstance(names, tuple)
        )
        skipped = tuple(Skipped(s.name, why) for s, why in pairs if isinstance(why, str))
        if not usable:
            first = skipped[0].reason if skipped else "there are no pictures"
            raise DataError(f"{index.source} has no masks that can be read ({first}); give masks, or another --task")
        return replace(index, samples=usable, skipped=(*index.skipped, *skipped), kind="mask")

    def check(self, samples: Sequence[Sample]) -> None:
        wrong = next((s for s in samples if s.mask is None), None)
        if wrong is not None:
            raise DataError(f"{wrong.name} has no mask, but this recogniser says what every pixel shows; give masks")

    def unfit(self, outputs: Outputs, n_classes: int) -> str:
        shape = outputs["logits"].shape if "logits" in outputs else (0, n_classes, 0, 0)
        return "" if len(shape) == 4 and shape[1] == n_classes else f"does not give maps of {n_classes} classes"

    def keep(self, outputs: One, geometry: Geometry | None, facts: TaskFacts) -> One:
        """The class numbers of the picture's pixels, packed, and sums over them, [L]."""
        assert geometry is not None
        logits = outputs["logits"] / facts.temperature
        found = class_map(logits, geometry.size_wh, _covered(geometry, logits.shape[1:]), _background(facts))
        sums = {"pixels": found.pixels, "sure": found.sure, "hoped": found.hoped}
        return {"numbers": pack(found.numbers), **sums, "evidence": evidence(logits, _background(facts))}

    def predict(self, paths: Sequence[str], outputs: Outputs, facts: TaskFacts) -> list[Prediction]:
        return [self._one(path, row, facts) for path, row in zip(paths, _rows(outputs), strict=True)]

    def _one(self, path: str, row: One, facts: TaskFacts) -> Prediction:
        """Its classes, the largest first and the background last, each as surely as its surest position."""
        pixels, first = row["pixels"], int(_background(facts))
        order = sorted(range(len(pixels)), key=lambda c: (c < first, -pixels[c], -row["evidence"][c]))
        if first and not pixels[1:].any():
            order = [0, *order[:-1]]
        shares = {facts.classes[c]: round(float(pixels[c] / pixels.sum()), 6) for c in order if pixels[c]}
        below = facts.thresholds.get("unsure_below", UNSURE_BELOW)
        promised = promised_iou(row, first)
        labels = tuple(Score(facts.classes[c], float(row["evidence"][c])) for c in order)
        extra = {"shares": shares, "mask": None}
        return Prediction(path, labels, unsure=promised < below, extra=extra, numbers=row["numbers"])

    def score(self, samples: Sequence[Sample], outputs: Outputs, facts: TaskFacts) -> dict[str, Any]:
        background, rows = _background(facts), list(_rows(outputs))
        measured = Measured.joined(list(_measured(samples, rows, facts)))
        any_thing = -np.array([row["evidence"][0] for row in rows], np.float64)  # the less background where it is least
        result = {"n": len(samples), **segmentation.scores(measured, any_thing, facts.classes, background)}
        unknown = sorted({name for s in samples for name in s.labels} - set(facts.classes))
        if unknown:
            result["unknown_classes"] = unknown
        below = facts.thresholds.get("unsure_below", UNSURE_BELOW)
        result["unsure"] = float(np.mean([promised_iou(row, int(background)) < below for row in rows]))
        return result

    def each(self, samples: Sequence[Sample], outputs: Outputs, facts: TaskFacts) -> NDArray[np.float64]:
        """The mean IoU of the classes that are in a picture or were said of it."""
        rows = [m.pixels[0] for m in _measured(samples, list(_rows(outputs)), facts)]
        return np.array([np.nanmean(segmentation.iou(pixels)) if pixels.any() else 1.0 for pixels in rows])

    def guess(self, samples: Sequence[Sample], facts: TaskFacts) -> Guess:
        counts = sum((_areas(sample, facts.classes) for sample in samples), np.zeros(len(facts.classes)))
        most, there = int(counts.argmax()), int((counts > 0).sum())
        name = facts.classes[most]
        return Guess("miou", float(counts[most] / max(1.0, counts.sum()) / max(1, there)), f"saying {name} everywhere")

    def alike(self, exact: Outputs, fast: Outputs, facts: TaskFacts) -> NDArray[np.float64]:
        """The share of positions of the grid that are of the same class."""
        one, other = (self._numbers(outputs["logits"], facts) for outputs in (exact, fast))
        return np.asarray((one == other).reshape(len(one), -1).mean(1), np.float64)

    def _numbers(self, logits: NDArray[np.floating], facts: TaskFacts) -> NDArray[np.uint8]:
        """Class numbers [N, h, w] of logits [N, L, h, w]."""
        return decide(softmax(logits.transpose(1, 0, 2, 3) / facts.temperature), _background(facts))


def promised_iou(row: One, first: int) -> float:
    """The IoU that the probabilities promise for what was said of a picture, from the class `first` on, mean by area;
    1 where none of these was said."""
    found = expected_iou(ClassMap(np.zeros((0, 0), np.uint8), row["pixels"], row["sure"], row["hoped"]))
    weights = np.where(np.isfinite(found), row["pixels"], 0.0)[first:]
    return float(np.nansum(found[first:] * weights) / weights.sum()) if weights.any() else 1.0


def _background(facts: TaskFacts) -> bool:
    return facts.classes[0] == BACKGROUND


def _covered(geometry: Geometry, grid_hw: Sequence[int]) -> Box:
    """The part of a grid over the view that the whole picture covers, xyxy in positions."""
    corners = geometry.boxes(np.array([[0.0, 0.0, *geometry.size_wh]]))[0].reshape(2, 2)
    grid_wh = np.array([grid_hw[1], grid_hw[0]], np.float64)
    scaled = np.clip(corners * grid_wh / geometry.view_wh, 0, grid_wh)
    left, top, right, bottom = (float(v) for v in scaled.ravel())
    return left, top, right, bottom


def _rows(outputs: Outputs) -> Iterator[One]:
    """What was kept of each picture."""
    for i in range(len(outputs["numbers"])):
        yield {name: values[i] for name, values in outputs.items()}


def _shown(sample: Sample) -> tuple[str, ...] | str:
    """The names of what a sample's mask shows, or why it cannot be used."""
    if sample.mask is None:
        return "it has no mask"
    names = mask_names(sample.mask)
    try:
        counts = np.bincount(load_mask(sample, names).ravel(), minlength=IGNORE + 1)
    except PictureError as error:
        return str(error)
    return tuple(sorted(name for name, count in zip(names, counts, strict=False) if count))


def _areas(sample: Sample, classes: Sequence[str]) -> NDArray[np.float64]:
    """How many pixels are of each class, [L]."""
    numbers = load_mask(sample, classes)
    return np.bincount(numbers.ravel(), minlength=IGNORE + 1)[: len(classes)].astype(np.float64)


def _measured(samples: Sequence[Sample], rows: Sequence[One], facts: TaskFacts) -> Iterator[Measured]:
    def one(sample: Sample, row: One) -> Measured:
        return measure(unpack(row["numbers"]), load_mask(sample, facts.classes), len(facts.classes))

    with ThreadPoolExecutor() as pool:
        yield from pool.map(one, samples, rows)
