import csv
import os
import sys
from collections import Counter
from pathlib import Path

import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from fieldmark.data.index import Note, fingerprint
from fieldmark.data.sources.table import open_table
from fieldmark.errors import DataError, MissingExtraError
from fieldmark.types import MaskFile, Outlines
from tests.making import write_picture


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the pictures a.png to d.png."""
    for name in "abcd":
        write_picture(tmp_path / f"{name}.png")
    return tmp_path


def table(place: Path, text: str | bytes, name: str = "t.csv") -> Path:
    data = text.encode() if isinstance(text, str) else text
    (place / name).write_bytes(data)
    return place / name


def pairs(index) -> list[tuple[str, str]]:
    return [(s.name, s.label) for s in index.samples]


def reasons(index) -> list[tuple[str, str]]:
    return [(s.name, s.reason) for s in index.skipped]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("path,label\na.png,ash\nb.png,oak\n", "t.csv"),
        ("\ufeffpath,label\r\na.png,ash\r\nb.png,oak\r\n", "t.csv"),
        (" Path , LABEL \n a.png , ash \n\n  \nb.png,oak", "t.CSV"),
        ('"path","label"\n"a.png","ash"\n"b.png","oak"\n', "t.csv"),
        ("label\tpath\tnotes\nash\ta.png\tx\noak\tb.png\t\n", "t.tsv"),
        ("path,label\n./a.png,ash\n.//b.png,oak,,\n", "t.csv"),
    ],
)
def test_tables_as_programs_write_them_are_read(place, text, name):
    index = open_table(table(place, text, name))
    assert pairs(index) == [("a.png", "ash"), ("b.png", "oak")]
    assert not index.skipped
    assert [s.path.is_file() for s in index.samples] == [True, True]


def test_quoted_commas_and_quotes_and_line_breaks_are_kept(place):
    write_picture(place / "x,y.png")
    write_picture(place / "new\nline.png")
    text = 'path,label\n"x,y.png","Smith, ""John"""\n"new\nline.png",ash\n'
    assert pairs(open_table(table(place, text))) == [("x,y.png", 'Smith, "John"'), ("new\nline.png", "ash")]


@pytest.mark.parametrize("name", ["wild cat.png", "it's.png", "雀/雀.png", "🐦.png", "deep/er/a.png"])
def test_paths_may_hold_anything(place, name):
    write_picture(place / name)
    assert pairs(open_table(table(place, f"path,label\n{name},ash\n"))) == [(name, "ash")]


def test_paths_of_windows_are_found(place):
    write_picture(place / "deep" / "x.png")
    index = open_table(table(place, "path,label\ndeep\\x.png,ash\n"))
    assert pairs(index) == [("deep/x.png", "ash")]
    assert index.samples[0].path.is_file()


def test_absolute_paths_are_found(place, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    assert pairs(open_table(table(other, f"path,label\n{place}/a.png,ash\n"))) == [(f"{place}/a.png", "ash")]


def test_all_known_columns_are_used_and_empty_cells_are_none(place):
    text = "path,label,split,group,coarse,mask,x\na.png,ash,train,g1,tree,m.png,?\nb.png,oak,,,,,\n"
    first, second = open_table(table(place, text)).samples
    mask = MaskFile(place / "m.png", ("background", "ash"), binary=True)
    assert (first.split, first.group, first.coarse, first.mask) == ("train", "g1", "tree", mask)
    assert (second.split, second.group, second.coarse) == (None, None, None)


def test_several_labels_are_separated_by_semicolons(place):
    index = open_table(table(place, "path,labels\na.png,oak; ash;;oak\nb.png,elm\n"))
    assert [s.labels for s in index.samples] == [("ash", "oak"), ("elm",)]


def test_rows_that_cannot_be_used_are_left_out_and_listed(place):
    text = "path,label\na.png,ash\nmissing.png,ash\n,ash\nb.png,\nc.png\n"
    index = open_table(table(place, text))
    assert pairs(index) == [("a.png", "ash")]
    assert reasons(index) == [
        ("missing.png", "no such file"),
        ("line 4", "the row has no path"),
        ("b.png", "the row has no label"),
        ("c.png", "the row has no label"),
    ]


@pytest.mark.parametrize("name", ["x" * 5000, "x" * 300, "a.png/b.png", "a\0.png"])
def test_a_path_that_cannot_be_is_listed(place, name):
    index = open_table(table(place, f"path,label\n{name},ash\na.png,ash\n"))
    assert pairs(index) == [("a.png", "ash")]
    assert index.skipped[0].reason in ("no such file", "the row has no path")


def test_folders_pipes_and_dangling_links_are_no_pictures(place):
    (place / "dir.png").mkdir()
    os.mkfifo(place / "pipe.png")
    (place / "link.png").symlink_to(place / "nowhere")
    index = open_table(table(place, "path,label\ndir.png,ash\npipe.png,ash\nlink.png,ash\n"))
    assert Counter(s.reason for s in index.skipped) == {"no such file": 3}


def test_a_path_given_twice_alike_counts_once(place):
    index = open_table(table(place, "path,label\na.png,ash\n./a.png,ash\na.png,ash\n"))
    assert pairs(index) == [("a.png", "ash")]
    assert reasons(index) == [("a.png", "line 3 repeats line 2"), ("a.png", "line 4 repeats line 2")]


def test_a_path_with_two_labels_is_refused(place):
    with pytest.raises(DataError, match=r"a\.png is .*ash.* in line 2 and .*oak.* in line 4; keep one row"):
        open_table(table(place, "path,label\na.png,ash\nb.png,oak\na.png,oak\n"))


def test_a_path_in_two_splits_is_refused(place):
    with pytest.raises(DataError, match="train in line 2 and test in line 3; keep one row"):
        open_table(table(place, "path,label,split\na.png,ash,train\na.png,ash,test\n"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "none"),
        ("\n", "none"),
        ("path\na.png\n", "path"),
        ("file,label\na,b\n", "file, label"),
        ("a.png,ash\n", "a"),
    ],
)
def test_missing_columns_are_named(place, text, found):
    with pytest.raises(DataError, match=rf"needs the columns path and label \(or labels, or target\); found: {found}"):
        open_table(table(place, text))


