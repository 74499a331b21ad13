"""The places around which later views are cropped."""

import numpy as np
import pytest
from PIL import Image

from fieldmark.types import Preprocess
from fieldmark.workshop.learn.linear import LinearHead
from fieldmark.workshop.train.cache import digests
from fieldmark.workshop.train.guide import find_places, place_of

SIDE, CELLS = 40, 4


@pytest.mark.parametrize("power", [1.0, 0.5])
@pytest.mark.parametrize("seed", range(5))
def test_the_place_adds_most_to_the_highest_logit(power, seed):
    """Recomputed position by position."""
    rng = np.random.default_rng(seed)
    features = np.abs(rng.normal(size=(6, 3, 5))).astype(np.float32)
    head = LinearHead(rng.normal(size=(4, 6)).astype(np.float32), rng.normal(size=4).astype(np.float32), power, 0.1)
    pooled = np.array([features[f].sum() / 15 for f in range(6)], np.float64)
    logits = head.weight.astype(np.float64) @ pooled**power + head.bias
    best = int(np.argmax(logits))
    adds = {
        (r, c): sum(head.weight[best, f] * pooled[f] ** (power - 1) * features[f, r, c] for f in range(6))
        for r in range(3)
        for c in range(5)
    }
    row, column = max(adds, key=adds.get)
    assert sum(adds.values()) / 15 == pytest.approx(logits[best] - head.bias[best], rel=1e-4, abs=1e-5)
    assert place_of(features, head) == pytest.approx(((column + 0.5) / 5, (row + 0.5) / 3))


class Eye:
    """An engine whose features are the mean colours of cells."""

    micro_batch, name, precision = 2, "eye", "f32"

    def __init__(self, cells):
        self.cells = cells

    def run(self, frames, outputs):
        assert tuple(outputs) == ("features",)
        n, side = len(frames), SIDE // self.cells
        parts = np.asarray(frames, np.float32).reshape(n, self.cells, side, self.cells, side, 3)
        return {"features": parts.mean((2, 4)).transpose(0, 3, 1, 2) / 255}


@pytest.fixture
def files(tmp_path):
    """Grey pictures with a red square each, and one that is none."""
    made = {}
    for number, (row, column) in enumerate([(0, 0), (1, 3), (3, 2), (2, 2), (0, 3)]):
        picture = np.full((SIDE, SIDE, 3), 90, np.uint8)
        picture[row * 10 : row * 10 + 10, column * 10 : column * 10 + 10] = (250, 10 + number, 10)
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
        made[tmp_path / f"{number}.png"] = ((column + 0.5) / CELLS, (row + 0.5) / CELLS)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    return [*made, tmp_path / "broken.png"], made


def test_pictures_have_the_place_that_the_head_says_them_by(files):
    paths, expected = files
    head = LinearHead(np.array([[0, 1, 0], [3, -1, -1]], np.float32), np.array([0, 1], np.float32), 1.0, 0.1)
    keys, ticks = digests(paths), []
    found = find_places(
        Eye(CELLS), head, list(zip(keys, paths, strict=True)), Preprocess((SIDE, SIDE)), lambda *n: ticks.append(n)
    )
    assert found == {key: pytest.approx(expected[path]) for key, path in zip(keys, expected, strict=False)}
    assert ticks[-1] == (6, 6)
