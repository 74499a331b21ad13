import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fieldmark.errors import MissingExtraError
from fieldmark.field.evaluate import classification as c

CLASSES = ("ash", "elm", "oak", "yew")


def made(seed: int, n: int = 60, n_classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(n_classes, 0.7), n), rng.integers(-1, n_classes, n)


@given(arrays(np.float32, (3, 5), elements=st.floats(-1e4, 1e4, width=32)), st.floats(-1e3, 1e3))
@settings(deadline=None)
def test_softmax_is_a_distribution_and_ignores_a_common_shift(logits, shift):
    p = c.softmax(logits)
    assert np.allclose(p.sum(1), 1)
    assert (p >= 0).all()
    assert np.allclose(p, c.softmax(logits.astype(np.float64) + shift), atol=1e-9)


def test_softmax_of_the_logarithm_gives_the_probabilities_back():
    p, _ = made(0)
    assert np.allclose(c.softmax(np.log(p)), p)


@pytest.mark.parametrize("seed", range(5))
def test_calibration_error_is_the_weighted_gap_over_equal_bins(seed):
    rng = np.random.default_rng(seed)
    confidence, correct = rng.uniform(0.001, 1, 200), rng.random(200) < 0.6
    gap = 0.0
    for b in range(15):
        inside = [(x, y) for x, y in zip(confidence, correct, strict=True) if b / 15 < x <= (b + 1) / 15]
        if inside:
            gap += abs(sum(x for x, _ in inside) - sum(bool(y) for _, y in inside)) / 200
    assert c.expected_calibration_error(confidence, correct) == pytest.approx(gap)


def test_calibration_error_of_the_perfectly_calibrated_is_zero_and_of_the_surely_wrong_one():
    assert c.expected_calibration_error(np.full(4, 0.75), np.array([True, True, True, False])) == 0
    assert c.expected_calibration_error(np.ones(4), np.zeros(4, bool)) == 1
    assert c.expected_calibration_error(np.zeros(0), np.zeros(0, bool)) == 0


def test_a_confidence_of_zero_or_one_lies_in_the_outer_bins():
    rows = c.reliability(np.array([0.0, 1.0]), np.array([False, True]))
    assert rows == [(1, 0.0, 0.0), (1, 1.0, 1.0)]


@pytest.mark.parametrize("seed", range(3))
def test_likelihood_is_the_mean_logarithm_over_known_classes(seed):
    p, targets = made(seed)
    one_by_one = [-np.log(row[t]) for row, t in zip(p, targets, strict=True) if t >= 0]
    assert c.negative_log_likelihood(p, targets) == pytest.approx(np.mean(one_by_one))


def test_likelihood_is_finite_for_a_zero_and_undefined_without_known_classes():
    assert c.negative_log_likelihood(np.array([[0.0, 1.0]]), np.array([0])) == pytest.approx(-np.log(1e-12))
    assert np.isnan(c.negative_log_likelihood(np.array([[0.5, 0.5]]), np.array([-1])))


@pytest.mark.parametrize("seed", range(5))
def test_scores_agree_with_counting_by_hand(seed):
    p, targets = made(seed)
    found = c.scores(p, targets, CLASSES)
    said = p.argmax(1)
    assert found["accuracy"] == pytest.approx((said == targets).mean())
    f1, recalls, precisions = [], [], []
    for k in sorted(set(targets) | set(said)):
        hit = ((said == k) & (targets == k)).sum()
        precisions.append(hit / (said == k).sum() if (said == k).any() else 0)
        recalls.append(hit / (targets == k).sum() if (targets == k).any() else 0)
        f1.append(2 * hit / ((said == k).sum() + (targets == k).sum()))
    assert found["precision"] == pytest.approx(np.mean(precisions))
    assert found["recall"] == pytest.approx(np.mean(recalls))
    assert found["macro_f1"] == pytest.approx(np.mean(f1))
    assert found["per_class"]["oak"]["n"] == (targets == 2).sum()
    assert sum(row["n"] for row in found["per_class"].values()) == (targets >= 0).sum()


def test_an_unknown_class_counts_as_wrong_everywhere():
    p = np.array([[0.9, 0.1, 0, 0], [0.9, 0.1, 0, 0]])
    found = c.scores(p, np.array([0, -1]), CLASSES)
    assert (found["accuracy"], found["top5"]) == (0.5, 0.5)
    assert set(found["per_class"]) == {"ash"}


