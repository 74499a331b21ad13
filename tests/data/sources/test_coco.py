import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fieldmark.data import load_mask, mask_classes, open_data
from fieldmark.data.sources import coco
from fieldmark.errors import DataError, FieldmarkError
from fieldmark.types import Outlines
from tests.making import turned, write_picture

CATEGORIES = [{"id": 1, "name": "dog"}, {"id": 7, "name": "cat"}, {"id": 9, "name": "never seen"}]
SQUARE = [2, 3, 12, 3, 12, 13, 2, 13]


def image(i: int, name: str, **more: Any) -> dict[str, Any]:
    return {"id": i, "file_name": name, "width": 24, "height": 20, **more}


def row(i: int, of: int, bbox: Any = (2, 3, 10, 10), category: Any = 1, **more: Any) -> dict[str, Any]:
    found = {"id": i, "image_id": of, "category_id": category, **more}
    return found if bbox is None else {**found, "bbox": list(bbox) if isinstance(bbox, tuple) else bbox}


def document(path: Path, images: list, annotations: list, categories: Any = CATEGORIES) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in "abc":
        write_picture(tmp_path / f"{name}.jpg", seed=ord(name))
    return tmp_path


def boxes(index) -> dict[str, list]:
    return {s.name: list(zip(s.boxes.labels, s.boxes.xyxy.tolist(), strict=True)) for s in index.samples}


def notes(index) -> list[str]:
    return [f"{n.name}: {n.text}" for n in index.notes]


def test_boxes_are_corners_and_a_picture_without_any_stays(place):
    rows = [row(1, 1), row(2, 1, (0.5, 0, 3, 4), 7)]
    index = open_data(document(place / "x.json", [image(1, "a.jpg"), image(5, "b.jpg")], rows))
    assert boxes(index) == {"a.jpg": [("dog", [2, 3, 12, 13]), ("cat", [0.5, 0, 3.5, 4])], "b.jpg": []}
    assert [s.labels for s in index.samples] == [("cat", "dog"), ()]
    assert (index.kind, index.notes, index.skipped) == ("boxes", (), ())
    assert [s.mask for s in index.samples] == [None, None]


def test_a_folder_is_opened_by_its_files_and_their_names_are_splits(tmp_path):
    for part, folder in (("train2017", "train2017"), ("val2017", "images/val2017")):
        write_picture(tmp_path / folder / "a.jpg")
        document(tmp_path / "annotations" / f"instances_{part}.json", [image(1, "a.jpg")], [row(1, 1)])
    (tmp_path / "annotations" / "captions_train2017.json").write_text("{}")
    index = open_data(tmp_path)
    assert [(s.name, s.split) for s in index.samples] == [("train2017/a.jpg", "train"), ("images/val2017/a.jpg", "val")]
    alone = open_data(tmp_path / "annotations" / "instances_val2017.json")
    assert [(s.name, s.split) for s in alone.samples] == [("images/val2017/a.jpg", None)]


def test_files_beside_the_pictures_of_each_part_are_found(tmp_path):
    for part in ("train", "valid"):
        write_picture(tmp_path / part / "a.jpg")
        document(tmp_path / part / "_annotations.coco.json", [image(1, "a.jpg")], [row(1, 1)])
    assert [(s.name, s.split) for s in open_data(tmp_path).samples] == [
        ("train/a.jpg", "train"),
        ("valid/a.jpg", "val"),
    ]


def test_a_picture_in_two_splits_is_refused_and_twice_in_one_left_out(place):
    for part in ("train", "test"):
        document(place / "annotations" / f"instances_{part}.json", [image(1, "a.jpg")], [])
    with pytest.raises(DataError, match=r"a\.jpg is in test and in train|a\.jpg is in train and in test"):
        open_data(place)
    index = open_data(document(place / "x.json", [image(1, "a.jpg"), image(2, "a.jpg")], []))
    assert [(s.name, s.reason) for s in index.skipped] == [("a.jpg", "another image of the file is the same picture")]


