import os
from collections import Counter
from pathlib import Path

import pytest

from fieldmark.data import open_data
from fieldmark.data.index import class_names
from fieldmark.data.sources.folder import open_folder
from fieldmark.errors import DataError, UsageError
from tests.making import class_folders, write_picture


def names(index) -> list[str]:
    return [s.name for s in index.samples]


def test_class_folders_are_the_classes(tmp_path):
    index = open_folder(class_folders(tmp_path, {"oak": 2, "ash": 1}))
    assert names(index) == ["ash/000.png", "oak/000.png", "oak/001.png"]
    assert [s.label for s in index.samples] == ["ash", "oak", "oak"]
    assert {s.split for s in index.samples} == {None}
    assert all(s.path.is_file() for s in index.samples)


def test_pictures_deeper_down_belong_to_the_outermost_folder(tmp_path):
    write_picture(tmp_path / "ash" / "day 1" / "x.jpg")
    write_picture(tmp_path / "oak" / "x.jpg")
    assert [(s.name, s.label) for s in open_folder(tmp_path).samples] == [
        ("ash/day 1/x.jpg", "ash"),
        ("oak/x.jpg", "oak"),
    ]


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_folders_of_parts_are_the_splits(tmp_path, val):
    for part in ("train", val, "test"):
        class_folders(tmp_path / part, {"ash": 1, "oak": 2})
    (tmp_path / "notes").mkdir()
    index = open_folder(tmp_path)
    assert index.splits == Counter(train=3, val=3, test=3)
    assert {s.label for s in index.samples} == {"ash", "oak"}
    assert f"{val}/ash/000.png" in names(index)


def test_a_class_missing_from_one_part_keeps_the_other_classes_in_place(tmp_path):
    class_folders(tmp_path / "train", {"ash": 1, "elm": 1, "oak": 1})
    class_folders(tmp_path / "test", {"elm": 1, "oak": 1})
    assert [s.label for s in open_folder(tmp_path).part("test")] == ["elm", "oak"]


def test_a_test_folder_alone_is_a_part_and_no_class(tmp_path):
    class_folders(tmp_path / "test", {"ash": 1, "oak": 1})
    index = open_folder(tmp_path)
    assert index.splits == Counter(test=2)
    assert {s.label for s in index.samples} == {"ash", "oak"}


def test_a_class_named_test_among_others_is_a_class(tmp_path):
    index = open_folder(class_folders(tmp_path, {"test": 1, "ash": 1}))
    assert {s.label for s in index.samples} == {"ash", "test"}


@pytest.mark.parametrize("name", ["wild cat", 'it\'s "this"', "雀", "🐦", "new\nline", "semi;colon", "comma,"])
def test_class_names_may_hold_anything_a_folder_may(tmp_path, name):
    index = open_folder(class_folders(tmp_path, {name: 1, "other": 1}))
    assert {s.label for s in index.samples} == {name, "other"}


def test_names_that_are_no_utf_8_are_classes_too(tmp_path):
    name = os.fsdecode(b"bird\xff")
    assert {s.label for s in open_folder(class_folders(tmp_path, {name: 1})).samples} == {name}


def test_class_folders_that_differ_only_in_case_are_refused_by_their_names(tmp_path):
    index = open_folder(class_folders(tmp_path, {"Ash": 1, "ash": 1}))
    with pytest.raises(DataError, match="differ only in case"):
        class_names(index.samples)


def test_one_class_opens(tmp_path):
    assert len(open_data(class_folders(tmp_path, {"ash": 3})).samples) == 3


@pytest.mark.parametrize("where", ["pics", "", "train/pics"])
def test_a_table_beside_one_folder_of_pictures_is_pointed_at(tmp_path, where):
    write_picture(tmp_path / where / "1.png")
    (tmp_path / "boxes.csv").write_text(f"path,label,xmin,ymin,xmax,ymax\n{where or '.'}/1.png,ash,1,1,9,9\n")
    said = r"(one|no) class folders?.*, but there is a table boxes\.csv; give .*boxes\.csv as DATA"
    with pytest.raises(DataError, match=said) as caught:
        open_data(tmp_path)
    assert ("holds no class folders" in str(caught.value)) == (where == "")
    assert open_data(tmp_path / "boxes.csv").kind == "boxes"


