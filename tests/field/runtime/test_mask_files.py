"""Masks as files can be read back."""

import json

import numpy as np
from PIL import Image

from fieldmark.data.masks import load_mask
from fieldmark.field.runtime.mask_files import MaskFiles
from fieldmark.types import MaskFile, Prediction, Sample, pack, unpack

CLASSES = ("background", "bird", "branch")


def drawn(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, (7, 11)).astype(np.uint8)


def test_packed_numbers_are_read_back():
    for seed in range(3):
        assert (unpack(pack(drawn(seed))) == drawn(seed)).all()


def test_a_mask_is_read_back_as_data(tmp_path):
    files = MaskFiles(tmp_path / "out", CLASSES, coco=False)
    told = files.write(Prediction("a/b.jpg", numbers=pack(drawn(0))))
    files.finish()
    picture = tmp_path / "b.png"
    Image.new("RGB", (11, 7)).save(picture)
    names = tuple((tmp_path / "out" / "classes.txt").read_text().split())
    sample = Sample(picture, "b.png", mask=MaskFile(tmp_path / "out" / "0001-b.png", names))
    assert told.to_json()["mask"] == str(tmp_path / "out" / "0001-b.png")
    assert (load_mask(sample, CLASSES) == drawn(0)).all()
    assert not (tmp_path / "out" / "coco.json").exists()


def test_two_pictures_of_one_name_have_two_masks(tmp_path):
    files = MaskFiles(tmp_path, CLASSES, coco=False)
    told = {files.write(Prediction(path, numbers=pack(drawn(1)))).extra["mask"] for path in ("a/x.jpg", "b/x.jpg")}
    assert len(told) == 2
    assert files.write(Prediction("c.jpg", error="no such file")).extra == {}


def test_coco_holds_run_lengths_areas_and_boxes(tmp_path):
    files = MaskFiles(tmp_path, CLASSES, coco=True)
    files.write(Prediction("x.jpg", numbers=pack(drawn(2))))
    files.finish()
    found = json.loads((tmp_path / "coco.json").read_text())
    assert [c["name"] for c in found["categories"]] == ["bird", "branch"]
    assert len(found["annotations"]) == 2
    for row in found["annotations"]:
        height, width = row["segmentation"]["size"]
        lengths = row["segmentation"]["counts"]
        mask = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(width, height).T
        assert (mask == (drawn(2) == row["category_id"])).all()
        assert row["area"] == mask.sum()
        left, top, w, h = row["bbox"]
        assert mask[top : top + h, left : left + w].sum() == mask.sum()
        assert mask[top].any()
        assert mask[:, left + w - 1].any()
