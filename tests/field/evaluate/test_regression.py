"""Metrics of a number, by hand and against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from fieldmark.field.evaluate.regression import error_quantile, scores


@given(st.integers(0, 999), st.integers(2, 50))
def test_scores_are_scikit_learns(seed, n):
    values, truth = np.random.default_rng(seed).normal(3, 2, (2, n))
    found = scores(values, truth)
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(truth, values))
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(truth, values))
    assert found["r2"] == pytest.approx(metrics.r2_score(truth, values))
    low, high = found["mae_ci"]
    assert low <= found["mae"] <= high


def test_intervals_of_r2_hold_the_true_share():
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 1, 400)
    low, high = scores(truth + rng.normal(0, 0.5, 400), truth)["r2_ci"]
    assert low < 0.75 < high
    assert high - low < 0.15


def test_one_number_for_all_pictures_explains_nothing():
    found = scores(np.array([1.0, 2.0]), np.array([5.0, 5.0]))
    assert found["r2"] is None
    assert "r2_ci" not in found


def test_the_quantile_is_the_conformal_one():
    errors = np.array([0.1, -0.2, 0.3, -0.4, 0.5, 0.6, 0.7, -0.8, 0.9])
    assert error_quantile(errors, 0.9) == 0.9  # the 9th of 9: ceil(10 * 0.9)
    assert error_quantile(errors, 0.5) == 0.5
    assert error_quantile(errors[:3], 0.9) == 0.3
    assert error_quantile(errors[:0], 0.9) == 0.0


def test_new_errors_stay_within_it_as_often_as_promised():
    rng = np.random.default_rng(0)
    held = [np.abs(rng.normal(0, 1)) <= error_quantile(rng.normal(0, 1, 60), 0.9) for _ in range(2000)]
    assert np.mean(held) == pytest.approx(0.9, abs=0.025)
