"""Where pixels go: points and boxes move exactly as the picture does, in plain and in augmented views."""

import io

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from fieldmark import geometry, pictures
from fieldmark.geometry import Geometry
from fieldmark.types import Preprocess
from fieldmark.workshop.recipe import AugmentRecipe
from fieldmark.workshop.train import augment

MARK = 9  # pixels, each side
FITS = ("squash", "crop", "pad")


def marked(width, height, x, y):
    """A blue PNG with a red square whose middle is at (x, y)."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 2] = 200
    half = MARK / 2
    picture[int(y - half) : int(y + half), int(x - half) : int(x + half)] = (255, 0, 0)
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    return out.getvalue()


def middle_of_red(picture):
    """The centre of mass of what is more red than green, and how much there is of it."""
    red = np.maximum(picture[..., 0].astype(float) - picture[..., 1], 0)
    if not red.sum():
        return None, 0.0
    down, across = np.mgrid[: picture.shape[0], : picture.shape[1]] + 0.5
    return np.array([(red * across).sum(), (red * down).sum()]) / red.sum(), red.sum() / 255


@given(
    st.integers(40, 160),
    st.integers(40, 160),
    st.floats(0.2, 0.8),
    st.floats(0.2, 0.8),
    st.sampled_from(FITS),
    st.integers(0, 6),
    st.sampled_from([(48, 48), (64, 40)]),
    st.floats(0, 20),
)
def test_a_marked_pixel_is_where_the_geometry_says(width, height, across, down, fit, number, view_wh, rotate):
    x, y = round(across * width) + 0.5, round(down * height) + 0.5
    data, preprocess = marked(width, height, x, y), Preprocess(view_wh, fit)
    recipe = AugmentRecipe(crop=0.4, flip=True, flip_vertical=True, rotate=rotate)
    seen = augment.view(data, b"12345678", number, 3, preprocess, recipe)
    where = augment.view_geometry((width, height), b"12345678", number, 3, preprocess, recipe)
    half = (MARK + 2) / 2
    box = where.boxes(np.array([[x - half, y - half, x + half, y + half]]))[0]
    assume((box >= 0).all() and (box[2:] <= view_wh).all())
    found, amount = middle_of_red(seen)
    assert amount > 1
    np.testing.assert_allclose(where.points(np.array([[x, y]]))[0], found, atol=0.75)
    assert (found > box[:2]).all()
    assert (found < box[2:]).all()


@pytest.mark.parametrize("fit", FITS)
@given(size_wh=st.tuples(st.integers(1, 500), st.integers(1, 500)))
def test_boxes_go_there_and_back(fit, size_wh):
    where = geometry.plain(size_wh, Preprocess((64, 48), fit))
    width, height = size_wh
    boxes = np.array([[0, 0, width, height], [0.2 * width, 0.1 * height, 0.9 * width, 0.6 * height]])
    np.testing.assert_allclose(where.boxes_back(where.boxes(boxes)), boxes, atol=1e-6)
    turned = where.then(geometry.turned((64, 48), 90)).then(geometry.mirrored((64, 48)))
    np.testing.assert_allclose(turned.boxes_back(turned.boxes(boxes)), boxes, atol=1e-6)


def test_a_padded_view_has_the_whole_picture_and_grey_around():
    where = geometry.plain((200, 100), Preprocess((64, 64), "pad"))
    np.testing.assert_allclose(where.boxes(np.array([[0, 0, 200, 100]])), [[0, 16, 64, 48]])


def test_a_window_beyond_the_picture_is_grey_there_and_exact_within():
    image = Image.fromarray(np.full((10, 10, 3), (255, 0, 0), np.uint8))
    seen = pictures.resize_window(image, Preprocess((40, 40)), (-5.0, 0.0, 15.0, 20.0))
    assert (seen[:20, 10:30] == (255, 0, 0)).all()
    assert (seen[20:] == pictures.GREY).all()
    assert (seen[:, :10] == pictures.GREY).all()
    where = Geometry.of_box((10, 10), (40, 40), (-5.0, 0.0, 15.0, 20.0))
    np.testing.assert_allclose(where.boxes(np.array([[0, 0, 10, 10]])), [[10, 0, 30, 20]])


def test_the_inverse_is_what_pillow_transforms_by():
    where = geometry.plain((20, 10), Preprocess((40, 20))).then(geometry.mirrored((40, 20)))
    mask = Image.fromarray(np.arange(200, dtype=np.uint8).reshape(10, 20))
    seen = np.asarray(mask.transform((40, 20), Image.Transform.AFFINE, where.inverse, Image.Resampling.NEAREST))
    np.testing.assert_array_equal(seen, np.asarray(mask)[:, ::-1].repeat(2, 0).repeat(2, 1))
