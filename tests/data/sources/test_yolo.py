import builtins
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fieldmark.data import load_mask, open_data
from fieldmark.data.sources.yolo import _row
from fieldmark.errors import DataError, MissingExtraError
from tests.making import turned, write_picture

NAMES = "names: [dog, cat]\n"
PARTS = "train: images/train\nval: images/val\n"
DOG = "0 0.5 0.5 0.25 0.5\n"
DOGS_BOX = ("dog", [9, 5, 15, 15])  # of a picture of 24 x 20


def yolo(root: Path, pictures: dict[str, str | None], facts: str | None = NAMES + PARTS) -> Path:
    """A YOLO folder of pictures of 24 x 20; a key is a path below images, without suffix."""
    for name, text in pictures.items():
        write_picture(root / "images" / f"{name}.jpg", seed=len(name))
        place = root / "labels" / f"{name}.txt"
        place.parent.mkdir(parents=True, exist_ok=True)
        if text is not None:
            place.write_text(text)
    if facts is not None:
        (root / "data.yaml").write_text(facts)
    return root


def found(index) -> dict[str, list]:
    return {s.name: list(zip(s.boxes.labels, s.boxes.xyxy.tolist(), strict=True)) for s in index.samples}


def notes(index) -> list[str]:
    return [f"{n.name}: {n.text}" for n in index.notes]


def test_rows_are_boxes_and_a_picture_without_a_file_has_none(tmp_path):
    index = open_data(yolo(tmp_path, {"train/a": DOG + "1 0 0 1 1\n\n", "train/b": None, "val/a": ""}))
    assert found(index) == {
        "images/train/a.jpg": [DOGS_BOX, ("cat", [0, 0, 12, 10])],
        "images/train/b.jpg": [],
        "images/val/a.jpg": [],
    }
    assert (index.kind, index.splits, index.skipped) == ("boxes", Counter(train=2, val=1), ())
    assert notes(index) == ["labels/train/a.txt: line 2 (cat): it reaches beyond the picture; cut to it"]
    assert [s.mask for s in index.samples] == [None] * 3


@pytest.mark.parametrize(
    "facts",
    [
        PARTS + "names:\n  0: dog\n  1: cat\n",
        PARTS + "names:\n- dog\n- cat\n",
        "path: .\n" + PARTS + NAMES,
        "path: ../datasets/elsewhere\n" + PARTS + NAMES,
        "train: [images/train]\nval: /content/images/val\n" + NAMES,
        "train: ../images/train\nvalid: ../images/val\ntest: ~\n" + NAMES,
        "train: images/train\nval: images/val\nnames: &n [dog, cat]\nother: *n\ndownload: https://x\n",
    ],
)
def test_facts_as_tools_write_them_are_read(tmp_path, facts):
    index = open_data(yolo(tmp_path, {"train/a": DOG, "val/b": "1 0.5 0.5 1 1\n"}, facts))
    assert found(index) == {"images/train/a.jpg": [DOGS_BOX], "images/val/b.jpg": [("cat", [0, 0, 24, 20])]}
    assert [s.split for s in index.samples] == ["train", "val"]
    assert found(open_data(tmp_path / "data.yaml")) == found(index)


def test_names_are_texts_whatever_yaml_would_make_of_them(tmp_path):
    rows = "".join(f"{i} 0.5 0.5 1 1\n" for i in range(3))
    index = open_data(yolo(tmp_path, {"train/a": rows}, "train: images/train\nnames: [no, 1.10, 2020-01-01]\n"))
    assert index.samples[0].boxes.labels == ("no", "1.10", "2020-01-01")


def test_parts_may_be_lists_of_pictures(tmp_path):
    yolo(tmp_path, {"a": DOG, "b": DOG}, NAMES + "train: train.txt\n")
    (tmp_path / "train.txt").write_text("./images/a.jpg\n\nimages/none.jpg\n")
    index = open_data(tmp_path)
    assert found(index) == {"images/a.jpg": [DOGS_BOX]}
    assert [(s.name, s.reason) for s in index.skipped] == [("images/none.jpg", "no such file")]


