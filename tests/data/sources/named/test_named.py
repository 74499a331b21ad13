"""Every named set opens from its official layout: splits, classes, and what is missing."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fieldmark.data import open_data, split
from fieldmark.data.index import class_names, fingerprint
from fieldmark.data.sources import NAMED
from fieldmark.data.sources.named import OPENERS, data_set, data_sets
from fieldmark.data.split import SplitRule
from fieldmark.errors import DataError, UsageError
from fieldmark.pictures import decode, read_bytes

from .official import MADE, make_dogs, small

FROM_PACKAGES = {"mnist-5k", "digits"}


def test_every_opener_has_facts_and_a_tiny_set_here():
    assert set(OPENERS) == set(MADE) | FROM_PACKAGES
    named = {name for facts in data_sets().values() for name in (facts.name, *facts.variants)}
    assert named == set(NAMED) == {*OPENERS, "field-guide"}


@pytest.mark.parametrize("name", MADE)
def test_a_set_opens_with_its_official_splits_and_class_names(name, sets):
    made = MADE[name]
    made.make(sets / data_set(name).name)
    index = open_data(name)
    assert index.source == name or name.startswith("lfw-")
    assert index.splits == made.counted
    assert index.kind == {"classify": "label", "multilabel": "labels"}[data_set(name).task]
    assert set(class_names(index.samples)) == made.classes
    assert len(index.skipped) == made.skipped
    assert {s.coarse for s in index.samples} - {None} == made.coarse
    assert sum(s.boxes is not None for s in index.samples) == made.boxes
    assert len({s.name for s in index.samples}) == len(index.samples)
    for sample in index.samples:
        assert decode(read_bytes(sample.path)).mode == "RGB"
    assert len(fingerprint(index.samples)) == 64


@pytest.mark.parametrize("name", [name for name in MADE if "train" in MADE[name].splits])
def test_its_splits_are_ones_that_training_takes(name, sets):
    MADE[name].make(sets / data_set(name).name)
    found = split(open_data(name), SplitRule(val=0, test=0))
    assert {s.split for s in found.samples} == set(MADE[name].splits)


@pytest.mark.parametrize("name", [name for name in MADE if name in data_sets()])
def test_whatever_is_missing_is_named_with_what_to_do(name, sets, monkeypatch):
    facts = replace(data_set(name), also=())  # a package of the system may have it
    monkeypatch.setattr("fieldmark.data.sources.named.data_set", lambda _: facts)
    with pytest.raises(DataError) as caught:
        open_data(name)
    assert all(need in str(caught.value) for need in facts.needs)
    for need in facts.needs:
        shutil.rmtree(sets, ignore_errors=True)
        MADE[name].make(sets / name)
        whole = sets / name / need
        shutil.rmtree(whole) if whole.is_dir() else whole.unlink()
        with pytest.raises(DataError) as caught:
            open_data(name)
        said = str(caught.value)
        assert f"{name} is not there: {sets / name} lacks {need};" in said
        assert "\n" not in said
        if facts.downloadable:
            assert f"fieldmark data {name} --download" in said
        else:
            assert all(file.name in said for file in facts.published)


def test_a_set_lies_in_the_cache_where_no_folder_is_named(sets, monkeypatch, tmp_path):
    MADE["food101"].make(tmp_path / "cache" / "datasets" / "food101")
    assert len(open_data("food101").samples) == 3  # the folder named has none
    monkeypatch.delenv("FIELDMARK_DATASETS")
    assert len(open_data("food101").samples) == 3


def test_a_misspelt_name_gets_the_near_one():
    with pytest.raises(DataError, match="did you mean stanford-dogs"):
        open_data("standford-dogs")


# -- crops


def test_crops_are_the_largest_box_of_each_picture(sets):
    make_dogs(sets / "stanford-dogs")
    whole, crops = open_data("stanford-dogs"), open_data("stanford-dogs-boxes")
    assert [s.name for s in crops.samples] == [s.name for s in whole.samples]
    for picture, crop in zip(whole.samples, crops.samples, strict=True):
        assert picture.boxes.xyxy.tolist() == [[0, 0, 4, 4], [2, 3, 20, 15]]
        assert set(picture.boxes.labels) == {picture.label}
        with Image.open(picture.path) as image, Image.open(crop.path) as cut:
            assert cut.size == (18, 12)
            difference = np.asarray(image.crop((2, 3, 20, 15)), int) - np.asarray(cut, int)
            assert np.abs(difference).mean() < 3


def test_crops_are_kept_and_made_again_when_one_is_gone_or_a_box_changes(sets):
    make_dogs(sets / "stanford-dogs")
    first = open_data("stanford-dogs-boxes").samples[0]
    made = first.path.stat().st_mtime_ns
    assert open_data("stanford-dogs-boxes").samples[0].path.stat().st_mtime_ns == made
    first.path.unlink()
    assert open_data("stanford-dogs-boxes").samples[0].path.is_file()
    note = sets / "stanford-dogs" / "Annotation" / "n02085620-Chihuahua" / "n02085620_10074"
    note.write_text(note.read_text().replace("<xmax>20</xmax>", "<xmax>24</xmax>"))
    with Image.open(open_data("stanford-dogs-boxes").samples[0].path) as cut:
        assert cut.size == (22, 12)


def test_pictures_that_cannot_be_cut_out_are_left_out_and_listed_each_time(sets):
    root = sets / "stanford-dogs"
    make_dogs(root)
    chihuahuas = root / "Images" / "n02085620-Chihuahua"
    (chihuahuas / "n02085620_7.jpg").write_bytes(b"broken")
    note = root / "Annotation" / "n02113624-toy_poodle" / "n02113624_3"
    note.write_text(note.read_text().replace("<xmin>2</xmin>", "<xmin>900</xmin>").replace("<xmax>20<", "<xmax>990<"))
    for _ in range(2):
        index = open_data("stanford-dogs-boxes")
        assert len(index.samples) == 2
        reasons = {s.name.split("/")[-1]: s.reason for s in index.skipped}
        assert "not a picture" in reasons["n02085620_7.jpg"]
        assert reasons["n02113624_3.jpg"] == "its box lies outside of it"


def test_a_cache_that_cannot_be_written_is_one_sentence(sets, monkeypatch, tmp_path):
    MADE["mnist"].make(sets / "mnist")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FIELDMARK_CACHE", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="cannot write"):
        open_data("mnist")


# -- what is kept of arrays


def test_arrays_are_kept_as_png_without_loss_and_read_once(sets, monkeypatch):
    MADE["mnist"].make(sets / "mnist")
    index = open_data("mnist")
    for sample, pixels in zip(index.part("train"), small(1, 3, 28, 28), strict=True):
        with Image.open(sample.path) as image:
            assert (image.format, image.mode) == ("PNG", "L")
            assert (np.asarray(image) == pixels).all()
    monkeypatch.setattr("fieldmark.data.sources.named.digits.read_idx", lambda *_: pytest.fail("read again"))
    assert open_data("mnist") == index


def test_they_are_made_again_when_one_is_gone_or_the_source_changes(sets):
    MADE["mnist"].make(sets / "mnist")
    first = open_data("mnist").samples[0].path
    first.unlink()
    assert open_data("mnist").samples[0].path.is_file()
    (sets / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    (sets / "mnist" / "t10k-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 5, 5]))
    assert [s.label for s in open_data("mnist").part("test")] == ["5", "5"]


def test_progress_tells_of_unpacking(sets):
    MADE["kmnist"].make(sets / "kmnist")
    told = []
    open_data("kmnist", lambda *step: told.append(step))
    assert told[-1] == ("unpacking kmnist", 5, 5)
