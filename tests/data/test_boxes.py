import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fieldmark.data.boxes import ROUNDING, mend

NAN, INF = float("nan"), float("inf")
ANY_BOXES = arrays(
    np.float64, st.tuples(st.integers(0, 6), st.just(4)), elements=st.floats(-1e300, 1e300) | st.just(NAN)
)
SIDES = st.tuples(st.integers(1, 5000), st.integers(1, 5000))


def one(xyxy, size_wh=(100, 50)) -> tuple[list[list[float]], list[str]]:
    boxes, problems = mend(np.array([xyxy], np.float64), ["a"], size_wh)
    return boxes.xyxy.tolist(), [text for _, text in problems]


@pytest.mark.parametrize(
    ("given_box", "made", "said"),
    [
        ([10, 10, 20, 20], [10, 10, 20, 20], None),
        ([20, 20, 10, 10], [10, 10, 20, 20], "corners were swapped"),
        ([20, 10, 10, 20], [10, 10, 20, 20], "corners were swapped"),
        ([-5, 10, 20, 70], [0, 10, 20, 50], "reaches beyond the picture"),
        ([-1, 0, 101, 51], [0, 0, 100, 50], None),  # counted from 1, or rounded
        ([0, 0, 100, 50], [0, 0, 100, 50], None),
        ([10, 10, 10, 20], None, "has no area"),
        ([10, 20, 30, 20], None, "has no area"),
        ([100, 0, 120, 50], None, "lies outside"),
        ([-20, -20, -10, -10], None, "lies outside"),
        ([NAN, 1, 2, 3], None, "is no number"),
        ([0, 1, INF, 3], None, "is no number"),
    ],
)
def test_a_box_is_mended_where_its_meaning_is_plain_and_left_out_otherwise(given_box, made, said):
    found, problems = one(given_box)
    assert found == ([] if made is None else [made])
    assert len(problems) == (said is not None)
    assert said is None or said in problems[0]
    assert said is None or ("left out" in problems[0]) == (made is None)


@settings(deadline=None)
@given(ANY_BOXES, SIDES)
def test_boxes_lie_in_the_picture_with_an_area_whatever_came_in(xyxy, size_wh):
    labels = [str(i) for i in range(len(xyxy))]
    boxes, problems = mend(xyxy, labels, size_wh)
    x0, y0, x1, y1 = boxes.xyxy.T
    assert boxes.xyxy.dtype == np.float32
    assert ((x0 >= 0) & (y0 >= 0) & (x0 < x1) & (y0 < y1) & (x1 <= size_wh[0]) & (y1 <= size_wh[1])).all()
    left_out = {i for i, text in problems if "left out" in text}
    assert sorted([*boxes.labels, *map(str, left_out)], key=int) == labels


@settings(deadline=None)
@given(ANY_BOXES, SIDES)
def test_mended_boxes_need_no_mending(xyxy, size_wh):
    boxes, _ = mend(xyxy, ["x"] * len(xyxy), size_wh)
    again, problems = mend(boxes.xyxy.astype(np.float64), boxes.labels, size_wh)
    np.testing.assert_array_equal(again.xyxy, boxes.xyxy)
    assert problems == []


@settings(deadline=None)
@given(st.tuples(*[st.floats(0, 50)] * 4))
def test_boxes_within_the_picture_are_what_they_were(corners):
    (x0, x1), (y0, y1) = sorted(corners[:2]), sorted(corners[2:])
    boxes, _ = mend(np.array([[x0, y0, x1, y1]]), ["a"], (50, 50))
    if len(boxes.xyxy):
        np.testing.assert_allclose(boxes.xyxy[0], [x0, y0, x1, y1], rtol=1e-6, atol=1e-6)


def test_no_boxes_are_boxes_too():
    boxes, problems = mend(np.empty((0, 4)), [], (10, 10))
    assert (boxes.xyxy.shape, boxes.labels, problems) == ((0, 4), (), [])
    assert ROUNDING == 1
