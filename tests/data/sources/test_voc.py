from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fieldmark.data import load_mask, open_data
from fieldmark.data.sources.voc import CLASSES
from fieldmark.errors import DataError
from tests.making import encoded, turned, write_picture

from .test_xml import LAUGHS

DOG = ("dog", 2, 3, 12, 13)


def xml(*objects: tuple, size_wh: tuple = (24, 20), extra: str = "") -> str:
    rows = "".join(
        f"\n<object><name>{name}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox>"
        "</object>"
        for name, a, b, c, d in objects
    )
    size = f"<size><width>{size_wh[0]}</width><height>{size_wh[1]}</height></size>" if size_wh else ""
    return f"<annotation>{extra}{size}{rows}\n</annotation>"


def voc(root: Path, pictures: dict[str, str], lists: dict[str, str] | None = None) -> Path:
    """A VOC folder of pictures of 24 x 20 and their annotations."""
    for stem, text in pictures.items():
        write_picture(root / "JPEGImages" / f"{stem}.jpg", seed=len(stem))
        (root / "Annotations").mkdir(exist_ok=True)
        (root / "Annotations" / f"{stem}.xml").write_text(text)
    for name, text in (lists or {}).items():
        (root / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
        (root / "ImageSets" / "Main" / f"{name}.txt").write_text(text)
    return root


def found(index) -> dict[str, list]:
    return {Path(s.name).stem: list(zip(s.boxes.labels, s.boxes.xyxy.tolist(), strict=True)) for s in index.samples}


def notes(index) -> list[str]:
    return [f"{n.name}: {n.text}" for n in index.notes]


def test_objects_become_boxes_and_labels(tmp_path):
    index = open_data(voc(tmp_path, {"a": xml(DOG, ("cat", 0, 0, 5.5, 6), DOG), "b": xml()}))
    assert found(index) == {"a": [("dog", [2, 3, 12, 13]), ("cat", [0, 0, 5.5, 6]), ("dog", [2, 3, 12, 13])], "b": []}
    assert [s.labels for s in index.samples] == [("cat", "dog"), ()]
    assert (index.kind, index.notes, index.skipped, index.splits) == ("boxes", (), (), Counter({"": 2}))
    assert [s.name for s in index.samples] == ["JPEGImages/a.jpg", "JPEGImages/b.jpg"]


def test_lists_are_splits_and_what_no_list_names_is_left_out(tmp_path):
    lists = {"train": "a\n", "val": "b\n", "trainval": "a\nb\nd\n", "test": "c", "dog_train": "a -1"}
    index = open_data(voc(tmp_path, {stem: xml(DOG) for stem in "abcde"}, lists))
    assert {Path(s.name).stem: s.split for s in index.samples} == {"a": "train", "b": "val", "c": "test", "d": "train"}
    assert notes(index) == ["ImageSets: 1 annotated pictures are in none of its lists; left out"]


def test_a_picture_in_two_lists_is_refused(tmp_path):
    root = voc(tmp_path, {"a": xml(DOG)}, {"train": "a", "test": "a"})
    with pytest.raises(DataError, match=r"a is in train\.txt and test\.txt of .*Main; keep it in one"):
        open_data(root)


def test_broken_objects_are_noted_with_file_and_line(tmp_path):
    objects = [
        ("dog", 12, 13, 2, 3),
        ("dog", 1, 1, 90, 9),
        ("dog", 4, 4, 4, 9),
        ("dog", "x", 1, 2, 3),
        ("", 1, 2, 3, 4),
    ]
    text = xml(*objects).replace("</annotation>", "<object><name>cat</name></object>\n</annotation>")
    index = open_data(voc(tmp_path, {"a": text}))
    assert found(index) == {"a": [("dog", [2, 3, 12, 13]), ("dog", [1, 1, 24, 9])]}
    assert notes(index) == [
        "Annotations/a.xml: line 6: the object has no name; left out",
        "Annotations/a.xml: line 7: the object has no bndbox; left out",
        "Annotations/a.xml: line 2 (dog): its corners were swapped; put right",
        "Annotations/a.xml: line 3 (dog): it reaches beyond the picture; cut to it",
        "Annotations/a.xml: line 4 (dog): it has no area; left out",
        "Annotations/a.xml: line 5 (dog): a coordinate is no number; left out",
    ]


def test_pascals_own_pixels_count_from_one_and_those_of_tools_do_not(tmp_path):
    own = "<source><database>The VOC2007 Database</database></source>"
    index = open_data(voc(tmp_path, {"a": xml(("dog", 1, 1, 24, 20), extra=own), "b": xml(("dog", 1, 1, 24, 20))}))
    assert found(index) == {"a": [("dog", [0, 0, 24, 20])], "b": [("dog", [1, 1, 24, 20])]}
    assert index.notes == ()


def test_boxes_of_parts_are_not_those_of_the_object(tmp_path):
    part = "<part><name>head</name><bndbox><xmin>0</xmin><ymin>0</ymin><xmax>1</xmax><ymax>1</ymax></bndbox></part>"
    text = xml(DOG).replace("<object>", f"<object>{part}")
    assert found(open_data(voc(tmp_path, {"a": text}))) == {"a": [("dog", [2, 3, 12, 13])]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (LAUGHS.decode(), "the annotation Annotations/a.xml: it declares entities, which are not read"),
        ("<annotation>", "the annotation Annotations/a.xml: no XML (no element found: line 1, column 12)"),
        ("", "the annotation Annotations/a.xml: the file is empty"),
        (
            "<html><body>404</body></html>",
            "the annotation Annotations/a.xml: its root is <html>, not <annotation>",
        ),
        (
            xml(DOG, size_wh=(20, 20)),
            "the annotation is of 20 x 20 pixels, the picture has 24 x 20; annotate this picture, or leave",
        ),
    ],
)
def test_a_picture_with_a_broken_annotation_is_left_out(tmp_path, text, reason):
    index = open_data(voc(tmp_path, {"a": text, "b": xml(DOG)}))
    assert list(found(index)) == ["b"]
    (left,) = index.skipped
    assert left.name == "JPEGImages/a.jpg"
    assert left.reason.startswith(reason)


