from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fieldmark.data import load_mask, mask_classes, open_data
from fieldmark.errors import DataError
from tests.making import class_folders, encoded, smooth, write_picture

TWO = ("background", "foreground")


def pair(root: Path, name: str, values: np.ndarray | None = None, masks: str = "masks", images: str = "images") -> None:
    """A picture of 24 x 20 and its mask, the upper half on where no values are given."""
    write_picture(root / images / f"{name}.jpg", seed=len(name))
    if values is None:
        values = np.zeros((20, 24), np.uint8)
        values[:10] = 255
    (root / masks / f"{name}.png").parent.mkdir(parents=True, exist_ok=True)
    (root / masks / f"{name}.png").write_bytes(encoded(values))


def numbers(*values: int) -> np.ndarray:
    return np.resize(np.array(values, np.uint8), (20, 24))


@pytest.mark.parametrize("masks", ["masks", "labels", "annotations"])
def test_masks_of_equal_names_belong_to_the_pictures(tmp_path, masks):
    for name in ("a", "b", "deep/c"):
        pair(tmp_path, name, masks=masks)
    write_picture(tmp_path / "images" / "alone.jpg")
    index = open_data(tmp_path)
    assert [s.name for s in index.samples] == ["images/a.jpg", "images/b.jpg", "images/deep/c.jpg"]
    assert [(s.name, s.reason) for s in index.skipped] == [("images/alone.jpg", f"there is no mask {masks}/alone")]
    assert (index.kind, index.splits, index.samples[0].labels) == ("mask", Counter({"": 3}), ())
    assert mask_classes(index.samples) == TWO
    assert load_mask(index.samples[0], TWO)[:, 0].tolist() == [1] * 10 + [0] * 10


def test_parts_are_found_inside_and_outside(tmp_path):
    for part in ("train", "val"):
        pair(tmp_path / "inside", f"{part}/a")
        pair(tmp_path / "outside" / part, "a")
    for place in ("inside", "outside"):
        assert [s.split for s in open_data(tmp_path / place).samples] == ["train", "val"]


def test_classes_txt_may_lie_beside_the_masks(tmp_path):
    pair(tmp_path, "a", numbers(0, 1, 2, 255))
    (tmp_path / "masks" / "classes.txt").write_text("sky\ngrass\ncow\n")
    assert mask_classes(open_data(tmp_path).samples) == ("cow", "grass", "sky")


def test_classes_txt_names_the_numbers(tmp_path):
    pair(tmp_path, "a", numbers(0, 1, 2, 255))
    (tmp_path / "classes.txt").write_text("sky\ngrass\ncow\n")
    index = open_data(tmp_path)
    assert mask_classes(index.samples) == ("cow", "grass", "sky")
    assert load_mask(index.samples[0], ("cow", "grass", "sky"))[0, :4].tolist() == [2, 1, 0, 255]
    (tmp_path / "classes.txt").write_text("".join(f"{i}\n" for i in range(300)))
    with pytest.raises(DataError, match=r"classes\.txt names 300 classes; a mask can tell 254 apart"):
        open_data(tmp_path)


def test_numbers_without_names_say_what_to_write(tmp_path):
    pair(tmp_path, "a", numbers(0, 1, 2))
    with pytest.raises(DataError, match=r"the mask a\.png holds values up to 2, .* classes\.txt"):
        open_data(tmp_path)


@pytest.mark.parametrize("second", ["masks", "labels", "annotations"])
def test_two_classes_with_the_names_of_folders_stay_classes(tmp_path, second):
    index = open_data(class_folders(tmp_path, {"images": 4, second: 4}))
    assert (index.kind, Counter(s.label for s in index.samples)) == ("label", Counter({"images": 4, second: 4}))


def test_grey_photographs_of_equal_names_are_no_masks(tmp_path):
    for i in range(3):
        for folder in ("images", "masks"):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{i}.png").write_bytes(encoded(smooth(90, 70, i)[..., 0]))
    assert open_data(tmp_path).kind == "label"


def test_masks_saved_as_jpeg_or_in_colour_are_masks(tmp_path):
    on = np.zeros((40, 48), np.uint8)
    on[5:30, 5:30] = 255
    for name, values, kind in (("jpeg", on, "JPEG"), ("colour", np.stack([on] * 3, -1), "PNG")):
        root = tmp_path / name
        write_picture(root / "images" / "a.jpg", size_wh=(48, 40))
        (root / "masks").mkdir()
        (root / "masks" / f"a.{kind.lower()}").write_bytes(encoded(values, kind))
        index = open_data(root)
        assert index.kind == "mask"
        assert abs(int(load_mask(index.samples[0], TWO).sum()) - 625) <= 5
