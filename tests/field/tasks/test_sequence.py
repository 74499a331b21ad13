"""Scores of sequences, recomputed."""

import numpy as np
import pytest

from fieldmark.field.tasks.sequence import series_scores, text_scores


def test_bits_are_of_characters_and_one_in_several_bytes_costs_all_of_them():
    nats = np.log(np.array([2.0, 4.0, 2.0, 8.0]))
    scores = text_scores(nats, np.array([True, True, False, True]))
    assert scores["n"] == 3
    assert scores["bits_per_character"] == pytest.approx((1 + 3 + 3) / 3)
    assert scores["perplexity"] == pytest.approx(2 ** (7 / 3))
    low, high = scores["bits_per_character_ci"]
    assert low <= 7 / 3 <= high
    assert scores["perplexity_ci"] == pytest.approx([2**low, 2**high])


def test_the_interval_of_even_surprises_is_the_bound_itself_and_blocks_make_it_wider():
    even = text_scores(np.full(5000, 0.5), np.ones(5000, bool))
    assert even["bits_per_character_ci"] == pytest.approx([0.5 / np.log(2)] * 2)
    runs = np.repeat(np.random.default_rng(0).random(50), 100)
    mixed = np.random.default_rng(1).permutation(runs)
    wide, narrow = (np.diff(text_scores(x, np.ones(5000, bool))["bits_per_character_ci"])[0] for x in (runs, mixed))
    assert wide > 3 * narrow


def test_errors_are_of_what_is_known_and_the_baseline_is_the_better_one():
    truth = np.array([[1.0, 10], [2, np.nan], [3, 30], [4, 40]])
    forecast, last, season = truth + 0.5, truth - 1, truth + 2
    forecast[1, 1] = 7
    last[:, 1] = truth[:, 1] + 4
    scores = series_scores(truth, np.nan_to_num(forecast), last, season, ("a", "b"))
    assert scores["mae"] == pytest.approx(0.5)
    assert scores["last_value_mae"] == pytest.approx((1 + 4) / 2)
    assert scores["seasonal_mae"] == pytest.approx(2)
    assert scores["baseline_mae"] == pytest.approx((1 + 2) / 2)
    assert scores["relative_mae"] == pytest.approx((0.5 / 1 + 0.5 / 2) / 2)
    assert scores["n"] == 4
    assert scores["per_column"]["b"] == pytest.approx({"mae": 0.5, "baseline_mae": 2})
    assert scores["mae_ci"] == pytest.approx([0.5, 0.5])