def test_more_cells_than_columns_are_refused_with_the_line(place):
    with pytest.raises(DataError, match="line 3 has 3 cells, but the header 2; put quotes around"):
        open_table(table(place, "path,label\na.png,ash\nb.png,Smith, John\n"))


@pytest.mark.parametrize("data", [b"path,label\na.png,\xe9\n", "path,label\na.png,ash\n".encode("utf-16")])
def test_text_that_is_no_utf_8_is_refused(place, data):
    with pytest.raises(DataError, match="is not UTF-8 text; save the table as UTF-8"):
        open_table(table(place, data))


def test_a_huge_field_is_refused(place):
    with pytest.raises(DataError, match="line 2 has a cell of more than 131,072 characters; leave its column out"):
        open_table(table(place, f"path,label\na.png,{'x' * 200_000}\n"))


@pytest.mark.parametrize("end", ["", 'z.png,"elm"\n', 'z.png,elm"\n'])
def test_a_quote_that_is_never_closed_swallows_no_rows(place, end):
    rows = "".join(f"{name}.png,x\n" for name in "bcd" * 10)
    with pytest.raises(DataError, match=r"t\.csv: a quote in line 3 is not closed within 10 lines; close it"):
        open_table(table(place, f'path,label\na.png,x\n"a.png,x\n{rows}{end}'))


def test_a_quote_open_at_the_end_of_the_file_is_refused(place):
    with pytest.raises(DataError, match="a quote in line 3 is not closed"):
        open_table(table(place, 'path,label\na.png,x\nb.png,"oak\n'))


def test_quotes_that_do_not_match_are_refused_with_the_line(place):
    with pytest.raises(DataError, match=r"the quotes in line 2 do not match .*; double a quote inside quotes"):
        open_table(table(place, 'path,label\na.png,"a "tree" of"\n'))


@pytest.mark.parametrize("header", ["path,label,label", "path,label,path", "path,Label,label ", "path,label,mask,mask"])
def test_a_column_twice_is_refused(place, header):
    with pytest.raises(DataError, match="has more than one column"):
        open_table(table(place, header + "\na.png,ash,oak,\n"))


def test_other_columns_may_have_one_name(place):
    assert pairs(open_table(table(place, "path,label,,,x,x\na.png,ash,1,2,3,4\n"))) == [("a.png", "ash")]


def test_a_file_with_two_labels_under_two_names_is_refused(place):
    (place / "link.png").symlink_to("a.png")
    for other in (f"{place}/a.png", "link.png", "../" + place.name + "/a.png"):
        with pytest.raises(DataError, match=r"\(the same file as a\.png\) is .*ash.* in line 2 and .*oak.* in line 3"):
            open_table(table(place, f"path,label\na.png,ash\n{other},oak\n"))
        index = open_table(table(place, f"path,label\na.png,ash\n{other},ash\n"))
        assert reasons(index) == [(index.skipped[0].name, "line 3 repeats line 2")]


