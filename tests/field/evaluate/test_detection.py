"""Boxes against boxes: overlap, suppression, average precision as COCO's own code has it, kinds of errors."""

import io
from contextlib import redirect_stdout

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.field.evaluate import detection
from fieldmark.field.evaluate.overlap import overlap, suppress

CLASSES = 3


def drawn(rng: np.random.Generator, many: int) -> np.ndarray:
    low = rng.uniform(0, 60, (many, 2))
    return np.concatenate([low, low + rng.uniform(4, 40, (many, 2))], 1)


def scene(seed: int, pictures: int = 6):
    """True boxes, and found ones that are some of them, moved, with further ones of nothing."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for _ in range(pictures):
        boxes, kinds = drawn(rng, int(rng.integers(0, 6))), rng.integers(0, CLASSES, 6)
        truth.append(np.column_stack([boxes, kinds[: len(boxes)]]).reshape(-1, 5))
        near = boxes + rng.normal(0, 3, boxes.shape)
        near = np.concatenate([np.minimum(near[:, :2], near[:, 2:] - 1), near[:, 2:]], 1)
        said = np.concatenate([near, near + rng.normal(0, 2, near.shape).cumsum(1) * 0, drawn(rng, 3)])
        scores, classes = rng.uniform(0.05, 1, len(said)), rng.integers(0, CLASSES, len(said))
        classes[: len(boxes)] = np.where(rng.random(len(boxes)) < 0.8, kinds[: len(boxes)], classes[: len(boxes)])
        found.append(np.column_stack([said, scores, classes]))
    return found, truth


def by_pycocotools(found, truth) -> np.ndarray:
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    from pycocotools.cocoeval import COCOeval

    true, said = detection._documents(found, truth, CLASSES)
    with redirect_stdout(io.StringIO()):
        known = coco.COCO()
        known.dataset = true
        known.createIndex()
        evaluation = COCOeval(known, known.loadRes(said), "bbox")
        evaluation.params.maxDets = [1, 10, 300]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    return np.where((precision > -1).any(1), precision.mean(1), np.nan)


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_average_precision_is_that_of_both_coco_codes(seed):
    found, truth = scene(seed)
    expected = by_pycocotools(found, truth)
    np.testing.assert_allclose(detection.coco_precisions(found, truth, CLASSES), expected, atol=1e-9)
    matches = detection.match(found, truth, CLASSES)
    ours = np.array([detection.average_precision(matches, t) for t in range(len(detection.OVERLAPS))])
    np.testing.assert_allclose(ours, expected, atol=1e-9)
    known = np.isfinite(expected[0])
    if known.any():
        assert detection.mean_precision(matches)["map"] == pytest.approx(expected[:, known].mean())
        low, high = detection.map50_interval(matches)
        assert 0 <= low <= high <= 1


def test_perfect_boxes_have_a_precision_of_one_and_none_have_zero():
    truth = [np.array([[0, 0, 10, 10, 0], [20, 20, 40, 40, 1]], float), np.zeros((0, 5))]
    found = [np.array([[0, 0, 10, 10, 0.9, 0], [20, 20, 40, 40, 0.8, 1]], float), np.zeros((0, 6))]
    right = detection.coco_precisions(found, truth, CLASSES)
    np.testing.assert_allclose(right[:, :2], 1)
    assert np.isnan(right[:, 2]).all()
    none = detection.coco_precisions([np.zeros((0, 6))] * 2, truth, CLASSES)
    np.testing.assert_array_equal(none[:, :2], 0)
    assert detection.mean_precision(detection.match([np.zeros((0, 6))] * 2, [np.zeros((0, 5))] * 2, 1))["map50"] == 0


def test_every_kind_of_error_is_told_apart():
    truth = [np.array([[0, 0, 10, 10, 0], [20, 0, 30, 10, 0], [40, 0, 50, 10, 1], [60, 0, 70, 10, 1]], float)]
    found = [
        np.array(
            [
                [0, 0, 10, 10, 0.9, 0],  # right
                [0, 0, 10, 9, 0.8, 0],  # again
                [23, 0, 37, 10, 0.7, 0],  # beside the second
                [40, 0, 50, 10, 0.6, 0],  # the third, misnamed
                [64, 0, 78, 10, 0.5, 0],  # beside the fourth, misnamed
                [80, 80, 90, 90, 0.4, 1],  # nothing
            ],
            float,
        )
    ]
    counts = {"class": 1, "localisation": 1, "both": 1, "duplicate": 1, "background": 1, "missed": 1}
    assert detection.error_kinds(found, truth) == counts


def test_the_threshold_has_the_best_f1():
    truth = [np.array([[0, 0, 10, 10, 0], [20, 0, 30, 10, 0]], float)]
    rows = [[0, 0, 10, 10, 0.9, 0], [20, 0, 30, 10, 0.6, 0], [50, 0, 60, 9, 0.5, 0], [70, 0, 80, 9, 0.4, 0]]
    matches = detection.match([np.array(rows, float)], truth, 1, (0.5,))
    assert detection.best_threshold(matches) == pytest.approx(0.55)
    assert detection.best_threshold(detection.match([np.zeros((0, 6))], truth, 1)) == 0.5


@given(st.integers(0, 1000), st.floats(0.2, 0.8))
@settings(deadline=None)
def test_suppression_leaves_the_best_and_nothing_that_overlaps_it(seed, most):
    rng = np.random.default_rng(seed)
    boxes, scores, classes = drawn(rng, 20), rng.uniform(0, 1, 20), rng.integers(0, 2, 20)
    kept = suppress(boxes, scores, classes, most)
    assert kept[0] == scores.argmax()
    assert (np.diff(scores[kept]) <= 0).all()
    shared = overlap(boxes, boxes)
    for i in range(20):
        rivals = [k for k in kept if classes[k] == classes[i] and (shared[k, i] > most or k == i)]
        assert rivals
        if i in kept:
            assert rivals == [i]


def test_overlap_by_hand():
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 20, 30]], float)
    np.testing.assert_allclose(overlap(boxes[:2], boxes), [[1, 1 / 3, 0], [1 / 3, 1, 0]])
