"""Multi-label metrics against scikit-learn and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from fieldmark.field.evaluate.multilabel import average_precisions, f1_thresholds, scores, sigmoid


def drawn(seed: int, n: int, labels: int, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = rng.integers(1, 5, (n, labels)) / 5 if ties else rng.random((n, labels))
    return p, rng.random((n, labels)) < 0.4


@given(st.integers(0, 999), st.integers(1, 30), st.integers(1, 5), st.booleans())
def test_average_precision_is_scikit_learns(seed, n, labels, ties):
    p, truth = drawn(seed, n, labels, ties)
    found = average_precisions(p, truth)
    for label in range(labels):
        if truth[:, label].any():
            assert found[label] == pytest.approx(metrics.average_precision_score(truth[:, label], p[:, label]))
        else:
            assert np.isnan(found[label])


@given(st.integers(0, 999), st.integers(2, 40))
def test_thresholds_have_no_lower_f1_than_one_half_and_stay_there_without_pictures(seed, n):
    p, truth = drawn(seed, n, 3)
    truth[:, 2] = False
    bounds = f1_thresholds(p, truth, prior=0.0)
    assert bounds[2] == 0.5
    for label in range(2):
        if truth[:, label].any():
            best, half = (
                metrics.f1_score(truth[:, label], p[:, label] >= bound, zero_division=0)
                for bound in (bounds[label], 0.5)
            )
            assert best >= half - 1e-12


@given(st.integers(0, 999), st.integers(2, 25), st.sampled_from([0.0, 1.0, 4.0]))
def test_thresholds_have_the_best_f1_less_what_lies_beyond_one_half(seed, n, prior):
    """By brute force over the middles between neighbours: F1 - prior |t - 0.5| / (pictures with the label)."""
    p, truth = drawn(seed, n, 1)
    truth[0] = True

    def worth(t: float) -> float:
        f1 = metrics.f1_score(truth[:, 0], p[:, 0] >= t, zero_division=0)
        return f1 - prior * abs(t - 0.5) / truth.sum()

    ranked = np.sort(p[:, 0])
    best = max(worth(t) for t in [0.5, *((ranked[1:] + ranked[:-1]) / 2)])
    assert worth(f1_thresholds(p, truth, prior)[0]) == pytest.approx(best)


@given(st.integers(0, 999), st.integers(1, 30))
def test_one_label_is_scored_as_scikit_learn_scores_a_defect_or_none(seed, n):
    p, truth = drawn(seed, n, 1)
    said = p >= 0.5
    found = scores(p, said, truth, ("defect",))
    expected = metrics.precision_recall_fscore_support(truth[:, 0], said[:, 0], average="binary", zero_division=0)
    told = found["per_class"]["defect"]
    assert (told["precision"], told["recall"], told["f1"]) == pytest.approx(expected[:3])
    assert found["micro_f1"] == pytest.approx(expected[2])
    assert told["n"] == truth.sum()


def test_few_pictures_hold_a_threshold_near_one_half():
    p, truth = np.array([[0.1], [0.05], [0.02]]), np.array([[True], [False], [False]])
    free, held = f1_thresholds(p, truth, prior=0.0)[0], f1_thresholds(p, truth, prior=50.0)[0]
    assert free < 0.2
    assert held == 0.5


def test_scores_are_those_of_the_contract():
    p, truth = drawn(1, 60, 3)
    said = p >= 0.5
    found = scores(p, said, truth, ("a", "b", "c"))
    assert found["micro_f1"] == pytest.approx(metrics.f1_score(truth, said, average="micro"))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(truth, said, average="macro"))
    assert found["subset_accuracy"] == pytest.approx((said == truth).all(1).mean())
    assert found["map"] == pytest.approx(metrics.average_precision_score(truth, p))
    low, high = found["map_ci"]
    assert low < found["map"] < high
    assert found["nll"] == pytest.approx(-np.log(np.where(truth, p, 1 - p)).mean())
    assert found["per_class"]["b"]["n"] == truth[:, 1].sum()


def test_pictures_without_any_label_have_no_average_precision():
    p, _ = drawn(1, 5, 2)
    found = scores(p, p > 2, np.zeros((5, 2), bool), ("a", "b"))
    assert (found["map"], found["map_ci"], found["macro_f1"], found["subset_accuracy"]) == (None, None, None, 1.0)


def test_the_sigmoid_holds_at_both_ends():
    assert sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0, 0.5, 1]
