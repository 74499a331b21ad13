import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.field.evaluate import intervals
from fieldmark.field.evaluate.intervals import mean_interval, paired_interval


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("n", [400, 3000])
def test_the_interval_of_an_accuracy_is_near_the_normal_approximation(share, n):
    values = np.arange(n) < share * n
    half = 1.96 * np.sqrt(share * (1 - share) / n)
    low, high = mean_interval(values)
    assert low == pytest.approx(share - half, abs=0.12 * half)
    assert high == pytest.approx(share + half, abs=0.12 * half)


def test_the_interval_of_real_values_is_near_the_normal_approximation():
    values = np.random.default_rng(0).gamma(2, 3, 2000)
    half = 1.96 * values.std() / np.sqrt(2000)
    assert mean_interval(values) == pytest.approx([values.mean() - half, values.mean() + half], abs=0.12 * half)


def test_a_lower_level_is_narrower():
    values = np.arange(500) % 3
    low, high = mean_interval(values, level=0.5)
    wide_low, wide_high = mean_interval(values)
    assert wide_low < low < high < wide_high


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30))
@settings(deadline=None, max_examples=30)
def test_the_interval_lies_between_the_extremes(values):
    low, high = mean_interval(values)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9


def test_the_same_seed_gives_the_same_interval_and_another_one_nearly():
    values = np.arange(300) % 2
    assert mean_interval(values) == mean_interval(values)
    assert mean_interval(values) == pytest.approx(mean_interval(values, seed=1), abs=0.02)


def test_no_values_have_no_interval():
    assert np.isnan(mean_interval([])).all()


def test_pairs_are_resampled_together():
    rng = np.random.default_rng(0)
    hard = rng.random(1000)
    a, b = hard < 0.80, hard < 0.78
    low, high = paired_interval(a, b)
    assert 0 < low < (a.mean() - b.mean()) < high < 0.04


def test_two_that_agree_everywhere_differ_by_nothing():
    values = np.arange(100) % 2
    assert paired_interval(values, values) == [0.0, 0.0]


def test_many_values_are_resampled_in_small_pieces(monkeypatch):
    whole = mean_interval(np.arange(50))
    monkeypatch.setattr(intervals, "CHUNK_VALUES", 10)
    low, high = mean_interval(np.arange(50))
    assert [low, high] == pytest.approx(whole, abs=0.6)


@pytest.mark.parametrize("n", [1, 7, 68, 5000])
def test_outcomes_that_are_all_alike_have_wilsons_interval(n):
    z = 1.959964
    centre, half = (1 + z * z / (2 * n)) / (1 + z * z / n), z * np.sqrt(z * z / (4 * n * n)) / (1 + z * z / n)
    assert mean_interval(np.ones(n, bool)) == pytest.approx([centre - half, centre + half], abs=1e-9)
    assert mean_interval(np.zeros(n, bool)) == pytest.approx([1 - centre - half, 1 - centre + half], abs=1e-9)
