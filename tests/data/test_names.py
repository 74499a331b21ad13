import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.data import Index, Note, load_mask, mask_classes, names, open_data
from fieldmark.data.names import plain, with_plain_names
from fieldmark.errors import DataError
from fieldmark.types import Boxes, MaskFile, Outlines, Region, Sample
from tests.making import class_folders, write_picture

ODD = {
    "a\nb": "a b",
    " a\r\n b\x85c ": "a b c",
    "a\u2028b\u2029": "a b",
    "red\x1b[31m": "red [31m",
    "a\ud800": "a\ufffd",
    "\0": "\ufffd",
    "\ud83d\ude00": "😀",
    "\ud800a\udcff": "\ufffda\ufffd",
}


@pytest.mark.parametrize("name", ODD)
def test_odd_names_become_one_line_of_text(name):
    assert plain(name) == ODD[name]


@pytest.mark.parametrize("name", ["wild  cat", " a ", "雀", "🐦", "a\u00a0b", 'it\'s "this";', "e\u0301"])
def test_other_names_stay_as_they_are(name):
    assert plain(name) == name


@given(st.text(st.characters(), min_size=1))
def test_a_plain_name_can_be_written_and_stays_itself(name):
    found = plain(name)
    assert found.encode().decode() == found
    assert len(found.splitlines()) == 1
    assert found
    assert plain(found) == found


def sample(*labels: str, **more) -> Sample:
    return Sample(Path("/nowhere"), "a", labels, **more)


def test_every_place_of_a_name_is_mended_and_each_name_noted_once():
    shape = np.zeros((3, 2), np.float32)
    first = sample(
        "a\nb",
        "c",
        coarse="k\tl",
        boxes=Boxes(np.zeros((2, 4), np.float32), ("c", "a\nb")),
        mask=Outlines((2, 2), (Region("a\nb", (shape,)), Region("c", (shape,)))),
    )
    second = sample("a\nb", mask=MaskFile(Path("m"), ("c", "a\nb", "d\x85e")))
    index = with_plain_names(Index("x", (first, second), notes=(Note("f", "before"),)))
    one, two = index.samples
    assert (one.labels, one.coarse, one.boxes.labels) == (("a b", "c"), "k l", ("c", "a b"))
    assert [r.label for r in one.mask.regions] == ["a b", "c"]
    assert (two.labels, two.mask.names) == (("a b",), ("c", "a b", "d e"))
    assert [f"{n.name}: {n.text}" for n in index.notes] == [
        "f: before",
        r"classes: 'a\nb' is called 'a b'",
        r"classes: 'd\x85e' is called 'd e'",
        r"classes: 'k\tl' is called 'k l'",
    ]


def test_an_index_of_plain_names_is_the_very_same():
    index = Index("x", (sample("a b", "c"), sample()))
    assert with_plain_names(index) is index


@pytest.mark.parametrize("twins", [("a\nb", "a b"), ("x\ud800", "x\udfff")])
def test_two_classes_that_would_have_one_name_are_refused(twins):
    with pytest.raises(DataError, match="differ only in line breaks, control characters or what is no text") as caught:
        with_plain_names(Index("x", tuple(map(sample, twins))))
    assert str(caught.value).encode()


def test_notes_of_names_are_bounded(monkeypatch):
    monkeypatch.setattr(names, "MAX_NOTES", 2)
    index = with_plain_names(Index("x", tuple(sample(f"a\n{i}") for i in range(5))))
    assert [n.text for n in index.notes][2:] == ["3 more of the kind"]


def test_labels_of_a_table_folders_and_classes_txt_pass_by_here(tmp_path):
    write_picture(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text('path,label\na.png,"a\nb"\n')
    assert [s.label for s in open_data(tmp_path / "t.csv").samples] == ["a b"]
    folders = class_folders(tmp_path / "data", {"new\nline": 1, os.fsdecode(b"bird\xff"): 1})
    assert {s.label for s in open_data(folders).samples} == {"new line", "bird\ufffd"}
    (tmp_path / "classes.txt").write_text("sky\r\na\u2028b\r\n\x85c\x85d\r\n")
    (tmp_path / "m.csv").write_text("path,mask\na.png,a.png\n")
    assert open_data(tmp_path / "m.csv").samples[0].mask.names == ("sky", "a b", "c d")


def test_names_in_json_and_yaml_pass_by_here(tmp_path):
    pytest.importorskip("yaml")
    write_picture(tmp_path / "images" / "a.jpg")
    categories = [{"id": 1, "name": "a\ud800"}, {"id": 2, "name": "red\nmark"}]
    rows = [
        {"id": i, "image_id": 1, "category_id": i, "bbox": [1, 1, 9, 9], "segmentation": [[1, 1, 9, 1, 9, 9]]}
        for i in (1, 2)
    ]
    facts = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": rows, "categories": categories}
    (tmp_path / "x.json").write_text(json.dumps(facts))
    (found,) = open_data(tmp_path / "x.json").samples
    assert found.boxes.labels == ("a\ufffd", "red mark")
    classes = mask_classes([found])
    assert classes == ("background", "a\ufffd", "red mark")
    assert set(np.unique(load_mask(found, classes))) == {0, 2}
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 1 1\n1 0.5 0.5 1 1\n")
    (tmp_path / "data.yaml").write_text('names: ["a\\uD800", "red\\u2028mark"]\ntrain: images\n')
    assert open_data(tmp_path / "data.yaml").samples[0].boxes.labels == ("a\ufffd", "red mark")
