from collections import Counter
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from fieldmark.data import open_data
from fieldmark.data.index import boxed
from fieldmark.errors import DataError
from tests.making import write_picture

HEADER = "path,label,xmin,ymin,xmax,ymax"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in "abc":
        write_picture(tmp_path / f"{name}.jpg", seed=ord(name))
    return tmp_path


def table(place: Path, text: str, name: str = "t.csv") -> Path:
    (place / name).write_text(text)
    return place / name


def found(index) -> dict[str, list]:
    return {s.name: list(zip(s.boxes.labels, s.boxes.xyxy.tolist(), strict=True)) for s in index.samples}


def notes(index) -> list[str]:
    return [f"{n.name}: {n.text}" for n in index.notes]


def test_rows_of_a_picture_are_its_boxes_wherever_they_stand(place):
    text = f"{HEADER}\na.jpg,dog,1,2,3.5,4\nb.jpg,cat,0,0,24,20\na.jpg,cat,5,6,7,8\nc.jpg,,,,,\n"
    index = open_data(table(place, text))
    assert found(index) == {
        "a.jpg": [("dog", [1, 2, 3.5, 4]), ("cat", [5, 6, 7, 8])],
        "b.jpg": [("cat", [0, 0, 24, 20])],
        "c.jpg": [],
    }
    assert [s.labels for s in index.samples] == [("cat", "dog"), ("cat",), ()]
    assert (index.kind, index.notes, index.skipped, index.splits) == ("boxes", (), (), Counter({"": 3}))


def test_tsv_parquet_and_labels_csv_of_a_folder_are_the_same(place):
    rows = [("a.jpg", "dog", 1, 2, 3, 4), ("a.jpg", "cat", 5, 6, 7, 8), ("b.jpg", None, None, None, None, None)]
    text = [",".join("" if v is None else str(v) for v in row) for row in [tuple(HEADER.split(",")), *rows]]
    first = open_data(table(place, "\n".join(text), "labels.csv"))
    parquet.write_table(
        pyarrow.table(dict(zip(HEADER.split(","), zip(*rows, strict=True), strict=True))), place / "t.parquet"
    )
    others = [
        open_data(table(place, "\n".join(text).replace(",", "\t"), "t.tsv")),
        open_data(place / "t.parquet"),
        open_data(place),
    ]
    for other in others:
        assert (found(other), other.kind) == (found(first), "boxes")


def test_split_and_group_are_of_the_picture(place):
    text = f"{HEADER},split,group\na.jpg,dog,1,2,3,4,train,g\nb.jpg,cat,0,0,9,9,test,h\na.jpg,dog,5,6,7,8,train,g\n"
    index = open_data(table(place, text))
    assert [(s.name, s.split, s.group) for s in index.samples] == [("a.jpg", "train", "g"), ("b.jpg", "test", "h")]
    with pytest.raises(DataError, match=r"a\.jpg has the split train in line 2 and test in line 4; write one"):
        open_data(table(place, text.replace("8,train", "8,test")))
    with pytest.raises(DataError, match=r"a\.jpg has the group g in line 2 and h in line 4; write one"):
        open_data(table(place, text.replace("8,train,g", "8,train,h")))


def test_broken_rows_are_noted_with_their_line(place):
    rows = [
        "a.jpg,dog,9,8,7,6",
        "a.jpg,dog,x,2,3,4",
        "a.jpg,dog,,,,",
        "a.jpg,,1,2,3,4",
        "a.jpg,dog,1,1,1,9",
        "a.jpg,dog,1,1,99,9",
    ]
    index = open_data(table(place, "\n".join([HEADER, *rows])))
    assert found(index) == {"a.jpg": [("dog", [7, 6, 9, 8]), ("dog", [1, 1, 24, 9])]}
    assert notes(index) == [
        "t.csv: line 5: a box without label; left out",
        "t.csv: line 2 (dog): its corners were swapped; put right",
        "t.csv: line 3 (dog): a coordinate is no number; left out",
        "t.csv: line 4 (dog): a coordinate is no number; left out",
        "t.csv: line 6 (dog): it has no area; left out",
        "t.csv: line 7 (dog): it reaches beyond the picture; cut to it",
    ]


