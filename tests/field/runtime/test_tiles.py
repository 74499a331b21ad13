"""Large pictures in tiles: every pixel covered, the answers at their places."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fieldmark.errors import UsageError
from fieldmark.field.runtime.tiles import OVERLAP, see_tiles, tiling
from fieldmark.geometry import plain
from fieldmark.pictures import from_image, resize
from fieldmark.types import Preprocess
from fieldmark.workshop.train.augment import random_tile

CELLS = 8
TILE = Preprocess((32, 32), tile=64)


class Brightness:
    """An engine whose one score at a position is the brightness of its cell."""

    micro_batch = 4

    def run(self, pictures, outputs):
        n, height, width, _ = pictures.shape
        cells = pictures[..., 0].reshape(n, CELLS, height // CELLS, CELLS, width // CELLS)
        return {"logits": cells.mean((2, 4), dtype=np.float32)[:, None]}


@given(st.integers(1, 700), st.integers(1, 700))
def test_tiles_cover_the_picture_overlap_and_stay_on_its_grid(width, height):
    cut = tiling((width, height), 64, CELLS)
    for side, places, total in ((width, cut.columns, cut.grid_wh[0]), (height, cut.rows, cut.grid_wh[1])):
        assert places[0] == 0
        assert places[-1] + CELLS == total
        assert side <= total * cut.cell < max(64, side) + cut.cell
        steps = np.diff(places)
        assert (steps <= np.ceil((1 - OVERLAP) * CELLS)).all()
        assert (steps > 0).all()


@pytest.mark.parametrize("size_wh", [(200, 130), (150, 40), (65, 64)])
def test_the_answer_is_that_of_the_whole_picture(size_wh):
    y, x = np.mgrid[: size_wh[1], : size_wh[0]]
    picture = Image.fromarray(np.repeat((x // 2 + y // 2)[..., None], 3, 2).astype(np.uint8))
    found, geometry = see_tiles(Brightness(), picture, TILE)
    cell = TILE.tile / CELLS
    inside = found[0, : int(size_wh[1] // cell), : int(size_wh[0] // cell)]
    v, u = np.mgrid[: inside.shape[0], : inside.shape[1]]
    np.testing.assert_allclose(inside, (u + v + 1) * cell / 2 - 0.5, atol=1.5)
    assert geometry.points(np.array([size_wh]))[0] == pytest.approx(np.array(size_wh) / cell)


def test_the_plain_view_of_a_large_picture_is_its_middle_and_of_a_small_one_all_of_it():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (100, 160, 3), np.uint8))
    expected = picture.crop((48, 18, 112, 82)).resize((32, 32), Image.Resampling.BILINEAR)
    inner = np.s_[1:-1, 1:-1]  # at the border the view looks beyond the crop
    assert (resize(picture, TILE)[inner] == np.asarray(expected)[inner]).all()
    assert (from_image(picture, TILE) == resize(picture, TILE)).all()
    assert plain(picture.size, TILE).points(np.array([[48.0, 18.0], [112.0, 82.0]])).tolist() == [[0, 0], [32, 32]]
    small = picture.crop((0, 0, 60, 50))
    assert (resize(small, TILE) == resize(small, Preprocess((32, 32)))).all()


@given(st.integers(0, 999), st.integers(20, 300), st.integers(20, 300))
def test_a_random_tile_lies_in_the_picture_where_it_fits(seed, width, height):
    x0, y0, x1, y1 = random_tile((width, height), 64, np.random.default_rng(seed), 0.3)
    assert x1 - x0 == pytest.approx(y1 - y0)
    assert 64 * 0.3**0.5 <= x1 - x0 + 1e-9 <= 64 + 1e-9
    for low, high, side in ((x0, x1, width), (y0, y1, height)):
        if high - low < side:
            assert -1e-9 <= low < high <= side + 1e-9
        else:
            assert low <= 0
            assert high >= side


def test_a_tile_is_kept_in_a_bundle_and_checked():
    assert Preprocess.from_json(TILE.to_json()) == TILE
    assert "tile" not in Preprocess((32, 32)).to_json()
    with pytest.raises(UsageError, match="tile"):
        Preprocess((32, 32), tile=5)
