"""Segmentation metrics against scikit-learn and by brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from fieldmark.field.evaluate.segmentation import (
    IGNORE,
    Measured,
    boundary_f,
    dice,
    iou,
    measure,
    scores,
)

UNKNOWN = 254


def drawn(seed: int, n: int, classes: int, side: int = 9) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of what was said and the truth, some of it ignored."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(n):
        truth = rng.integers(0, classes, (side, side)).astype(np.uint8)
        said = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, classes, truth.shape)).astype(np.uint8)
        pairs.append((said, np.where(rng.random(truth.shape) < 0.1, IGNORE, truth).astype(np.uint8)))
    return pairs


@given(st.integers(0, 999), st.integers(1, 4), st.integers(2, 5))
@settings(max_examples=30)
def test_iou_and_dice_are_scikit_learns_on_the_pooled_pixels(seed, n, classes):
    pairs = drawn(seed, n, classes)
    total = Measured.joined([measure(said, truth, classes) for said, truth in pairs]).pixels.sum(0)
    truth, said = (np.concatenate([p[i][p[1] != IGNORE] for p in pairs]) for i in (1, 0))
    labels = range(classes)
    assert iou(total) == pytest.approx(metrics.jaccard_score(truth, said, labels=labels, average=None), nan_ok=True)
    assert dice(total) == pytest.approx(metrics.f1_score(truth, said, labels=labels, average=None), nan_ok=True)


def test_a_class_that_the_recogniser_does_not_know_is_never_right():
    truth = np.array([[0, UNKNOWN, UNKNOWN, 1]], np.uint8)
    said = np.array([[0, 1, 0, 1]], np.uint8)
    both, named, there, marked = measure(said, truth, 2).pixels[0]
    assert both.tolist() == [1, 1]
    assert named.tolist() == [2, 2]
    assert there.tolist() == [1, 1]
    assert marked.tolist() == [0, 1]


def brute_boundary_f(said: np.ndarray, truth: np.ndarray, reach: float) -> float:
    def edge(mask: np.ndarray) -> list[tuple[int, int]]:
        h, w = mask.shape
        found = []
        for y in range(h):
            for x in range(w):
                near = [(min(h - 1, y + dy), min(w - 1, x + dx)) for dy, dx in ((0, 1), (1, 0), (1, 1))]
                if any(mask[y, x] != mask[p] for p in near):
                    found.append((y, x))
        return found

    a, b = edge(said), edge(truth)
    if not a and not b:
        return float("nan")
    if not a or not b:
        return 0.0

    def near(one: list, other: list) -> float:
        return float(np.mean([min((y - v) ** 2 + (x - u) ** 2 for v, u in other) <= reach**2 for y, x in one]))

    p, r = near(a, b), near(b, a)
    return 2 * p * r / (p + r) if p + r else 0.0


@given(st.integers(0, 999), st.sampled_from([0.05, 0.1, 0.2]))
@settings(max_examples=25)
def test_the_boundary_is_as_by_brute_force(seed, tolerance):
    rng = np.random.default_rng(seed)
    said, truth = (rng.random((12, 15)) < rng.uniform(0, 0.3) for _ in range(2))
    reach = np.ceil(tolerance * np.hypot(12, 15))
    assert boundary_f(said, truth, tolerance) == pytest.approx(brute_boundary_f(said, truth, reach), nan_ok=True)


def test_a_boundary_moved_within_the_tolerance_is_right_and_beyond_it_is_not():
    truth = np.zeros((100, 100), bool)
    truth[30:60, 30:60] = True
    assert boundary_f(np.roll(truth, 2, 1), truth) == 1.0
    assert boundary_f(np.roll(truth, 8, 1), truth) < 0.7
    assert np.isnan(boundary_f(np.zeros_like(truth), np.zeros_like(truth)))
    assert boundary_f(truth, np.zeros_like(truth)) == 0.0


def test_scores_are_those_of_the_contract():
    pairs = drawn(3, 12, 3)
    pairs[0] = (pairs[0][0], np.zeros((9, 9), np.uint8))
    pairs[1] = (pairs[1][0], np.zeros((9, 9), np.uint8))
    measured = Measured.joined([measure(said, truth, 3) for said, truth in pairs])
    evidence = np.random.default_rng(0).integers(0, 5, 12) / 5
    found = scores(measured, evidence, ("background", "a", "b"), background=True)
    assert found["miou"] == pytest.approx(np.mean(list(found["iou"].values())))
    assert list(found["iou"]) == list(found["iou_ci"]) == ["background", "a", "b"]
    for key in ("miou", "dice", "foreground_iou", "foreground_roc_auc"):
        low, high = found[f"{key}_ci"]
        assert low <= found[key] <= high
        assert low < high
    shows = [bool(((t > 0) & (t != IGNORE)).any()) for _, t in pairs]
    assert found["foreground_roc_auc"] == pytest.approx(metrics.roc_auc_score(shows, evidence))
    truth, said = (np.concatenate([p[i][p[1] != IGNORE] for p in pairs]) for i in (1, 0))
    assert found["foreground_iou"] == pytest.approx(metrics.jaccard_score(truth > 0, said > 0))
    assert found["pixel_accuracy"] == pytest.approx((truth == said).mean())
    assert found["per_class"]["a"]["recall"] == pytest.approx(metrics.recall_score(truth == 1, said == 1))
    assert found["per_class"]["a"]["marked"] == pytest.approx((said[truth == 1] > 0).mean())
    assert "found" not in found["per_class"]["background"]


def test_found_counts_pictures_of_which_a_tenth_of_the_class_was_marked():
    truth = np.ones((1, 20), np.uint8)
    hit, missed = np.zeros((1, 20), np.uint8), np.zeros((1, 20), np.uint8)
    hit[0, :2] = 1
    missed[0, :1] = 1
    measured = Measured.joined([measure(said, truth, 2) for said in (hit, missed)])
    found = scores(measured, np.zeros(2), ("background", "crack"), background=True)
    assert found["per_class"]["crack"]["found"] == 0.5
    assert found["foreground_roc_auc"] is None


def test_a_class_that_is_nowhere_does_not_count():
    zeros = np.zeros((2, 2), np.uint8)
    found = scores(measure(zeros, zeros, 2), np.zeros(1), ("background", "a"), background=True)
    assert found["iou"] == {"background": 1.0, "a": None}
    assert found["miou"] == 1.0
    assert found["iou_ci"]["a"] is None


def test_intervals_narrow_with_more_pictures():
    few, many = (
        scores(
            Measured.joined([measure(s, t, 2) for s, t in drawn(5, n, 2)]), np.zeros(n), ("a", "b"), background=False
        )
        for n in (5, 80)
    )
    assert np.diff(many["miou_ci"]) < np.diff(few["miou_ci"])
    assert "foreground_iou" not in few
