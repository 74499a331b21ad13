"""Augmented views: decided by seed, number and content, and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark import pictures
from fieldmark.errors import PictureError
from fieldmark.types import Preprocess
from fieldmark.workshop.recipe import AugmentRecipe
from fieldmark.workshop.train import augment
from fieldmark.workshop.train.augment import CLOSE, close_crop, random_crop, view, view_side
from tests.making import encoded, smooth

PREPROCESS = Preprocess((32, 24))
DATA = encoded(smooth(90, 70))
DIGEST = bytes(range(16))
RECIPE = AugmentRecipe()


def test_view_zero_is_the_picture_as_it_is_at_prediction():
    np.testing.assert_array_equal(view(DATA, DIGEST, 0, 5, PREPROCESS, RECIPE), pictures.load(DATA, PREPROCESS))


def test_a_view_repeats_and_differs_by_number_seed_and_content():
    first = view(DATA, DIGEST, 1, 0, PREPROCESS, RECIPE)
    assert first.shape == (24, 32, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, view(DATA, DIGEST, 1, 0, PREPROCESS, RECIPE))
    others = [
        view(DATA, DIGEST, 2, 0, PREPROCESS, RECIPE),
        view(DATA, DIGEST, 1, 1, PREPROCESS, RECIPE),
        view(DATA, DIGEST[::-1], 1, 0, PREPROCESS, RECIPE),
    ]
    assert all((first != other).any() for other in others)


def test_half_of_the_views_are_mirrored_and_none_without_flip():
    ramp = np.repeat(np.linspace(0, 255, 64, dtype=np.uint8)[None, :, None], 64, 0).repeat(3, 2)
    data = encoded(ramp)
    for flip, low, high in ((True, 0.25, 0.75), (False, 0, 0)):
        recipe = AugmentRecipe(flip=flip)
        views = [view(data, DIGEST, n, 0, PREPROCESS, recipe)[12, :, 0].astype(int) for n in range(1, 61)]
        assert low <= np.mean([v[0] > v[-1] for v in views]) <= high


def test_a_whole_crop_without_flip_of_a_square_keeps_most_of_the_picture():
    boxes = [random_crop((100, 100), np.random.default_rng(i), 1.0) for i in range(50)]
    assert min((r - x) * (b - t) for x, t, r, b in boxes) >= 100 * 100 * 0.74


def test_a_broken_picture_is_a_picture_error():
    with pytest.raises(PictureError):
        view(b"broken", DIGEST, 1, 0, PREPROCESS, RECIPE)


@given(st.integers(1, 5000), st.integers(1, 5000), st.floats(0.01, 1), st.integers(0, 2**32))
def test_a_crop_is_inside_the_picture_and_not_empty(width, height, least, seed):
    left, top, right, bottom = random_crop((width, height), np.random.default_rng(seed), least)
    assert 0 <= left < right <= width + 1e-6
    assert 0 <= top < bottom <= height + 1e-6
    area = (right - left) * (bottom - top)
    assert area <= width * height * (1 + 1e-6)
    assert area >= least * width * height * 0.74  # a side cut at the border loses at most the aspect's share


@pytest.mark.parametrize("size_wh", [(1, 1), (1, 300), (300, 1), (2, 3)])
def test_the_smallest_pictures_have_views(size_wh):
    data = encoded(smooth(*size_wh))
    for number in range(6):
        assert view(data, DIGEST, number, 0, PREPROCESS, RECIPE).shape == (24, 32, 3)


@pytest.mark.parametrize(
    ("side", "first", "last", "done", "expected"),
    [
        (288, 0.0, 0.0, 0.5, 288),
        (288, 0.78, 0.0, 1.0, 224),
        (288, 0.78, 0.78, 0.3, 224),
        (288, 0.55, 1.0, 0.0, 160),
        (288, 0.5, 1.0, 1.0, 288),
        (96, 0.5, 0.5, 0.5, 96),
    ],
)
def test_views_are_smaller_than_the_input_by_the_recipe(side, first, last, done, expected):
    assert view_side(side, AugmentRecipe(size=first, size_end=last), done) == expected


def _marked(size_wh, x, y):
    """A black picture with a white mark of 10 x 10 pixels around x, y."""
    picture = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    picture[y - 5 : y + 5, x - 5 : x + 5] = 255
    return encoded(picture)


def _brightness(data, around, preprocess=PREPROCESS, **changes):
    recipe = AugmentRecipe(crop=0.35, flip=False, **changes)
    return np.mean([view(data, DIGEST, n, 0, preprocess, recipe, around) for n in range(1, 120)])


def test_views_around_a_place_show_it_closely():
    data = _marked((100, 80), 85, 15)
    anywhere, guided = _brightness(data, None), _brightness(data, (0.85, 0.19), guided=1.0)
    assert guided > 2 * anywhere
    assert anywhere < _brightness(data, (0.85, 0.19), guided=0.5) < guided
    assert _brightness(data, (0.1, 0.9), guided=1.0) < anywhere / 2
    plain = pictures.load(data, PREPROCESS)
    np.testing.assert_array_equal(view(data, DIGEST, 0, 0, PREPROCESS, AugmentRecipe(guided=1.0), (0.85, 0.19)), plain)


def test_a_place_is_one_of_what_is_seen_at_prediction(monkeypatch):
    data = _marked((300, 100), 120, 50)  # at 0.2 of the square in the middle, at 0.4 of the picture
    recipe, centres = AugmentRecipe(crop=0.35, guided=1.0), []

    def watched(size_wh, centre, *words):
        centres.append((*size_wh, *centre))
        return close_crop(size_wh, centre, *words)

    monkeypatch.setattr(augment, "close_crop", watched)
    view(data, DIGEST, 1, 0, Preprocess((32, 32), "crop"), recipe, (0.2, 0.5))
    view(data, DIGEST, 1, 0, Preprocess((32, 32)), recipe, (0.4, 0.5))
    assert centres == [pytest.approx((300, 100, 120, 50))] * 2
    padded = Preprocess((32, 32), "pad")
    assert _brightness(data, (0.2, 0.5), padded, guided=1.0) == _brightness(data, None, padded)


class _Largest:
    """Draws the largest of everything: the whole part, in the picture's own shape."""

    def __init__(self, rng):
        self.rng = rng

    def uniform(self, low, high):
        return 0.0 if low < 0 < high else high  # of the logarithm of the aspect ratio, the middle


@given(
    st.integers(1, 5000),
    st.integers(1, 5000),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0.01, 1),
    st.integers(0, 2**32),
)
def test_a_close_crop_is_inside_the_picture_and_smaller_than_it(width, height, x, y, least, seed):
    rng = np.random.default_rng(seed)
    left, top, right, bottom = close_crop((width, height), (x * width, y * height), rng, least)
    assert -1e-6 <= left < right <= width * (1 + 1e-6)
    assert -1e-6 <= top < bottom <= height * (1 + 1e-6)
    assert right - left <= CLOSE[1] * width * (1 + 1e-6)
    assert bottom - top <= CLOSE[1] * height * (1 + 1e-6)
    part = close_crop((width, height), (x * width, y * height), _Largest(rng), least)  # as large as it may be
    assert part[0] - 1e-6 * width <= x * width <= part[2] + 1e-6 * width
    assert part[1] - 1e-6 * height <= y * height <= part[3] + 1e-6 * height