def test_too_many_boxes_leave_the_picture_out(tmp_path, monkeypatch):
    monkeypatch.setattr("fieldmark.data.sources.annotated.MAX_BOXES", 3)
    index = open_data(voc(tmp_path, {"a": xml(*[DOG] * 4), "b": xml(*[DOG] * 3)}))
    assert list(found(index)) == ["b"]
    assert index.skipped[0].reason == "it has 4 boxes; at most 3 can be used"


def test_missing_and_unreadable_pictures_and_annotations_are_left_out(tmp_path):
    root = voc(tmp_path, {"a": xml(DOG), "b": xml(DOG), "c": xml(DOG)}, {"train": "a\nb\nc\nd\n"})
    (root / "JPEGImages" / "a.jpg").unlink()
    (root / "JPEGImages" / "b.jpg").write_bytes(b"x")
    (root / "Annotations" / "c.xml").unlink()
    write_picture(root / "JPEGImages" / "e.jpg")
    (root / "Annotations" / "e.xml").write_text(xml(DOG))
    (root / "ImageSets" / "Main" / "val.txt").write_text("e\n")
    index = open_data(root)
    assert list(found(index)) == ["e"]
    assert {s.name: s.reason for s in index.skipped} == {
        "JPEGImages/a": "there is no such picture in JPEGImages",
        "JPEGImages/b.jpg": "not a picture in a known format, or broken",
        "JPEGImages/c.jpg": "it has no file in Annotations",
        "JPEGImages/d": "there is no such picture in JPEGImages",
    }


@pytest.mark.parametrize("size_wh", [(0, 0), (), ("x", 3), ("1e999", 5)])
def test_a_size_that_is_none_does_not_count(tmp_path, size_wh):
    assert found(open_data(voc(tmp_path, {"a": xml(DOG, size_wh=size_wh)}))) == {"a": [("dog", [2, 3, 12, 13])]}


def test_an_annotation_in_stored_pixels_follows_the_exif(tmp_path):
    root = voc(tmp_path, {"a": xml(DOG), "b": xml(DOG, size_wh=(20, 24))})
    for stem in "ab":
        (root / "JPEGImages" / f"{stem}.jpg").write_bytes(turned(Image.new("RGB", (24, 20)), 6))
    assert found(open_data(root)) == {"a": [("dog", [7, 2, 17, 12])], "b": [("dog", [2, 3, 12, 13])]}


def test_lower_case_folders_of_other_tools_are_voc_too(tmp_path):
    voc(tmp_path, {"a": xml(DOG)})
    (tmp_path / "JPEGImages").rename(tmp_path / "images")
    (tmp_path / "Annotations").rename(tmp_path / "annotations")
    assert found(open_data(tmp_path)) == {"a": [("dog", [2, 3, 12, 13])]}


def masks(root: Path, *stems: str) -> Path:
    """Pictures of 24 x 20 with a VOC mask: a dog in the upper left, its rim ignored."""
    values = np.zeros((20, 24), np.uint8)
    values[:5, :5], values[5, :6] = CLASSES.index("dog"), 255
    for stem in stems:
        write_picture(root / "JPEGImages" / f"{stem}.jpg")
        (root / "SegmentationClass").mkdir(exist_ok=True)
        (root / "SegmentationClass" / f"{stem}.png").write_bytes(encoded(values))
    return root


def test_masks_have_the_classes_of_voc(tmp_path):
    index = open_data(masks(tmp_path, "a"))
    (sample,) = index.samples
    assert (index.kind, sample.labels, sample.mask.names) == ("mask", (), CLASSES)
    assert (len(CLASSES), CLASSES[1:]) == (21, tuple(sorted(CLASSES[1:])))
    numbers = load_mask(sample, CLASSES)
    assert (numbers[0, 0], numbers[5, 0], numbers[19, 23]) == (12, 255, 0)


def test_masks_beside_boxes_are_opened_by_naming_their_folder(tmp_path):
    root = masks(voc(tmp_path, {"a": xml(DOG), "b": xml(DOG)}, {"train": "a\nb\n"}), "a", "c")
    (root / "ImageSets" / "Segmentation").mkdir()
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("a\nb\n")
    assert open_data(root).kind == "boxes"
    index = open_data(root / "SegmentationClass")
    assert [(s.name, s.split) for s in index.samples] == [("JPEGImages/a.jpg", "val")]
    assert [(s.name, s.reason) for s in index.skipped] == [("JPEGImages/b.jpg", "it has no file in SegmentationClass")]


def test_masks_of_own_classes_name_them_in_a_file(tmp_path):
    (masks(tmp_path, "a") / "classes.txt").write_text("_background_\nscratch\n")
    assert open_data(tmp_path).samples[0].mask.names == ("_background_", "scratch")
    (tmp_path / "classes.txt").write_text("a\n\nb\n")
    with pytest.raises(DataError, match=r"classes\.txt must hold one class name a line, none empty"):
        open_data(tmp_path)