def test_other_tables_and_several_class_folders_are_class_folders(tmp_path):
    class_folders(tmp_path, {"ash": 2})
    (tmp_path / "notes.csv").write_text("day,who\n1,2\n")
    (tmp_path / "broken.csv").write_bytes(b"path,label\n\xff")
    (tmp_path / "broken.parquet").write_bytes(b"x")
    (tmp_path / "none.csv").mkdir()
    assert len(open_data(tmp_path).samples) == 2
    (tmp_path / "labels2.csv").write_text("path,label\nash/000.png,ash\n")
    class_folders(tmp_path, {"oak": 1})
    assert len(open_data(tmp_path).samples) == 3


def test_hidden_and_empty_folders_are_passed_by(tmp_path):
    class_folders(tmp_path, {"ash": 1, ".cache": 1})
    (tmp_path / "empty").mkdir()
    assert names(open_folder(tmp_path)) == ["ash/000.png"]


def test_a_folder_linked_into_itself_is_no_class(tmp_path):
    class_folders(tmp_path / "data", {"ash": 1, "oak": 1})
    (tmp_path / "data" / "loop").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "above").symlink_to(tmp_path)
    (tmp_path / "data" / "ash" / "back").symlink_to(tmp_path / "data" / "ash")
    assert names(open_folder(tmp_path / "data")) == ["ash/000.png", "oak/000.png"]


def test_a_class_folder_may_be_a_link(tmp_path):
    class_folders(tmp_path / "elsewhere", {"pictures": 2})
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "ash").symlink_to(tmp_path / "elsewhere" / "pictures")
    assert names(open_folder(tmp_path / "data")) == ["ash/000.png", "ash/001.png"]


def test_dangling_links_and_pipes_are_listed_without_being_opened(tmp_path):
    class_folders(tmp_path, {"ash": 1})
    (tmp_path / "ash" / "gone.jpg").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "ash" / "pipe.jpg")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    assert names(open_folder(tmp_path)) == ["ash/000.png", "ash/gone.jpg", "ash/pipe.jpg"]


def test_labels_csv_in_the_folder_is_used(tmp_path):
    write_picture(tmp_path / "a" / "1.png")
    (tmp_path / "labels.csv").write_text("path,label\na/1.png,ash\n")
    index = open_folder(tmp_path)
    assert [(s.name, s.label) for s in index.samples] == [("a/1.png", "ash")]
    assert index.source == str(tmp_path)


def test_an_empty_folder_says_what_to_give(tmp_path):
    with pytest.raises(DataError, match="holds no pictures; give a folder with one folder of pictures a class"):
        open_folder(tmp_path)


def test_pictures_without_class_folders_say_what_to_do(tmp_path):
    write_picture(tmp_path / "1.png")
    with pytest.raises(DataError, match="put the pictures of each class into a folder named after it"):
        open_folder(tmp_path)


def test_empty_parts_say_what_to_give(tmp_path):
    for part in ("train", "test"):
        (tmp_path / part / "ash").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no pictures"):
        open_folder(tmp_path)


@pytest.fixture
def locked(monkeypatch):
    """Makes folders unreadable, for root too."""
    shut: set[Path] = set()
    listed = Path.iterdir

    def refuse(self: Path):
        if self in shut:
            raise PermissionError(13, "Permission denied", str(self))
        return listed(self)

    monkeypatch.setattr(Path, "iterdir", refuse)
    return shut.add


def test_a_folder_deep_down_that_cannot_be_read_is_left_out_in_one_line(tmp_path, locked):
    class_folders(tmp_path, {"ash": 1, "oak": 1})
    write_picture(tmp_path / "ash" / "day 1" / "x.png")
    locked(tmp_path / "ash" / "day 1")
    index = open_data(tmp_path)
    assert names(index) == ["ash/000.png", "oak/000.png"]
    (left,) = index.skipped
    assert (left.name, left.reason) == ("ash/day 1", "the folder cannot be read: Permission denied")


def test_a_part_that_cannot_be_read_or_nothing_left_is_an_error(tmp_path, locked):
    class_folders(tmp_path / "parts" / "train", {"ash": 1, "oak": 1})
    locked(tmp_path / "parts" / "train")
    with pytest.raises(UsageError, match="train cannot be read: Permission denied"):
        open_data(tmp_path / "parts")
    class_folders(tmp_path / "data", {"ash": 1})
    locked(tmp_path / "data" / "ash")
    with pytest.raises(DataError, match="the first of 1 left out: ash: the folder cannot be read"):
        open_data(tmp_path / "data")
