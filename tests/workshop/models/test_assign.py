"""Positions of a detector and the boxes they answer for."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.workshop.models.assign import assign, positions, seen_in
from fieldmark.workshop.models.fcos import centres

STRIDES = (8, 16, 32)


def test_positions_are_in_the_order_of_the_network():
    middles, level = positions((64, 32), STRIDES)
    expected = torch.cat([centres(32 // s, 64 // s, s) for s in STRIDES])
    np.testing.assert_array_equal(middles, expected.numpy())
    assert np.bincount(level).tolist() == [32, 8, 2]


@given(st.integers(0, 10_000), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_every_box_has_a_position_and_every_position_lies_in_its_box_or_is_the_nearest(seed, many):
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 100, (many, 2))
    boxes = np.concatenate([low, np.minimum(low + rng.uniform(3, 90, (many, 2)), 128)], 1)
    middles, level = positions((128, 128), STRIDES)
    answer = assign(boxes, middles, level, STRIDES)
    for i, (x0, y0, x1, y1) in enumerate(boxes):
        mine = middles[answer == i]
        inside = (mine[:, 0] > x0) & (mine[:, 1] > y0) & (mine[:, 0] < x1) & (mine[:, 1] < y1)
        assert inside.all() or len(mine) == 1
    lonely = assign(boxes[:1], middles, level, STRIDES)
    assert (lonely == 0).any()


def test_a_large_box_is_for_a_coarse_level_and_a_small_one_for_a_fine_one():
    middles, level = positions((256, 256), STRIDES)
    boxes = np.array([[10, 10, 40, 40], [40, 40, 250, 250]], float)
    answer = assign(boxes, middles, level, STRIDES)
    assert set(level[answer == 0]) == {0}
    assert set(level[answer == 1]) == {2}


def test_without_boxes_no_position_answers():
    middles, level = positions((64, 64), STRIDES)
    assert (assign(np.zeros((0, 4)), middles, level, STRIDES) == -1).all()


def test_boxes_are_cut_to_the_view_with_the_share_that_is_left():
    cut, share = seen_in(np.array([[-10, 0, 10, 10], [20, 20, 30, 30], [70, 0, 80, 10]], float), (64, 64))
    np.testing.assert_allclose(cut[:2], [[0, 0, 10, 10], [20, 20, 30, 30]])
    np.testing.assert_allclose(share, [0.5, 1, 0])
