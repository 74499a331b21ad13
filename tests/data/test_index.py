import hashlib
import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.data import Index, fingerprint
from fieldmark.data.index import class_names
from fieldmark.errors import DataError
from fieldmark.types import Sample

TEXT = st.text(st.characters(codec="utf-8"), max_size=4)


def sample(name: str, *labels: str, **more) -> Sample:
    return Sample(Path("/nowhere") / name.replace("\0", ""), name, labels, **more)


def test_parts_and_their_sizes_come_from_the_samples():
    index = Index("x", (sample("a", "ash", split="train"), sample("b", "oak", split="test"), sample("c", "oak")))
    assert [s.name for s in index.part("test")] == ["b"]
    assert index.splits == Counter({"train": 1, "test": 1, "": 1})


def test_coarse_labels_are_collected():
    index = Index("x", (sample("a", "ash", coarse="tree"), sample("b", "oak", coarse="tree"), sample("c", "elm")))
    assert index.coarse_of == {"ash": "tree", "oak": "tree"}


def test_two_coarse_labels_of_one_label_are_refused():
    index = Index("x", (sample("a", "ash", coarse="tree"), sample("b", "ash", coarse="shrub")))
    with pytest.raises(DataError, match="'ash' has two coarse labels, 'tree' and 'shrub'; keep one"):
        _ = index.coarse_of


def test_classes_are_in_order_of_name():
    assert class_names([sample("1", "oak"), sample("2", "ash", "elm"), sample("3", "oak")]) == ("ash", "elm", "oak")


@pytest.mark.parametrize(("a", "b"), [("Ash", "ash"), ("STRASSE", "straße"), ("Éclair", "éclair")])
def test_classes_that_differ_only_in_case_are_refused(a, b):
    with pytest.raises(DataError, match="differ only in case; rename one or merge them"):
        class_names([sample("1", a), sample("2", b)])


ROWS = st.lists(st.tuples(TEXT, st.lists(TEXT, max_size=3).map(tuple)), max_size=6)


@given(ROWS, st.randoms())
def test_the_fingerprint_does_not_depend_on_order(rows, rng):
    samples = [sample(name, *labels) for name, labels in rows]
    shuffled = list(samples)
    rng.shuffle(shuffled)
    assert fingerprint(samples) == fingerprint(shuffled)


@given(ROWS, ROWS)
def test_different_data_have_different_fingerprints(a, b):
    same = Counter(a) == Counter(b)
    assert (fingerprint(sample(n, *s) for n, s in a) == fingerprint(sample(n, *s) for n, s in b)) == same


def test_separators_in_names_and_labels_do_not_make_two_data_sets_one():
    pairs = [
        ([sample("a", "x;y")], [sample("a", "x", "y")]),
        ([sample("a\nb", "x")], [sample("a", "x"), sample("b", "x")]),
        ([sample("a\0x", "y")], [sample("a", "x\0y")]),
    ]
    for a, b in pairs:
        assert fingerprint(a) != fingerprint(b)


def test_the_fingerprint_sees_a_changed_size_but_no_place(tmp_path):
    found = []
    for folder, data in (("one", b"x"), ("two", b"x"), ("three", b"xy")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a").write_bytes(data)
        found.append(fingerprint([Sample(tmp_path / folder / "a", "a", ("ash",))]))
    assert found[0] == found[1] != found[2]


def test_a_fingerprint_is_a_sha_256_even_of_names_that_are_no_utf_8():
    value = fingerprint([sample(os.fsdecode(b"bird\xff.jpg"), "ash")])
    assert len(value) == len(hashlib.sha256().hexdigest())
    assert int(value, 16) >= 0
