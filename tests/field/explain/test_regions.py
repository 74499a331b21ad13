"""Which tile of a large picture is explained."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.field.explain.regions import fullest


@given(st.integers(1, 90), st.integers(1, 90), st.integers(8, 70), st.integers(0, 99))
def test_the_fullest_tile_shows_no_less_than_any_on_the_grid(height, width, side, seed):
    shown = np.random.default_rng(seed).random((height, width)) < 0.05
    left, top, right, bottom = fullest(shown, side)
    assert (right - left, bottom - top) == (side, side)
    assert left >= 0
    assert top >= 0
    assert left == 0 or right <= width
    assert top == 0 or bottom <= height
    step = side // 8
    grid = [(y, x) for y in range(0, height, step) for x in range(0, width, step)]
    assert shown[top:bottom, left:right].sum() >= max(shown[y : y + 8 * step, x : x + 8 * step].sum() for y, x in grid)