def test_hard_links_are_files_of_their_own(place):
    (place / "twin.png").hardlink_to(place / "a.png")
    assert pairs(open_table(table(place, "path,label\na.png,ash\ntwin.png,oak\n"))) == [
        ("a.png", "ash"),
        ("twin.png", "oak"),
    ]


def test_nul_bytes_never_crash(place):
    index = open_table(table(place, b"path,label\n\0\0,ash\na.png,ash\n"))
    assert pairs(index) == [("a.png", "ash")]


def test_too_many_rows_are_refused(place, monkeypatch):
    monkeypatch.setattr("fieldmark.data.sources.table.MAX_ROWS", 2)
    with pytest.raises(DataError, match="more than 2 rows; split it into several tables"):
        open_table(table(place, "path,label\na.png,x\nb.png,x\nc.png,x\n"))


def test_an_unreadable_table_is_refused(place, monkeypatch):
    path = table(place, "path,label\n")

    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"cannot be read as a table: .*Permission denied"):
        open_table(path)


def test_numbers_and_missing_values_of_parquet_are_read(place):
    columns = {
        "Path": ["a.png", "b.png", "c.png", None],
        "label": pyarrow.array([1, 2, None, 3], pyarrow.int64()),
        "group": [7, 8, 9, 9],
        "split": [None, "train", "train", "train"],
    }
    parquet.write_table(pyarrow.table(columns), place / "t.parquet")
    index = open_table(place / "t.parquet")
    assert pairs(index) == [("a.png", "1"), ("b.png", "2")]
    assert [(s.group, s.split) for s in index.samples] == [("7", None), ("8", "train")]
    assert reasons(index) == [("c.png", "the row has no label"), ("line 4", "the row has no path")]


def test_lists_of_labels_in_parquet_are_labels(place):
    columns = {"path": ["a.png", "b.png"], "labels": [["oak", "ash"], []]}
    parquet.write_table(pyarrow.table(columns), place / "t.parquet")
    index = open_table(place / "t.parquet")
    assert [s.labels for s in index.samples] == [("ash", "oak"), ()]


def test_an_empty_cell_of_labels_says_that_there_are_none(place):
    index = open_table(table(place, "path,labels\na.png,oak\nb.png,\n"))
    assert index.kind == "labels"
    assert [s.labels for s in index.samples] == [("oak",), ()]


def test_a_target_is_a_number_and_rows_without_one_are_left_out(place):
    index = open_table(table(place, "path,target\na.png,1.5\nb.png,-2e3\nc.png,many\nd.png,nan\n"))
    assert index.kind == "target"
    assert [s.target for s in index.samples] == [1.5, -2000]
    assert reasons(index) == [("c.png", "its target is no number"), ("d.png", "its target is no number")]


def test_beside_a_label_a_target_may_be_missing(place):
    index = open_table(table(place, "path,label,target\na.png,oak,3\nb.png,ash,\n"))
    assert index.kind == "label"
    assert [(s.label, s.target) for s in index.samples] == [("oak", 3.0), ("ash", None)]


def test_targets_are_part_of_the_fingerprint(place):
    prints = [fingerprint(open_table(table(place, f"path,target\na.png,{n}\n")).samples) for n in (1, 2)]
    assert prints[0] != prints[1]


def test_parquet_in_a_folder_named_as_a_partition_is_read_as_it_is(place):
    write_picture(place / "split=test" / "a.png")
    parquet.write_table(pyarrow.table({"path": ["a.png"], "label": ["ash"]}), place / "split=test" / "t.parquet")
    assert open_table(place / "split=test" / "t.parquet").samples[0].split is None


def test_parquet_without_the_columns_or_broken_is_refused(place):
    parquet.write_table(pyarrow.table({"file": ["a.png"]}), place / "t.parquet")
    with pytest.raises(DataError, match="found: file"):
        open_table(place / "t.parquet")
    for data in (b"", b"PAR1", b"not parquet at all"):
        with pytest.raises(DataError, match="cannot be read as Parquet"):
            open_table(table(place, data, "t.parquet"))


def test_nan_in_parquet_is_missing(place):
    columns = {"path": ["a.png", "b.png"], "label": [float("nan"), 2.5]}
    parquet.write_table(pyarrow.table(columns), place / "t.parquet")
    index = open_table(place / "t.parquet")
    assert pairs(index) == [("b.png", "2.5")]
    assert reasons(index) == [("a.png", "the row has no label")]


