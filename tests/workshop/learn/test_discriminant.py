"""The linear head in closed form, against scikit-learn and by its own formulas."""

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from fieldmark.errors import DataError
from fieldmark.field.evaluate.calibration import fit_temperature
from fieldmark.workshop.learn.classify import Classify
from fieldmark.workshop.learn.discriminant import ClassSums
from fieldmark.workshop.learn.linear import cross_validate, linear_head, signed_power
from fieldmark.workshop.recipe import Recipe


def gaussians(n: int, d: int, classes: int, seed: int = 0, spread: float = 1.0):
    """Rows [n, d] of classes with one skewed covariance, every class as often."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(0, 1, (d, d)) * np.linspace(0.2, 2, d)
    means = rng.normal(0, spread, (classes, d))
    y = np.arange(n) % classes
    return (means[y] + rng.normal(0, 1, (n, d)) @ mix).astype(np.float32), y.astype(np.int64)


def sums_of(x, y, classes):
    sums = ClassSums.zeros(classes, x.shape[1])
    sums.add(torch.from_numpy(x), torch.from_numpy(y))
    return sums


@pytest.mark.parametrize("shrinkage", [0.01, 0.1, 0.5, 0.9])
def test_it_is_the_discriminant_of_scikit_learn(shrinkage):
    # scikit-learn shrinks towards tr(S)/D of the *class* covariances, standardised by the pooled scale of each feature;
    # with equal counts and features of one scale, both are the same function up to the common term of all classes.
    x, y = gaussians(400, 12, 4)
    x /= np.sqrt(np.mean([(x[y == c]).var(0) for c in range(4)], axis=0))
    weight, bias = sums_of(x, y, 4).solve(shrinkage)
    ours = x @ weight.numpy().T + bias.numpy()
    peer = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage, priors=np.full(4, 0.25)).fit(x, y)
    theirs = peer.decision_function(x)
    gap = (ours - ours[:, :1]) - (theirs - theirs[:, :1])
    assert np.abs(gap).max() < 1e-2 * np.abs(theirs).max()
    assert (ours.argmax(1) == peer.predict(x)).mean() > 0.999


def test_weight_and_bias_follow_the_formula():
    x, y = gaussians(60, 5, 3)
    a = 0.3
    weight, bias = sums_of(x, y, 3).solve(a)
    x = x.astype(np.float64)
    means = np.stack([x[y == c].mean(0) for c in range(3)])
    within = (x - means[y]).T @ (x - means[y]) / len(x)
    shrunk = (1 - a) * within + a * np.trace(within) / 5 * np.eye(5)
    centred = means - x.mean(0)
    expected = np.linalg.solve(shrunk, centred.T).T
    np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(bias, -0.5 * (expected * centred).sum(1) - expected @ x.mean(0), rtol=1e-3, atol=1e-4)


def test_moving_all_rows_changes_no_decision():
    x, y = gaussians(200, 8, 3)
    for shift in (1.0, 30.0):
        weight, bias = sums_of(x, y, 3).solve(0.1)
        moved_weight, moved_bias = sums_of(x + np.float32(shift), y, 3).solve(0.1)
        np.testing.assert_allclose(moved_weight, weight, rtol=0.02, atol=0.01)
        here = x @ weight.numpy().T + bias.numpy()
        there = (x + shift) @ moved_weight.numpy().T + moved_bias.numpy()
        assert (here.argmax(1) == there.argmax(1)).mean() > 0.98


def test_sums_add_and_subtract():
    x, y = gaussians(50, 6, 3)
    one, two, both = sums_of(x[:20], y[:20], 3), sums_of(x[20:], y[20:], 3), sums_of(x, y, 3)
    for found, expected in ((one + two, both), (both - two, one)):
        for name in ("counts", "sums", "products"):
            torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-5, atol=1e-4)


def test_rows_may_come_in_pieces():
    x, y = gaussians(50, 6, 3)
    sums = ClassSums.zeros(3, 6)
    for start in range(0, 50, 7):
        sums.add(torch.from_numpy(x[start : start + 7]), torch.from_numpy(y[start : start + 7]))
    torch.testing.assert_close(sums.solve(0.2)[0], sums_of(x, y, 3).solve(0.2)[0], rtol=1e-3, atol=1e-4)


def test_a_class_without_rows_is_never_chosen():
    x, y = gaussians(40, 6, 3)
    weight, bias = sums_of(x, np.where(y == 1, 0, y), 3).solve(0.2)
    assert bias[1] == -torch.inf
    assert weight.isfinite().all()
    logits = x @ weight.numpy().T + bias.numpy()
    assert not (logits.argmax(1) == 1).any()
    assert not np.isnan(logits).any()


@pytest.mark.parametrize("shrinkage", [0.01, 0.7])
def test_fewer_rows_than_features_still_separate(shrinkage):
    x, y = gaussians(24, 200, 4, spread=3.0)
    weight, bias = sums_of(x, y, 4).solve(shrinkage)
    assert ((x @ weight.numpy().T + bias.numpy()).argmax(1) == y).mean() > 0.95


@pytest.mark.parametrize("value", [0.0, 7.0, 1000.0])
def test_rows_all_alike_give_a_finite_head(value):
    x, y = np.full((12, 30), value, np.float32), np.arange(12) % 3
    weight, bias = sums_of(x, y, 3).solve(0.1)
    assert weight.isfinite().all()
    assert bias.isfinite().all()


def test_no_rows_at_all_give_no_class():
    weight, bias = ClassSums.zeros(3, 4).solve(0.1)
    assert (weight == 0).all()
    assert (bias == -torch.inf).all()


def test_features_that_are_no_numbers_are_an_error_to_mend():
    x, y = gaussians(20, 5, 2)
    x[3, 2] = np.nan
    with pytest.raises(DataError, match="no numbers"):
        sums_of(x, y, 2).solve(0.1)


def cross_validated(folds, strengths, classes=4):
    return cross_validate(*folds, strengths, Classify([str(c) for c in range(classes)], Recipe()).judge)


def folds_of(x, y, classes, count, powers=(1.0,), fold=None):
    fold = np.arange(len(x)) // classes % count if fold is None else fold
    sums = {p: [sums_of(signed_power(x[fold == f], p), y[fold == f], classes) for f in range(count)] for p in powers}
    return sums, lambda f: (x[fold == f], y[fold == f])


def test_few_rows_want_strong_shrinkage_and_many_rows_want_little():
    strengths = (0.01, 0.1, 0.5, 0.9)
    few = gaussians(40, 60, 4, spread=1.5)
    many = gaussians(4000, 12, 4, spread=0.8)
    chosen_few = cross_validated(folds_of(*few, 4, 5), strengths)
    chosen_many = cross_validated(folds_of(*many, 4, 5), strengths)
    assert chosen_many.shrinkage <= 0.1 <= chosen_few.shrinkage
    assert chosen_few.shrinkage > chosen_many.shrinkage


def test_cross_validation_scores_each_fold_by_the_others():
    x, y = gaussians(60, 4, 3)
    choice = cross_validated(folds_of(x, y, 3, 4), (0.2,))
    fold = np.arange(60) // 3 % 4
    right = 0
    for f in range(4):
        weight, bias = sums_of(x[fold != f], y[fold != f], 3).solve(0.2)
        right += ((x[fold == f] @ weight.numpy().T + bias.numpy()).argmax(1) == y[fold == f]).sum()
    assert choice.judged.score == pytest.approx(right / 60)
    assert len(choice.table) == 1


def test_labels_without_meaning_get_the_accuracy_of_chance_and_a_high_temperature():
    x, _ = gaussians(300, 40, 3)
    y = np.random.default_rng(1).integers(0, 3, 300)
    choice = cross_validated(folds_of(x, y, 3, 5), (0.01, 0.1, 0.5))
    assert choice.judged.score < 0.45
    assert min(row[3] for row in choice.table) == pytest.approx(np.log(3), abs=0.1)


def test_the_best_of_the_table_is_chosen_over_powers():
    rng = np.random.default_rng(0)
    y = np.arange(400) % 2
    x = (np.exp(rng.normal(0, 2, (400, 6))) * (1 + y[:, None])).astype(np.float32)  # heavy tails: 0.5 is better
    choice = cross_validated(folds_of(x, y, 2, 5, (1.0, 0.5)), (0.05, 0.5))
    best = min(choice.table, key=lambda row: row[3])
    assert (choice.power, choice.shrinkage) == best[:2]
    assert choice.power == 0.5


def test_classes_that_no_other_fold_has_are_left_out_and_one_fold_chooses_the_strongest():
    x, y = gaussians(4, 6, 4)
    choice = cross_validated(folds_of(x, y, 4, 4, fold=np.arange(4)), (0.1, 0.7))
    assert choice.shrinkage == 0.7
    settled = Classify("abcd", Recipe()).settle(choice.logits, choice.targets)
    assert settled["calibration"] == {"temperature": 1.0}
    alone = cross_validated(({1.0: [sums_of(x, y, 4)]}, lambda f: (x, y)), (0.1, 0.7), 4)
    assert (alone.shrinkage, alone.judged.score) == (0.7, 0.0)


def test_a_class_of_one_picture_does_not_spoil_the_temperature():
    x, y = gaussians(300, 6, 3)
    y[y == 2] = 0
    y[0] = 2
    choice = cross_validated(folds_of(x, y, 3, 5, (1.0,)), (0.2,), 3)
    assert np.isneginf(choice.logits[:, 2]).any()
    temperature = Classify("abc", Recipe()).settle(choice.logits, choice.targets)["calibration"]["temperature"]
    kept = choice.targets != 2
    expected = fit_temperature(choice.logits[kept][:, :2], choice.targets[kept])
    assert expected / 2 < temperature < 2 * expected


@pytest.mark.parametrize("power", [1.0, 0.5])
def test_the_head_gives_the_logits_of_its_weights(power):
    x, y = gaussians(40, 5, 3)
    choice = cross_validated(folds_of(x, y, 3, 4, (power,)), (0.2,), 3)
    head = linear_head(sums_of(signed_power(x, power), y, 3), choice)
    expected = np.sign(x) * np.abs(x) ** power @ head.weight.T + head.bias
    np.testing.assert_allclose(head.logits(x), expected, rtol=1e-4, atol=1e-4)
    assert head.weight.dtype == head.bias.dtype == np.float32