def test_parts_with_images_and_labels_inside_are_found(tmp_path):
    for part in ("train", "valid", "test"):
        yolo(tmp_path / part, {"a": DOG}, None)
    (tmp_path / "data.yaml").write_text("train: ../train/images\nval: ../valid/images\ntest: ../test/images\n" + NAMES)
    index = open_data(tmp_path)
    assert {s.name: s.split for s in index.samples} == {
        "train/images/a.jpg": "train",
        "valid/images/a.jpg": "val",
        "test/images/a.jpg": "test",
    }


def test_without_yaml_classes_txt_names_the_classes(tmp_path):
    (yolo(tmp_path / "flat", {"a": DOG}, None) / "classes.txt").write_text("dog\ncat\n")
    index = open_data(tmp_path / "flat")
    assert (found(index), index.splits) == ({"images/a.jpg": [DOGS_BOX]}, Counter({"": 1}))
    (yolo(tmp_path / "parts", {"train/a": DOG, "val/b": DOG}, None) / "labels" / "classes.txt").write_text("dog\n")
    assert open_data(tmp_path / "parts").splits == Counter(train=1, val=1)
    with pytest.raises(DataError, match=r"nothing names the classes; write classes\.txt, one a line, or names in data"):
        open_data(yolo(tmp_path / "none", {"a": DOG}, None))


def test_lists_and_names_end_at_line_breaks_alone(tmp_path):
    (yolo(tmp_path, {"a\u2028b": DOG}, None) / "classes.txt").write_text(
        "dog\x85s\r\ncat\u2028s\r\n", "utf-8", newline=""
    )
    assert open_data(tmp_path).samples[0].boxes.labels == ("dog s",)
    (tmp_path / "data.yaml").write_text(NAMES + "train: train.txt\n")
    (tmp_path / "train.txt").write_text("images/a\u2028b.jpg\r\n", "utf-8", newline="")
    assert [s.name for s in open_data(tmp_path).samples] == ["images/a\u2028b.jpg"]


def test_one_folder_for_two_parts_is_used_once_and_a_torn_picture_refused(tmp_path):
    index = open_data(yolo(tmp_path, {"train/a": DOG}, NAMES + "train: images/train\nval: images/train\n"))
    assert index.splits == Counter(train=1)
    assert [n.text for n in index.notes] == ["val is the very folder of another part; not used twice"]
    yolo(tmp_path, {"val/b": DOG}, NAMES + "train: images/train\nval: [images/val, images/train]\n")
    with pytest.raises(DataError, match=r"images/train/a\.jpg is in train and in val; keep it in one"):
        open_data(tmp_path)


def test_broken_rows_are_noted_with_file_and_line(tmp_path):
    rows = "2 0.5 0.5 1 1\n-1 0 0 1 1\n0.5 0 0 1 1\nx 0 0 1 1\n0 0.5 0.5\n0 0.5 0.5 1 1 0.9\n"
    rows += "0 nan 0 1 1\n0 320 240 50 50\n"
    index = open_data(yolo(tmp_path, {"train/a": rows + DOG + "0 0.5 0.5 0 1\n0.0 0.5 0.5 -0.25 0.5"}))
    assert notes(index)[0] == "train, val, test: images/val is not there; left out"
    assert found(index) == {"images/train/a.jpg": [DOGS_BOX, DOGS_BOX]}
    said = [
        "line 1: unknown class 2; left out",
        "line 2: unknown class -1; left out",
        "line 3: unknown class 0.5; left out",
        "line 4: unknown class x; left out",
        "line 5: 3 values, neither a box (5) nor an outline of three or more points; left out",
        "line 6: 6 values, neither a box (5) nor an outline of three or more points; left out",
        "line 7 (dog): a coordinate is no number; left out",
        "line 8 (dog): it lies outside the picture; left out",
        "line 10 (dog): it has no area; left out",
        "line 11 (dog): its corners were swapped; put right",
    ]
    assert notes(index)[1:] == [f"labels/train/a.txt: {text}" for text in said]


