import json
import os

import numpy as np
import pytest

from fieldmark.data import open_data
from fieldmark.data.sources import FOLDERS, NAMED
from fieldmark.errors import DataError
from tests.making import class_folders, encoded, write_picture


def test_a_folder_and_a_table_of_it_hold_the_same_pictures(tmp_path):
    folder = open_data(class_folders(tmp_path / "data", {"ash": 2, "oak": 1}))
    rows = "".join(f"data/{s.name},{s.label}\n" for s in folder.samples)
    (tmp_path / "t.csv").write_text("path,label\n" + rows)
    listed = open_data(str(tmp_path / "t.csv"))
    assert [(s.path, s.labels) for s in listed.samples] == [(s.path, s.labels) for s in folder.samples]


@pytest.mark.parametrize("name", ["missing.csv", "no/such/place", "x" * 5000, "a/b\0c"])
def test_what_is_not_there_says_what_to_give(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="no such file or folder"):
        open_data(name)


def test_an_empty_name_is_not_the_current_folder(tmp_path, monkeypatch):
    class_folders(tmp_path, {"ash": 1})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="DATA is empty; give a folder"):
        open_data("")
    assert len(open_data(".").samples) == 1


def test_a_misspelt_name_gets_the_near_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="did you mean field-guide"):
        open_data("field-gide")


def test_a_folder_of_a_known_name_goes_before_the_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    class_folders(tmp_path / "field-guide", {"ash": 1})
    assert len(open_data("field-guide").samples) == 1


def test_a_file_of_another_kind_is_no_table(tmp_path):
    with pytest.raises(DataError, match="is no table; give a folder of class folders or a"):
        open_data(write_picture(tmp_path / "a.png"))


def test_a_pipe_named_as_a_table_is_not_waited_for(fifo):
    with pytest.raises(DataError, match="no such file or folder"):
        open_data(fifo("t.csv"))


def test_a_table_without_a_usable_row_gives_the_first_reason(tmp_path):
    (tmp_path / "t.csv").write_text("path,label\nx.png,ash\ny.png,ash\n")
    with pytest.raises(
        DataError, match=r"no usable labelled picture \(the first of 2 left out: x\.png: no such file\)"
    ):
        open_data(tmp_path / "t.csv")


def test_a_table_without_rows_says_what_to_give(tmp_path):
    (tmp_path / "t.csv").write_text("path,label\n")
    with pytest.raises(DataError, match="no usable labelled picture; give"):
        open_data(tmp_path / "t.csv")


def test_no_message_has_more_than_one_line(tmp_path):
    place = tmp_path / os.fsdecode(b"odd\xff")
    place.mkdir()
    for data in (place, place / "none", place / "t.csv"):
        with pytest.raises(DataError) as caught:
            open_data(data)
        assert "\n" not in str(caught.value)


def test_every_known_name_is_a_row_of_the_table():
    assert "field-guide" in NAMED
    assert all(callable(opened) for opened in NAMED.values())


def layout(root, form):
    """A folder in each form that is recognised, as small as can be."""
    picture = write_picture(root / {"voc": "JPEGImages", "coco": "train"}.get(form, "images") / "a.jpg")
    if form == "voc":
        (root / "Annotations").mkdir()
        (root / "Annotations" / "a.xml").write_text("<annotation/>")
    elif form == "coco":
        (root / "annotations").mkdir()
        rows = {"images": [{"id": 1, "file_name": picture.name}], "annotations": [], "categories": []}
        (root / "annotations" / "instances_train.json").write_text(json.dumps(rows))
    elif form == "yolo":
        (root / "labels").mkdir()
        (root / "labels" / "a.txt").write_text("")
        (root / "classes.txt").write_text("dog\n")
    else:
        write_picture(root / "masks" / "a.jpg")
        (root / "masks" / "a.jpg").write_bytes(encoded(np.zeros((20, 24), np.uint8), "JPEG"))
    return root


@pytest.mark.parametrize("form", FOLDERS)
def test_a_folder_in_a_known_form_is_recognised_and_a_table_in_it_goes_first(tmp_path, form):
    root = layout(tmp_path, form)
    assert [name for name, (fits, _) in FOLDERS.items() if fits(root)] == [form]
    index = open_data(root)
    assert (index.kind, len(index.samples)) == ("mask" if form == "masks" else "boxes", 1)
    (root / "labels.csv").write_text(f"path,label\n{index.samples[0].name},ash\n")
    assert [s.label for s in open_data(root).samples] == ["ash"]


@pytest.mark.parametrize(
    "names",
    [("images", "labels"), ("JPEGImages", "Annotations"), ("images", "annotations"), ("train", "val"), ("ash", "oak")],
)
def test_class_folders_of_any_name_are_none_of_these(tmp_path, names):
    class_folders(tmp_path, dict.fromkeys(names, 2))
    (tmp_path / "dataset.yaml").write_text("title: trees\n")
    (tmp_path / "classes.txt").write_text("ash\n")
    assert not [name for name, (fits, _) in FOLDERS.items() if fits(tmp_path)]


def test_reading_annotations_tells_how_far_it_is(tmp_path):
    told = []
    open_data(layout(tmp_path, "voc"), lambda *said: told.append(said))
    assert told == [("reading annotations", 1, 1)]
