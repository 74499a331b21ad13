"""Ridge regression from sums, against scikit-learn and by its formula."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from fieldmark.workshop.learn.linear import cross_validate, linear_head, signed_power
from fieldmark.workshop.learn.multilabel import MultiLabel
from fieldmark.workshop.learn.regress import Regress
from fieldmark.workshop.learn.ridge import TargetSums
from fieldmark.workshop.recipe import Recipe


def drawn(n: int, d: int, targets: int, noise: float = 0.3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = (rng.normal(2, 1, (n, d)) * np.linspace(0.3, 2, d)).astype(np.float32)
    return x, (x @ rng.normal(0, 1, (d, targets)) + rng.normal(0, noise, (n, targets)) + 3).astype(np.float32)


def sums_of(x: np.ndarray, y: np.ndarray) -> TargetSums:
    sums = TargetSums.zeros(y.shape[1], x.shape[1])
    for start in range(0, len(x), 17):
        sums.add(torch.from_numpy(x[start : start + 17]), torch.from_numpy(y[start : start + 17]).float())
    return sums


@pytest.mark.parametrize("shrinkage", [0.01, 0.3, 0.9])
def test_it_is_the_ridge_of_scikit_learn(shrinkage):
    x, y = drawn(120, 7, 2)
    weight, bias = sums_of(x, y).solve(shrinkage)
    covariance = np.cov(x.T.astype(np.float64), bias=True)
    alpha = len(x) * shrinkage * np.trace(covariance) / 7 / (1 - shrinkage)
    peer = Ridge(alpha=alpha).fit(x.astype(np.float64), y.astype(np.float64))
    np.testing.assert_allclose(weight, peer.coef_, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(bias, y.mean(0) - weight.numpy() @ x.mean(0), rtol=1e-3, atol=1e-3)


def test_sums_add_and_subtract():
    x, y = drawn(50, 4, 3)
    one, two, both = sums_of(x[:20], y[:20]), sums_of(x[20:], y[20:]), sums_of(x, y)
    for found, expected in ((one + two, both), (both - two, one)):
        for name in ("count", "x", "y", "xx", "xy"):
            torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-5, atol=1e-3)


def test_no_rows_and_rows_all_alike_give_finite_heads():
    for sums in (TargetSums.zeros(2, 3), sums_of(np.full((9, 3), 7, np.float32), np.ones((9, 2), np.float32))):
        weight, bias = sums.solve(0.1)
        assert weight.isfinite().all()
        assert bias.isfinite().all()


def folds(x: np.ndarray, y: np.ndarray, encoded: np.ndarray, count: int = 4):
    fold = np.arange(len(x)) % count
    return {1.0: [sums_of(x[fold == f], encoded[fold == f]) for f in range(count)]}, lambda f: (
        x[fold == f],
        y[fold == f],
    )


def test_a_number_is_learned_from_features():
    x, y = drawn(200, 6, 1)
    learner = Regress(float(y.mean()), float(y.std()), Recipe())
    encoded = learner.encode(y[:, 0]).numpy()
    choice = cross_validate(*folds(x, y[:, 0], encoded), (0.001, 0.5), learner.judge)
    assert choice.shrinkage == 0.001
    head = linear_head(sums_of(x, encoded), choice)
    stated = y.mean() + y.std() * head.logits(x)[:, 0]
    assert np.abs(stated - y[:, 0]).mean() < 0.4
    assert choice.judged.score == pytest.approx(
        np.abs(y.mean() + y.std() * choice.logits[:, 0] - choice.targets).mean()
    )


def test_labels_are_learned_each_by_itself_and_their_lines_are_folded_into_the_head():
    x, hidden = drawn(400, 5, 3)
    truth = hidden > [np.quantile(column, share) for column, share in zip(hidden.T, (0.5, 0.8, 0.3), strict=True)]
    learner = MultiLabel(("a", "b", "c"), Recipe())
    choice = cross_validate(*folds(x, truth, truth), (0.01,), learner.judge)
    assert choice.judged.score > 0.95
    sums = sums_of(x, truth.astype(np.float32))
    head, (weight, bias) = linear_head(sums, choice), sums.solve(0.01)
    plain = signed_power(x, 1) @ weight.numpy().T + bias.numpy()
    np.testing.assert_allclose(head.logits(x), choice.judged.slope * plain + choice.judged.offset, rtol=1e-3, atol=1e-3)
    chances = 1 / (1 + np.exp(-head.logits(x)))
    assert np.abs(chances.mean(0) - truth.mean(0)).max() < 0.05