def test_outlines_are_boxes_and_masks(tmp_path):
    outline = "1 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75\n"
    index = open_data(yolo(tmp_path, {"train/a": outline, "train/b": "", "val/c": DOG}))
    assert found(index)["images/train/a.jpg"] == [("cat", [6, 5, 18, 15])]
    whole, empty, without = index.samples
    expected = np.zeros((20, 24), int)
    expected[5:15, 6:18] = 1
    np.testing.assert_array_equal(load_mask(whole, ("background", "cat")), expected)
    assert load_mask(empty, ("background", "cat")).max() == 0
    assert without.mask is None


HALF = "1 0 0 0.5 0 0.5 0.5\n"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("1 .6 .6 .9 .6 .9", "line 2: 6 values, neither a box (5) nor an outline of three or more points; left out"),
        ("7 .6 .6 .9 .6 .9 .9", "line 2: unknown class 7; left out"),
        ("1 .6 .6 .9 .6 .9 nan", "line 2: a coordinate of the outline is no number; left out"),
        ("1 .6 .6 .9 .6 .9 x .8 .8", "line 2: a coordinate of the outline is no number; left out"),
        ("1 .5 .5 .2 .2", None),
        ("x", "line 2: unknown class x; left out"),
    ],
)
def test_a_picture_of_which_one_outline_is_missing_or_broken_has_no_mask(tmp_path, row, said):
    index = open_data(yolo(tmp_path, {"train/a": HALF + row + "\n", "train/b": HALF, "val/c": row}))
    broken, whole, alone = index.samples
    assert (broken.mask, alone.mask) == (None, None)
    assert load_mask(whole, ("background", "cat")).max() == 1
    assert len(broken.boxes.labels) == 1 + (said is None)
    end = "labels/train/a.txt: an outline is missing or broken; the picture is left without a mask"
    wanted = ([f"labels/train/a.txt: {said}"] if said else []) + [end]
    assert notes(index)[: len(wanted)] == wanted
    assert sum("without a mask" in text for text in notes(index)) == 1


def test_keypoints_after_the_box_are_passed_over(tmp_path):
    facts = NAMES + PARTS + "kpt_shape: [2, 2]\n"
    assert found(open_data(yolo(tmp_path, {"train/a": DOG.strip() + " 0.1 0.2 0.3 0.4\n"}, facts))) == {
        "images/train/a.jpg": [DOGS_BOX]
    }


def test_shares_are_of_the_upright_picture(tmp_path):
    yolo(tmp_path, {"train/a": DOG})
    (tmp_path / "images" / "train" / "a.jpg").write_bytes(turned(Image.new("RGB", (20, 24)), 6))
    assert found(open_data(tmp_path)) == {"images/train/a.jpg": [DOGS_BOX]}


