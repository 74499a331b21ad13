import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from fieldmark import pictures
from fieldmark.field.explain import draw_overlay, place_map
from fieldmark.types import Preprocess

FITS = ["squash", "crop", "pad"]


def where(grey: np.ndarray) -> tuple[float, float]:
    """Centre of mass x, y in fractions of the size."""
    grey = np.maximum(grey.astype(np.float64), 0)
    y, x = np.mgrid[0 : grey.shape[0], 0 : grey.shape[1]]
    total = grey.sum()
    return ((x + 0.5) * grey).sum() / total / grey.shape[1], ((y + 0.5) * grey).sum() / total / grey.shape[0]


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size_wh", [(400, 200), (200, 400), (300, 300), (640, 480)])
@pytest.mark.parametrize("spot", [(0.5, 0.5), (0.45, 0.6), (0.62, 0.4)])
def test_a_map_of_what_the_network_saw_is_placed_back_where_it_was(fit, size_wh, spot):
    width, height = size_wh
    picture = np.zeros((height, width), np.uint8)
    x, y = int(spot[0] * width), int(spot[1] * height)
    picture[y - 8 : y + 8, x - 8 : x + 8] = 255
    preprocess = Preprocess((128, 96), fit)
    seen = pictures.from_array(picture, preprocess)[:, :, 0].astype(np.float32)
    if fit == "pad":
        seen[seen == pictures.GREY[0]] = 0
    placed = np.asarray(place_map(seen, size_wh, preprocess))
    assert placed.shape == (height, width)
    assert where(placed) == pytest.approx(where(picture), abs=0.012)


@given(
    st.tuples(st.integers(1, 500), st.integers(1, 500)),
    st.tuples(st.integers(1, 64), st.integers(1, 64)),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.sampled_from(FITS),
)
@example((10_000, 1), (224, 224), (7, 7), "pad")
@example((3, 1), (10, 1000), (7, 7), "crop")
@settings(deadline=None, max_examples=150)
def test_a_map_can_be_placed_on_a_picture_of_any_shape(size_wh, input_wh, grid, fit):
    placed = np.asarray(place_map(np.ones(grid, np.float32), size_wh, Preprocess(input_wh, fit)))
    assert placed.shape == size_wh[::-1]
    assert np.isfinite(placed).all()
    assert placed.max() == pytest.approx(1, abs=1e-3)
    assert fit == "crop" or placed.min() == pytest.approx(1, abs=1e-3)


def test_what_was_cropped_away_has_no_evidence():
    placed = np.asarray(place_map(np.ones((4, 4), np.float32), (100, 50), Preprocess((32, 32), "crop")))
    assert (placed[:, :25] == 0).all()
    assert (placed[:, 75:] == 0).all()
    assert placed[:, 26:74] == pytest.approx(1)


def test_evidence_on_the_borders_of_padding_is_cut_off():
    values = np.ones((8, 8), np.float32)
    values[2:6] = 5
    placed = np.asarray(place_map(values, (100, 50), Preprocess((32, 32), "pad")))
    assert placed[10:-10].min() > 4.5


def test_evidence_for_is_orange_and_against_is_blue():
    values = np.zeros((2, 2), np.float32)
    values[0, 0], values[1, 1] = 3, -3
    drawn = np.asarray(draw_overlay(Image.new("RGB", (64, 64), (90, 90, 90)), values, Preprocess((8, 8)))).astype(int)
    assert drawn[2, 2, 0] > drawn[2, 2, 2] + 100
    assert drawn[-3, -3, 2] > drawn[-3, -3, 0] + 100


def test_a_map_without_evidence_leaves_the_picture_as_it_is():
    picture = Image.new("RGB", (30, 20), (1, 2, 3))
    drawn = draw_overlay(picture, np.zeros((3, 3), np.float32), Preprocess((8, 8)))
    assert np.array_equal(np.asarray(drawn), np.asarray(picture))


@pytest.mark.parametrize("factor", [1e-6, 1, 1e6])
def test_the_strength_is_relative_to_the_largest_value(factor):
    picture = Image.new("RGB", (30, 20), (90, 90, 90))
    values = np.arange(-4, 5, dtype=np.float32).reshape(3, 3)
    first = np.asarray(draw_overlay(picture, values, Preprocess((8, 8)))).astype(int)
    other = np.asarray(draw_overlay(picture, values * np.float32(factor), Preprocess((8, 8)))).astype(int)
    assert np.abs(first - other).max() <= 2