ODD = {
    "no utf-8": pyarrow.array([b"\xff", b"b"]).view(pyarrow.utf8()),
    "far date": pyarrow.array([2**62, 0], pyarrow.timestamp("us")),
    "time zone": pyarrow.array([0, 1], pyarrow.timestamp("s", "No/Where")),
    "struct": pyarrow.array([{"a": 1}, {"a": 2}]),
    "lists": pyarrow.array([["ash"], ["oak"]]),
}


@pytest.mark.parametrize("kind", ODD)
def test_labels_in_parquet_that_are_no_text_are_refused_in_one_sentence(place, kind):
    parquet.write_table(pyarrow.table({"path": ["a.png", "b.png"], "label": ODD[kind]}), place / "t.parquet")
    with pytest.raises(DataError, match=r"t\.parquet: the column label .* as text") as caught:
        open_table(place / "t.parquet")
    assert "\n" not in str(caught.value)


def test_columns_of_parquet_that_nobody_asked_for_are_not_read(place):
    columns = {"path": ["a.png", "b.png"], "label": ["ash", "oak"], "seen": ODD["far date"], "more": ODD["struct"]}
    parquet.write_table(pyarrow.table(columns), place / "t.parquet")
    assert pairs(open_table(place / "t.parquet")) == [("a.png", "ash"), ("b.png", "oak")]


def test_bytes_in_parquet_are_file_names(place):
    odd = os.fsdecode(b"odd\xff.png")
    write_picture(place / odd)
    columns = {"path": pyarrow.array([b"odd\xff.png", b"a.png"]), "label": pyarrow.array([b"ash", b"oak"])}
    parquet.write_table(pyarrow.table(columns), place / "t.parquet")
    assert pairs(open_table(place / "t.parquet")) == [(odd, "ash"), ("a.png", "oak")]


def test_a_column_of_parquet_twice_is_refused(place):
    names = ["path", "label", "Label"]
    parquet.write_table(pyarrow.table([["a.png"], ["ash"], ["oak"]], names), place / "t.parquet")
    with pytest.raises(DataError, match="more than one column label"):
        open_table(place / "t.parquet")


def test_parquet_without_pyarrow_says_what_to_install(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"fieldmark\[table\]"):
        open_table(table(place, b"PAR1", "t.parquet"))


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1, max_size=6).map(str.strip)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CELLS.filter(bool), min_size=4, max_size=4), st.sampled_from([",", "\t"]))
def test_labels_come_back_as_the_csv_module_wrote_them(place, labels, delimiter):
    path = place / ("t.csv" if delimiter == "," else "t.tsv")
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter)
        writer.writerow(("path", "label"))
        writer.writerows(zip(("a.png", "b.png", "c.png", "d.png"), labels, strict=True))
    assert [s.label for s in open_table(path).samples] == labels


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=80))
def test_random_bytes_after_a_header_give_an_index_or_a_data_error(place, data):
    path = table(place, b"path,label\n" + data)
    try:
        assert all(s.path.is_file() for s in open_table(path).samples)
    except DataError as error:
        assert "\n" not in str(error)  # noqa: PT017


def test_binary_masks_mark_what_the_label_says_and_sound_pictures_need_none(place):
    text = "path,label,mask\na.png,crack,c.png\nb.png,free,\nc.png,crack,\nd.png,crack,none.png\n"
    index = open_table(table(place, text))
    marked, free, unknown, missing = (s.mask for s in index.samples)
    assert marked == MaskFile(place / "c.png", ("background", "crack"), binary=True)
    assert (free, unknown) == (Outlines(), None)
    assert missing.path == place / "none.png"
    assert (index.kind, index.notes) == ("label", (Note("t.csv", "line 5: the mask none.png is not there"),))


def test_masks_without_a_label_are_what_is_learned(place):
    index = open_table(table(place, "path,mask\na.png,b.png\nc.png,\n"))
    (sample,) = index.samples
    assert (index.kind, sample.labels) == ("mask", ())
    assert sample.mask == MaskFile(place / "b.png", ("background", "foreground"), binary=True)
    assert reasons(index) == [("c.png", "the row has no mask")]


def test_classes_txt_beside_a_table_of_masks_names_their_numbers(place):
    (place / "classes.txt").write_text("sky\ngrass\n")
    index = open_table(table(place, "path,label,mask\na.png,day,b.png\nc.png,night,\n"))
    assert [s.mask for s in index.samples] == [MaskFile(place / "b.png", ("sky", "grass")), None]
    assert open_table(table(place, "path,label\na.png,day\n")).samples[0].mask is None


def test_several_labels_do_not_name_a_mask(place):
    index = open_table(table(place, "path,labels,mask\na.png,ash;oak,b.png\n"))
    assert index.samples[0].mask.names == ("background", "foreground")
