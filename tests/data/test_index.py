import hashlib
import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.data import Index, fingerprint
from fieldmark.data.index import check_named, class_names
from fieldmark.errors import DataError
from fieldmark.types import Boxes, MaskFile, Outlines, Region, Sample

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


def test_the_fingerprint_of_data_without_boxes_and_masks_stays_what_it_was(tmp_path):
    (tmp_path / "a").write_bytes(b"xyz")
    rows = [["a", ["ash", "oak"], 3], ["b", ["elm"], -1]]
    known = hashlib.sha256("\n".join(json.dumps(row) for row in rows).encode()).hexdigest()
    samples = [Sample(tmp_path / "a", "a", ("ash", "oak")), Sample(tmp_path / "b", "b", ("elm",))]
    assert fingerprint(samples) == known


def test_the_fingerprint_sees_boxes_and_masks(tmp_path):
    (tmp_path / "m").write_bytes(b"xyz")
    (tmp_path / "n").write_bytes(b"xyzw")
    shape = np.array([[0, 0], [1, 0], [1, 1]], np.float32)
    truths = [
        {},
        {"boxes": Boxes(np.zeros((0, 4), np.float32), ())},
        {"boxes": Boxes(np.array([[0, 0, 1, 1]], np.float32), ("ash",))},
        {"boxes": Boxes(np.array([[0, 0, 1, 2]], np.float32), ("ash",))},
        {"boxes": Boxes(np.array([[0, 0, 1, 1]], np.float32), ("oak",))},
        {"mask": MaskFile(tmp_path / "m", ("a", "b"))},
        {"mask": MaskFile(tmp_path / "n", ("a", "b"))},
        {"mask": MaskFile(tmp_path / "m", ("b", "a"))},
        {"mask": MaskFile(tmp_path / "m", ("a", "b"), binary=True)},
        {"mask": Outlines()},
        {"mask": Outlines((3, 3), (Region("a", (shape,)),))},
        {"mask": Outlines((3, 3), (Region("a", (shape + 1,)),))},
        {"mask": Outlines((3, 3), (Region("b", (shape,)),))},
        {"mask": Outlines((3, 3), (Region("a", runs="abc"),))},
        {"mask": Outlines((3, 3), (Region("a", runs=(9,)),))},
    ]
    found = [fingerprint([sample("a", "ash", **truth)]) for truth in truths]
    assert len(set(found)) == len(truths)
    assert found == [fingerprint([sample("a", "ash", **truth)]) for truth in truths]


@pytest.mark.parametrize(("kind", "word"), [("boxes", "boxes"), ("mask", "masks")])
def test_data_of_another_kind_is_refused_where_names_are_needed(kind, word):
    with pytest.raises(DataError, match=f"x holds {word}, not one name a picture; give class folders or a table"):
        check_named(Index("x", (sample("a"),), kind=kind))
    check_named(Index("x", (sample("a"),)))
