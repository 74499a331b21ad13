"""Masks as files can be read back."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fieldmark.data.masks import load_mask
from fieldmark.field.runtime.mask_files import MaskFiles
from fieldmark.printing import coco_results
from fieldmark.types import MaskFile, Prediction, Sample, Score, pack, run_lengths, unpack

CLASSES = ("background", "bird", "branch")


def drawn(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, (7, 11)).astype(np.uint8)


def test_packed_numbers_are_read_back():
    for seed in range(3):
        assert (unpack(pack(drawn(seed))) == drawn(seed)).all()


def test_a_mask_is_read_back_as_data(tmp_path):
    files = MaskFiles(tmp_path / "out", CLASSES)
    told = files.write(Prediction("a/b.jpg", numbers=pack(drawn(0))))
    picture = tmp_path / "b.png"
    Image.new("RGB", (11, 7)).save(picture)
    names = tuple((tmp_path / "out" / "classes.txt").read_text().split())
    sample = Sample(picture, "b.png", mask=MaskFile(tmp_path / "out" / "b.png", names))
    assert told.to_json()["mask"] == str(tmp_path / "out" / "b.png")
    assert (load_mask(sample, CLASSES) == drawn(0)).all()


def test_two_pictures_of_one_name_have_two_masks(tmp_path):
    files = MaskFiles(tmp_path, CLASSES)
    paths = ("a/x.jpg", "b/X.jpg", "x-2.jpg", "c/x.jpg")
    told = [files.write(Prediction(path, numbers=pack(drawn(1)))).extra["mask"] for path in paths]
    assert [Path(name).name for name in told] == ["x.png", "X-2.png", "x-2-2.png", "x-3.png"]
    assert files.write(Prediction("c.jpg", error="no such file")).extra == {}


def test_coco_results_hold_run_lengths():
    labels = (Score("bird", 0.9), Score("branch", 0.8), Score("background", 0.1))
    shares = {"bird": 0.3, "background": 0.7}
    told = Prediction("007.jpg", labels, extra={"shares": shares}, numbers=pack(drawn(2)))
    (row,) = coco_results([told], CLASSES)
    assert (row["image_id"], row["category"], row["category_id"], row["score"]) == (7, "bird", 2, 0.9)
    assert row["segmentation"] == {"size": [7, 11], "counts": run_lengths(drawn(2) == 1)}


def test_coco_results_of_pictures_that_share_a_number_are_told_apart():
    def ids(*paths):
        extra = {"boxes": [{"label": "bird", "probability": 0.9, "xyxy": [0, 0, 1, 1]}]}
        return [row["image_id"] for row in coco_results([Prediction(p, extra=extra) for p in paths], CLASSES)]

    assert ids("7.jpg", "012.jpg") == [7, 12]
    assert ids("z.jpg", "2.jpg") == [1, 2]
    assert ids("2.jpg", "a/2.jpg") == [1, 2]
    assert ids("9" * 22 + ".jpg", "3.jpg") == [1, 2]


@given(st.integers(0, 99), st.integers(1, 6), st.integers(1, 6))
def test_run_lengths_can_be_read_back(seed, height, width):
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    lengths = run_lengths(mask)
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    assert (mask == flat.reshape(width, height).T).all()