@pytest.mark.parametrize("seed", range(3))
def test_top_five_is_whether_fewer_than_five_classes_are_more_probable(seed):
    rng = np.random.default_rng(seed)
    p, targets = rng.dirichlet(np.ones(12), 80), rng.integers(0, 12, 80)
    names = tuple("abcdefghijkl")
    expected = np.mean([(row > row[t]).sum() < 5 for row, t in zip(p, targets, strict=True)])
    assert c.scores(p, targets, names)["top5"] == pytest.approx(expected)


def test_scores_are_plain_numbers_that_json_can_hold():
    p, targets = made(0, n_classes=2)
    for value in c.scores(p, targets, ("no", "yes")).values():
        assert isinstance(value, (float, str, dict, list))


@pytest.mark.parametrize("seed", range(5))
def test_the_area_of_two_classes_is_the_chance_to_rank_a_positive_above_a_negative(seed):
    rng = np.random.default_rng(seed)
    positive = rng.random(50) < 0.4
    score = np.round(rng.random(50) * 0.6 + positive * 0.2, 1)
    ranks = [float(a > b) + 0.5 * float(a == b) for a in score[positive] for b in score[~positive]]
    found = c.two_class_scores(score, positive.astype(np.int64))
    assert found["roc_auc"] == pytest.approx(np.mean(ranks))
    roc = np.array(c.curves(positive, score)["roc"])
    assert np.trapezoid(roc[:, 1], roc[:, 0]) == pytest.approx(found["roc_auc"])


def test_average_precision_of_two_classes_is_the_mean_precision_at_each_positive():
    score, positive = np.array([0.9, 0.8, 0.7, 0.6, 0.2]), np.array([1, 0, 1, 0, 1])
    found = c.two_class_scores(score, positive)
    assert found["pr_auc"] == pytest.approx((1 / 1 + 2 / 3 + 3 / 5) / 3)


def test_sensitivity_and_specificity_are_the_shares_found_on_either_side():
    score, truth = np.array([0.9, 0.4, 0.6, 0.1, 0.5]), np.array([1, 1, 0, 0, 0])
    found = c.two_class_scores(score, truth)
    assert (found["sensitivity"], found["specificity"]) == (0.5, pytest.approx(2 / 3))
    first = c.two_class_scores(1 - score, truth, positive_class=0, threshold=0.7)
    assert (first["sensitivity"], first["specificity"], first["threshold"]) == (pytest.approx(1 / 3), 1, 0.7)


@pytest.mark.parametrize(
    ("targets", "missing"), [([1, 1], "specificity"), ([0, 0], "sensitivity"), ([-1, -1], "roc_auc")]
)
def test_what_one_class_alone_cannot_tell_is_none(targets, missing):
    found = c.two_class_scores(np.array([0.7, 0.4]), np.array(targets))
    assert c.curves(np.array(targets) == 1, np.array([0.7, 0.4])) == {"roc": [], "precision_recall": []}
    assert found[missing] is found["roc_auc"] is found["pr_auc"] is None


@given(st.integers(0, 999), st.integers(2, 60), st.floats(0.05, 1))
def test_a_threshold_gives_at_least_the_rate_that_is_wished_for_and_no_more_than_needed(seed, n, wish):
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.5
    positive[0], positive[1] = True, False
    score = np.clip(rng.normal(0.3 + 0.3 * positive, 0.2), 0.001, 0.999)
    at = c.threshold_for(score, positive, sensitivity=wish)
    found = c.two_class_scores(score, positive.astype(np.int64), threshold=at)
    assert found["sensitivity"] >= wish - 1e-9
    assert (score[positive] > np.nextafter(score[positive & (score > at)].min(), 1)).mean() < wish
    at = c.threshold_for(score, positive, specificity=wish)
    found = c.two_class_scores(score, positive.astype(np.int64), threshold=at)
    assert found["specificity"] >= wish - 1e-9


def test_without_a_wish_or_pictures_there_is_no_threshold():
    score = np.array([0.2, 0.9])
    assert c.threshold_for(score, np.array([False, True])) is None
    assert c.threshold_for(score, np.array([False, False]), sensitivity=0.9) is None
    assert c.threshold_for(score, np.array([True, True]), specificity=0.9) is None


def test_three_classes_have_no_two_class_scores():
    p, targets = made(0, n_classes=3)
    assert "roc_auc" not in c.scores(p, targets, CLASSES[:3])


@pytest.mark.parametrize("seed", range(3))
def test_the_confusion_table_counts_pairs_of_true_and_said(seed):
    p, targets = made(seed)
    said = p.argmax(1)
    table = c.confusion(said, targets, 4)
    for t in range(4):
        for s in range(4):
            assert table[t, s] == ((targets == t) & (said == s)).sum()


def test_scoring_without_scikit_learn_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtraError, match=r"fieldmark\[report\]"):
        c.scores(*made(0), CLASSES)