def test_broken_annotations_are_noted_with_their_id(place):
    rows = [
        row(1, 1, (12, 13, -10, -10)),
        row(2, 1, (20, 0, 90, 5)),
        row(3, 1, (4, 4, 0, 5)),
        row(4, 1, (1, 2, 3)),
        row(5, 1, category=3),
        row(6, 99),
        row(7, 1, (None, "x", 1, 1)),
        row(8, 1, None),
        row(9, 1, iscrowd=1),
        {"image_id": [1]},
        "nonsense",
        row(12, 1, [1e308, 1e308, 1e308, 1e308]),
    ]
    index = open_data(document(place / "x.json", [image(1, "a.jpg")], rows))
    assert boxes(index) == {"a.jpg": [("dog", [2, 3, 12, 13]), ("dog", [20, 0, 24, 5])]}
    assert notes(index) == [
        "x.json: annotation 6: there is no such image; left out",
        "x.json: annotation number 10: there is no such image; left out",
        "x.json: annotation number 11: there is no such image; left out",
        "x.json: 1 annotations are of crowds, not of one thing each; left out of the boxes",
        "x.json: annotation 5: unknown category 3; left out",
        "x.json: annotation 1 (dog): its corners were swapped; put right",
        "x.json: annotation 2 (dog): it reaches beyond the picture; cut to it",
        "x.json: annotation 3 (dog): it has no area; left out",
        "x.json: annotation 4 (dog): a coordinate is no number; left out",
        "x.json: annotation 7 (dog): a coordinate is no number; left out",
        "x.json: annotation 8 (dog): a coordinate is no number; left out",
        "x.json: annotation 12 (dog): a coordinate is no number; left out",
    ]


def test_a_category_with_two_names_is_refused(place):
    twice = [*CATEGORIES, {"id": 7, "name": " cat "}, {"id": 9, "name": ""}, {"id": 11, "name": "dog"}]
    rows = [row(1, 1, category=7), row(2, 1, category=11)]
    index = open_data(document(place / "x.json", [image(1, "a.jpg")], rows, twice))
    assert index.samples[0].boxes.labels == ("cat", "dog")
    document(place / "x.json", [image(1, "a.jpg")], rows, [*CATEGORIES, {"id": 7, "name": "cow"}])
    with pytest.raises(DataError, match=r"x\.json: category 7 has two names, 'cat' and 'cow'; keep one"):
        open_data(place / "x.json")


def test_broken_images_and_missing_files_are_said(place):
    images = [image(1, "a.jpg"), image(1, "b.jpg"), {"id": 3}, 4, image(5, "none.jpg"), image(6, "c.jpg", width=99)]
    (place / "z.jpg").write_bytes(b"x")
    index = open_data(document(place / "x.json", [*images, image(8, "z.jpg"), image(9, "a\0b")], []))
    assert list(boxes(index)) == ["a.jpg"]
    assert notes(index) == [
        "x.json: image 1 (b.jpg): the id is taken; left out",
        *["x.json: an image without id or file_name; left out"] * 2,
    ]
    assert [(s.name, s.reason.split(";")[0]) for s in index.skipped] == [
        ("none.jpg", "no such file"),
        ("c.jpg", "the annotation is of 99 x 20 pixels, the picture has 24 x 20"),
        ("z.jpg", "not a picture in a known format, or broken"),
        ("a\0b", "no such file"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("{", "is no JSON"),
        (b"\xff\xfe\xff", "is no JSON"),
        ("[]", "is no COCO file: it holds no object with images, annotations and categories"),
        ('{"images": [], "annotations": {}}', "is no COCO file: it has no list of annotations and of categories"),
        ("[" * 200_000, "is nested too deep"),
        ('{"images": [' + "1" * 5000 + "]}", "is no JSON"),
    ],
)
def test_a_broken_file_is_one_sentence(tmp_path, text, said):
    (tmp_path / "x.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=said) as caught:
        open_data(tmp_path / "x.json")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_too_large_is_refused_unread(place, monkeypatch):
    path = document(place / "x.json", [image(1, "a.jpg")], [])
    monkeypatch.setattr(coco, "MAX_JSON_BYTES", 10)
    with pytest.raises(DataError, match="the file is larger than"):
        open_data(path)
    monkeypatch.setattr(coco, "available_memory", lambda: 100)
    with pytest.raises(DataError, match="needs more than the 0 GB of memory that are free; split it"):
        open_data(path)


def test_outlines_of_all_kinds_are_masks_of_their_classes(place):
    on = np.zeros((20, 24), np.uint8)
    on[3:13, 2:12] = 1
    tools = pytest.importorskip("faster_coco_eval.core.mask")
    packed = tools.encode(np.asfortranarray(on))["counts"]
    flat = np.flatnonzero(np.diff(np.concatenate([[0], on.T.ravel(), [0]]))).tolist()
    counts = np.diff([0, *flat, on.size]).tolist()
    size = [20, 24]
    ways = [
        [SQUARE],
        {"size": size, "counts": packed if isinstance(packed, str) else packed.decode()},
        {"size": size, "counts": counts},
    ]
    for way in ways:
        index = open_data(document(place / "x.json", [image(1, "a.jpg")], [row(1, 1, segmentation=way)]))
        (sample,) = index.samples
        assert (index.kind, index.notes) == ("boxes", ())
        assert mask_classes([sample]) == ("background", "dog")
        np.testing.assert_array_equal(load_mask(sample, ("background", "dog")), on)


def test_outlines_without_any_bbox_are_masks_alone(place):
    rows = [row(1, 1, None, segmentation=[SQUARE]), row(2, 1, None, 7, segmentation=[[0, 0, 2, 0, 2, 2]], iscrowd=1)]
    index = open_data(document(place / "x.json", [image(1, "a.jpg"), image(2, "b.jpg")], rows))
    assert (index.kind, index.samples[0].boxes, index.samples[0].labels) == ("mask", None, ("cat", "dog"))
    assert index.samples[1].mask == Outlines((24, 20), ())


def test_a_box_left_away_is_drawn_around_its_polygons(place):
    rows = [row(1, 1), row(2, 1, [], 7, segmentation=[[1, 2, 5, 2, 5, 4], [7, 1, 9, 1, 9, 3]])]
    index = open_data(document(place / "x.json", [image(1, "a.jpg")], rows))
    assert boxes(index)["a.jpg"][1] == ("cat", [1, 1, 9, 4])


@pytest.mark.parametrize(
    "bad",
    [
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, "x"]],
        ["x"],
        {"counts": "abc"},
        {"size": [9, 9], "counts": [81]},
        5,
        {"size": [20, 24], "counts": [-1]},
        {"size": [20, 24], "counts": "é"},
        [[float("nan")] * 6],
    ],
)
def test_a_picture_with_an_outline_that_cannot_be_read_has_no_mask(place, bad):
    images = [image(1, "a.jpg"), image(2, "b.jpg")]
    rows = [row(1, 1, segmentation=[SQUARE]), row(2, 1, segmentation=bad), row(3, 2, segmentation=[SQUARE])]
    index = open_data(document(place / "x.json", images, rows))
    assert [s.mask is None for s in index.samples] == [True, False]
    assert len(boxes(index)["a.jpg"]) == 2
    said = "x.json: annotation 2 (dog): the segmentation cannot be read; the picture is left without a mask"
    assert notes(index) == [said]


