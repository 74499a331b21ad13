"""The task of segmentation: from raw outputs to predictions, scores and decisions."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics

from fieldmark.data.index import Index
from fieldmark.errors import DataError
from fieldmark.field.runtime.recogniser import collect
from fieldmark.field.tasks import TaskFacts
from fieldmark.field.tasks.segment import Segment, promised_iou
from fieldmark.geometry import plain
from fieldmark.types import MaskFile, Preprocess, Sample

CLASSES = ("background", "bird", "branch")
FACTS = TaskFacts(CLASSES)
TASK = Segment()
SIDE = 32


def logits_of(numbers: np.ndarray, sure: float = 8.0) -> np.ndarray:
    """Logits [L, h, w] that say these class numbers [h, w]."""
    return sure * (numbers[None] == np.arange(len(CLASSES))[:, None, None]).astype(np.float32)


def sample(folder: Path, name: str, numbers: np.ndarray) -> Sample:
    height, width = numbers.shape
    Image.new("RGB", (width, height)).save(folder / f"{name}.png")
    Image.fromarray(numbers).save(folder / f"{name}-mask.png")
    return Sample(folder / f"{name}.png", f"{name}.png", mask=MaskFile(folder / f"{name}-mask.png", CLASSES))


def kept(grid: np.ndarray, size_wh: tuple[int, int], fit: str = "squash", sure: float = 8.0) -> dict[str, np.ndarray]:
    geometry = plain(size_wh, Preprocess((SIDE, SIDE), fit))
    return dict(TASK.keep({"logits": logits_of(grid, sure)}, geometry, FACTS))


def grids() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [np.repeat(np.repeat(rng.integers(0, 3, (2, 2)), 4, 0), 4, 1).astype(np.uint8) for _ in range(4)]


def test_scores_and_predictions_are_in_the_pictures_own_pixels(tmp_path):
    rows, samples = [], []
    for i, grid in enumerate(grids()):
        truth = np.repeat(np.repeat(grid, 5, 0), 7, 1)
        truth[:, -3:] = 255
        samples.append(sample(tmp_path, f"p{i}", truth))
        rows.append(kept(np.roll(grid, i, 1), (56, 40)))
    outputs = collect(rows)
    predictions = TASK.predict([s.name for s in samples], outputs, FACTS)
    assert all(p.mask is not None and p.mask.shape == (40, 56) for p in predictions)
    found = TASK.score(samples, outputs, FACTS)
    truth = np.concatenate([np.asarray(Image.open(s.mask.path)).ravel() for s in samples])
    said = np.concatenate([p.mask.ravel() for p in predictions if p.mask is not None])
    counts = truth != 255
    ious = metrics.jaccard_score(truth[counts], said[counts], labels=range(3), average=None)
    assert list(found["iou"].values()) == pytest.approx(ious)
    assert found["miou"] == pytest.approx(ious.mean())
    assert found["n"] == 4
    each = TASK.each(samples, outputs, FACTS)
    assert each[0] > 0.99
    assert each.min() < 0.8


def test_a_picture_is_named_after_its_largest_thing_and_else_the_background():
    grid = np.zeros((8, 8), np.uint8)
    grid[:2, :2], grid[5:, 5:] = 1, 2
    empty = np.zeros((8, 8), np.uint8)
    found = TASK.predict(["a", "b"], collect([kept(grid, (80, 80)), kept(empty, (80, 80))]), FACTS)
    assert [s.label for s in found[0].labels] == ["branch", "bird", "background"]
    assert found[0].extra["shares"]["branch"] == pytest.approx(9 / 64, abs=0.02)
    assert sum(found[0].extra["shares"].values()) == pytest.approx(1, abs=1e-5)
    assert found[1].label == "background"
    assert found[1].extra["shares"] == {"background": 1.0}
    assert found[0].to_json()["mask"] is None


def test_doubt_between_two_things_is_no_doubt_whether_there_is_one(tmp_path):
    shown, empty = np.ones((8, 8), np.uint8), np.zeros((8, 8), np.uint8)
    samples = [sample(tmp_path, "shown", shown), sample(tmp_path, "empty", empty)]
    rows = []
    for p in ((0.3, 0.36, 0.34), (0.5, 0.49, 0.01)):
        logits = np.broadcast_to(np.log(p)[:, None, None], (3, 8, 8)).astype(np.float32)
        rows.append(dict(TASK.keep({"logits": logits}, plain((8, 8), Preprocess((SIDE, SIDE))), FACTS)))
    assert TASK.score(samples, collect(rows), FACTS)["foreground_roc_auc"] == 1


def test_what_is_hardly_surer_than_the_rest_is_unsure():
    grid = np.zeros((8, 8), np.uint8)
    grid[:3] = 1
    sure, doubtful = kept(grid, (80, 80)), kept(grid, (80, 80), sure=0.8)
    assert [p.unsure for p in TASK.predict(["a", "b"], collect([sure, doubtful]), FACTS)] == [False, True]
    assert promised_iou(sure, 1) > 0.9 > promised_iou(doubtful, 1)
    assert promised_iou(kept(np.zeros((8, 8), np.uint8), (80, 80)), 1) == 1.0


def test_a_padded_picture_loses_its_borders():
    grid = np.zeros((8, 8), np.uint8)
    grid[2:6] = 1  # what a picture twice as wide as high covers
    assert (TASK.predict(["a"], collect([kept(grid, (64, 32), "pad")]), FACTS)[0].mask == 1).mean() > 0.8


def test_masks_that_cannot_be_read_are_left_out_and_listed(tmp_path):
    good = sample(tmp_path, "good", np.zeros((4, 4), np.uint8))
    bare = Sample(good.path, "bare.png")
    (tmp_path / "broken-mask.png").write_bytes(b"no picture")
    broken = Sample(good.path, "broken.png", mask=MaskFile(tmp_path / "broken-mask.png", CLASSES))
    found = TASK.select(Index("data", (good, bare, broken)))
    assert [s.name for s in found.samples] == ["good.png"]
    assert found.samples[0].labels == ("background",)
    assert found.kind == "mask"
    assert [s.name for s in found.skipped] == ["bare.png", "broken.png"]
    with pytest.raises(DataError, match="no masks that can be read"):
        TASK.select(Index("data", (bare,)))
    with pytest.raises(DataError, match=r"bare\.png has no mask"):
        TASK.check([good, bare])


def test_alike_is_the_share_of_positions_of_the_same_class():
    one = logits_of(grids()[0])[None]
    other = one.copy()
    other[0, :, 0, 0] = logits_of((grids()[0] + 1) % 3)[:, 0, 0]
    assert TASK.alike({"logits": one}, {"logits": other}, FACTS).tolist() == [63 / 64]


def test_a_guess_says_the_most_frequent_class_everywhere(tmp_path):
    numbers = np.zeros((4, 4), np.uint8)
    numbers[0, :2] = 1
    guess = TASK.guess([sample(tmp_path, "a", numbers)], FACTS)
    assert guess.score == pytest.approx(14 / 16 / 2)
    assert "background" in guess.words


def test_outputs_of_another_shape_do_not_fit():
    assert not TASK.unfit({"logits": np.zeros((1, 3, 4, 4))}, 3)
    assert TASK.unfit({"logits": np.zeros((1, 2, 4, 4))}, 3)
    assert TASK.unfit({"logits": np.zeros((1, 3))}, 3)