def test_missing_and_broken_pictures_are_left_out_once(place):
    (place / "b.jpg").write_bytes(b"x")
    rows = ["none.jpg,dog,1,2,3,4", "none.jpg,dog,1,2,3,4", ",dog,1,2,3,4", "b.jpg,dog,1,2,3,4", "a.jpg,dog,1,2,3,4"]
    index = open_data(table(place, "\n".join([HEADER, *rows])))
    assert list(found(index)) == ["a.jpg"]
    assert [(s.name, s.reason) for s in index.skipped] == [
        ("none.jpg", "no such file"),
        ("line 4", "the row has no path"),
        ("b.jpg", "not a picture in a known format, or broken"),
    ]


def test_one_picture_under_two_names_is_one(place):
    (place / "link.jpg").symlink_to(place / "a.jpg")
    rows = ["a.jpg,dog,1,2,3,4", f"{place}/a.jpg,dog,2,2,3,4", "./a.jpg,dog,0,2,3,4", "link.jpg,cat,3,2,9,4"]
    (sample,) = open_data(table(place, "\n".join([HEADER, *rows]))).samples
    assert (sample.name, sample.boxes.labels) == ("a.jpg", ("dog", "dog", "dog", "cat"))


def test_shares_of_the_sides_are_refused(place):
    rows = ["a.jpg,dog,0.1,0.2,0.5,0.6", "b.jpg,cat,0,0,1,1", "b.jpg,cat,x,0,1,1", "c.jpg,,,,,"]
    with pytest.raises(DataError, match="every corner lies between 0 and 1, as shares of the sides do; give pixels"):
        open_data(table(place, "\n".join([HEADER, *rows])))
    (first, second) = open_data(table(place, "\n".join([HEADER, *rows[:2], "b.jpg,cat,0,0,2,1"]))).samples
    assert (len(first.boxes.labels), len(second.boxes.labels)) == (1, 2)


def test_a_table_without_any_number_names_the_first_row(place):
    rows = ['a.jpg,dog,"1,5","1,5","9,5","9,5"', 'b.jpg,dog,"1,5","1,5","9,5","9,5"']
    index = open_data(table(place, "\n".join([HEADER, *rows])))
    said = r"t\.csv has no boxes \(t\.csv: line 2 \(dog\): a coordinate is no number; left out\); mend them"
    with pytest.raises(DataError, match=said):
        boxed(index)
    with pytest.raises(DataError, match=r"t\.csv has no boxes; give a COCO, VOC or YOLO set or a table with a row for"):
        boxed(open_data(table(place, f"{HEADER}\na.jpg,,,,,\n")))


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("path,label,xmin,ymin,xmax", "there is no column ymax"),
        ("path,label,xmax,ymax", "there is no column xmin and no column ymin"),
        ("path,labels,xmin,ymin,xmax,ymax", "there is no column label"),
        ("path,label,x,y,w,h", "write xmin, ymin, xmax, ymax instead of x, y, w, h"),
        ("path,label,height,width,y,x", "write xmin, ymin, xmax, ymax instead of x, y, width, height"),
    ],
)
def test_columns_of_boxes_that_are_not_enough_are_named(place, header, said):
    numbers = ",".join("1234"[: header.count(",") - 1])
    rows = [f"{name}.jpg,{label},{numbers}" for name, label in ("a1", "b2", "a3")]
    index = open_data(table(place, "\n".join([header, *rows[:2]])))
    assert notes(index) == [f"t.csv: its boxes are not read: {said}"]
    with pytest.raises(
        DataError, match=rf"t\.csv has no boxes \(t\.csv: its boxes are not read: {said}\); give a COCO"
    ):
        boxed(index)
    with pytest.raises(DataError, match=f"in line 2 and .* in line 4; its boxes are not read: {said}$"):
        open_data(table(place, "\n".join([header, *rows])))


def test_columns_of_other_numbers_are_no_boxes(place):
    assert open_data(table(place, "path,label,width,height,x\na.jpg,dog,1,2,3\n")).notes == ()


def test_a_table_with_some_of_the_corners_is_one_of_labels(place):
    index = open_data(table(place, "path,label,xmin,ymin\na.jpg,dog,1,2\n"))
    assert (index.kind, index.samples[0].boxes, index.samples[0].label) == ("label", None, "dog")