def test_boxes_and_outlines_in_stored_pixels_follow_the_exif(place):
    (place / "a.jpg").write_bytes(turned(Image.new("RGB", (24, 20)), 8))
    index = open_data(document(place / "x.json", [image(1, "a.jpg")], [row(1, 1, segmentation=[SQUARE])]))
    assert boxes(index) == {"a.jpg": [("dog", [3, 12, 13, 22])]}
    numbers = load_mask(index.samples[0], ("background", "dog"))
    assert numbers.shape == (24, 20)
    rows, columns = np.nonzero(numbers)
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (3, 12, 13, 22)


def test_an_annotation_of_a_larger_copy_is_scaled(place):
    found = image(1, "a.jpg", width=48, height=40)
    outline = [[2 * v for v in SQUARE]]
    index = open_data(document(place / "x.json", [found], [row(1, 1, (4, 6, 20, 20), segmentation=outline)]))
    assert boxes(index) == {"a.jpg": [("dog", [2, 3, 12, 13])]}
    assert load_mask(index.samples[0], ("background", "dog")).sum() == 100
    assert notes(index) == ["x.json: the annotation is of 48 x 40 pixels, the picture has 24 x 20; scaled to it"]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(ANYTHING, max_size=3),
    st.dictionaries(st.sampled_from(["id", "image_id", "category_id", "bbox", "segmentation", "iscrowd"]), ANYTHING),
    ANYTHING,
)
def test_no_json_raises_anything_but_a_sentence(place, more, changes, categories):
    rows = [*more, {**row(1, 1, segmentation=[SQUARE]), **changes}]
    path = document(place / "x.json", [*more, image(1, "a.jpg")], rows, categories)
    try:
        index = open_data(path)
    except FieldmarkError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert [s.name for s in index.samples] == ["a.jpg"]


def test_notes_are_bounded(place, monkeypatch):
    monkeypatch.setattr("fieldmark.data.sources.annotated.MAX_NOTES", 2)
    index = open_data(document(place / "x.json", [image(1, "a.jpg")], [row(i, 99) for i in range(5)]))
    assert [n.text for n in index.notes][2:] == ["3 more of the kind"]