def test_pictures_that_cannot_be_used_are_left_out(tmp_path):
    yolo(tmp_path, {"train/a": DOG, "train/b": DOG, "val/c": None})
    (tmp_path / "images" / "train" / "a.jpg").write_bytes(b"x")
    (tmp_path / "labels" / "train" / "b.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "labels" / "val").rmdir()
    write_picture(tmp_path / "images" / "train" / "d.jpg")
    yolo(tmp_path, {"train/e": DOG})
    index = open_data(tmp_path)
    assert found(index) == {"images/train/d.jpg": [], "images/train/e.jpg": [DOGS_BOX]}
    assert [(s.name, s.reason) for s in index.skipped] == [
        ("images/train/a.jpg", "not a picture in a known format, or broken"),
        ("images/train/b.jpg", "labels/train/b.txt: no UTF-8 text"),
        ("images/val/c.jpg", "there is no folder labels/val for its boxes"),
    ]


def test_pictures_without_any_file_of_boxes_are_no_yolo(tmp_path):
    with pytest.raises(DataError, match=r"no picture has a file of boxes; .*labels/train/a\.txt would be the first"):
        open_data(yolo(tmp_path, {"train/a": None}))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ("names: [dog\ntrain: x\n", "cannot be read as YAML"),
        ("names: []\ntrain: images/train\n", "nothing names the classes"),
        ("names: {dog: 0}\ntrain: images/train\n", "names must be a list of class names, or number: name"),
        ("names: [dog, [cat]]\ntrain: images/train\n", "names must be a list of class names"),
        ("names: !!python/object/apply:os.system ['true']\ntrain: images/train\n", None),
        ("- names\n- train\n", "must hold keys such as train, val and names"),
        ("names:" + "[" * 5000 + "\ntrain:\n", "cannot be read as YAML"),
        ('names: ["\\UFFFFFFFF", b]\ntrain: images/train\n', "cannot be read as YAML"),
        ('names: ["\\U00110000"]\ntrain: images/train\n', "cannot be read as YAML"),
        (f'names:\n  ? "{"9" * 5000}"\n  : dog\ntrain: images/train\n', "names must be a list of class names"),
        ("names: [dog]\nnames: [cat]\ntrain: images/train\n", "has the key names twice; keep one"),
        ("names: {1_0: dog}\ntrain: images/train\n", "names must be a list of class names"),
        ("names: {0: dog, 0: cat}\ntrain: images/train\n", "class 0 has two names, 'dog' and 'cat'; keep one"),
        ("names: {0: dog, 00: cat}\ntrain: images/train\n", "class 0 has two names, 'dog' and 'cat'; keep one"),
        ("names: [dog, cat, dog]\ntrain: images/train\n", "classes 0 and 2 are both named 'dog'; rename one"),
    ],
)
def test_a_broken_yaml_is_one_sentence_and_nothing_in_it_is_run(tmp_path, facts, said):
    yolo(tmp_path, {"train/a": DOG}, facts)
    if said is None:
        assert open_data(tmp_path / "data.yaml").kind == "boxes"
        return
    with pytest.raises(DataError, match=said) as caught:
        open_data(tmp_path / "data.yaml")
    assert "\n" not in str(caught.value)


def test_another_number_of_classes_than_there_are_names_is_noted(tmp_path):
    index = open_data(yolo(tmp_path, {"train/a": DOG}, "nc: 3\ntrain: images/train\n" + NAMES))
    assert notes(index) == [f"{tmp_path.name}: nc is 3, but 2 classes are named; the names count"]
    assert notes(open_data(yolo(tmp_path, {}, "nc: 2\ntrain: images/train\n" + NAMES))) == []


def test_references_do_not_multiply(tmp_path):
    bomb = "a: &a [x]\n" + "".join(
        f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert found(open_data(yolo(tmp_path, {"train/a": DOG}, bomb + NAMES + PARTS))) == {
        "images/train/a.jpg": [DOGS_BOX]
    }


def test_without_a_reader_of_yaml_the_extra_is_named(tmp_path, monkeypatch):
    yolo(tmp_path, {"train/a": DOG})
    real = builtins.__import__

    def missing(name: str, *more, **named):
        if name == "yaml":
            raise ImportError(name)
        return real(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingExtraError, match=r"reading YAML needs more packages: .*fieldmark\[detect\]"):
        open_data(tmp_path)


SHARE = st.floats(0, 1, width=32)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(SHARE, SHARE, SHARE, SHARE), max_size=5))
def test_boxes_written_as_yolo_come_back(tmp_path, corners):
    wanted = [sorted(c[:2]) + sorted(c[2:]) for c in corners]
    wanted = [(x0, y0, x1, y1) for x0, x1, y0, y1 in wanted if x1 - x0 > 1e-3 and y1 - y0 > 1e-3]
    text = "".join(f"0 {(a + c) / 2!r} {(b + d) / 2!r} {c - a!r} {d - b!r}\n" for a, b, c, d in wanted)
    index = open_data(yolo(tmp_path, {"train/a": text}, NAMES + "train: images/train\n"))
    expected = np.array(wanted).reshape(-1, 4) * [24, 20, 24, 20]
    np.testing.assert_allclose(index.samples[0].boxes.xyxy, expected, atol=1e-5)
    assert index.notes == ()


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=6), min_size=1, max_size=9))
def test_no_row_raises_anything(cells):
    assert isinstance(_row("line 1", cells, {0: "dog"}), str | tuple)
