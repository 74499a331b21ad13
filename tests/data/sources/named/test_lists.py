"""The official lists: what is wrong in a line leaves out that line; what is wrong in a file is one sentence."""

import json

import numpy as np
import pytest
from scipy.io import savemat

from fieldmark.data import open_data
from fieldmark.data.sources.named import lists
from fieldmark.data.sources.named.lists import read_objects
from fieldmark.errors import DataError
from tests.making import write_picture

from .official import (
    MADE,
    cells,
    make_aircraft,
    make_cars,
    make_celeba,
    make_coco,
    make_cub,
    make_devkit,
    make_dogs,
    make_flowers,
    make_food,
    make_imagenet,
    make_pets,
    make_ucf,
    make_voc,
    voc_xml,
)


def reasons(index):
    return {s.name: s.reason for s in index.skipped}


def labels(index):
    return {s.name.rpartition("/")[2]: s.label for s in index.samples}


# -- what the lists say


def test_pets_are_named_by_their_files_and_grouped_by_species(sets):
    make_pets(sets / "oxford-pets")
    index = open_data("oxford-pets")
    assert index.coarse_of == {"Abyssinian": "cat", "american bulldog": "dog"}
    assert [s.name for s in index.part("test")] == ["images/Abyssinian_2.jpg"]


def test_flowers_get_their_class_by_their_number(sets):
    make_flowers(sets / "flowers102")
    index = open_data("flowers102")
    assert labels(index) == {
        "image_00001.jpg": "passion flower",
        "image_00002.jpg": "pink primrose",
        "image_00003.jpg": "blackberry lily",
        "image_00004.jpg": "passion flower",
        "image_00005.jpg": "pink primrose",
    }
    assert [s.name for s in index.part("val")] == ["jpg/image_00001.jpg"]


def test_cars_boxes_count_from_one_with_both_ends_within(sets):
    make_cars(sets / "stanford-cars")
    first = open_data("stanford-cars").samples[0]
    assert first.boxes.xyxy.tolist() == [[0, 0, 10, 8]]
    assert first.label == "AM General Hummer SUV 2000"
    assert [s.name for s in open_data("stanford-cars").part("test")] == ["cars_test/00001.jpg"]


def test_birds_have_class_part_and_box_by_their_number(sets):
    make_cub(sets / "cub200")
    index = open_data("cub200")
    (test,) = index.part("test")
    assert test.name.endswith("Black_Footed_Albatross_0046_18.jpg")
    assert test.label == "Black footed Albatross"
    assert test.boxes.xyxy.tolist() == [[2, 1, 12, 9]]


def test_aircraft_have_families_and_boxes(sets):
    make_aircraft(sets / "fgvc-aircraft")
    index = open_data("fgvc-aircraft")
    assert index.coarse_of == {"707-320": "Boeing 707", "F/A-18": "F/A-18"}
    assert index.samples[0].boxes.xyxy.tolist() == [[2, 1, 20, 18]]


def test_voc_leaves_out_what_is_difficult(sets):
    make_voc(sets / "voc2012")
    index = open_data("voc2012")
    (train,) = index.part("train")
    assert train.labels == ("horse", "person")
    assert train.boxes.labels == ("horse", "person")
    assert train.boxes.xyxy.tolist() == [[0, 0, 12, 10], [2, 1, 9, 9]]
    assert "marked difficult" in reasons(index)["VOCdevkit/VOC2012/JPEGImages/2008_000021.jpg"]


def test_coco_has_crowds_as_labels_alone_and_pictures_of_nothing(sets):
    make_coco(sets / "coco")
    index = open_data("coco")
    val, nothing = index.part("val")
    assert (val.name, val.labels) == ("val2017/000000000020.jpg", ("cat", "dog", "person"))
    assert val.boxes.labels == ("dog", "person")
    assert val.boxes.xyxy.tolist() == [[2, 3, 12, 11], [0, 0, 5, 5]]
    assert (nothing.name, nothing.labels, nothing.boxes) == ("val2017/000000000021.jpg", (), None)


def test_celeba_s_labels_are_the_attributes_that_are_one(sets):
    make_celeba(sets / "celeba")
    index = open_data("celeba")
    assert {s.split: s.labels for s in index.samples} == {
        "train": ("5 o Clock Shadow", "Young"),
        "val": ("Bald",),
        "test": ("5 o Clock Shadow", "Bald", "Young"),
    }


def test_the_frames_of_a_scene_are_one_group(sets):
    make_ucf(sets / "ucf101-frames")
    index = open_data("ucf101-frames")
    assert {s.group for s in index.part("train")} == {"v_ApplyEyeMakeup_g08", "v_Archery_g09"}
    (test,) = index.part("test")
    assert (test.name, test.label) == ("frames/v_Archery_g01_c01/00001.jpg", "Archery")


# -- ImageNet's development kit


def test_imagenet_gets_names_from_the_development_kit(sets):
    make_imagenet(sets / "imagenet")
    make_devkit(sets / "imagenet")
    index = open_data("imagenet")
    assert {s.label for s in index.samples} == {"tench", "crane (n02012849)", "crane (n03126707)"}


def test_imagenet_s_val_may_be_without_folders(sets):
    root = sets / "imagenet"
    make_imagenet(root)
    picture = root / "val" / "n01440764" / "ILSVRC2012_val_00000001.JPEG"
    picture.rename(root / "val" / picture.name)
    (root / "val" / "n01440764").rmdir()
    with pytest.raises(DataError, match=r"unpack ILSVRC2012_devkit_t12\.tar\.gz"):
        open_data("imagenet")
    make_devkit(root)
    write_picture(root / "val" / "ILSVRC2012_val_00000002.JPEG")
    index = open_data("imagenet")
    assert labels(index.with_samples(index.part("val"))) == {
        "ILSVRC2012_val_00000001.JPEG": "tench",
        "ILSVRC2012_val_00000002.JPEG": "crane (n03126707)",
    }
    assert index.splits == {"train": 3, "val": 2}


# -- one bad line leaves out one picture


def test_a_picture_that_is_gone_is_listed(sets):
    make_food(sets / "food101")
    (sets / "food101" / "food-101" / "images" / "ramen" / "7.jpg").unlink()
    index = open_data("food101")
    assert len(index.samples) == 2
    assert reasons(index) == {"food-101/images/ramen/7.jpg": "no such file"}


@pytest.mark.parametrize(
    ("name", "path", "line"),
    [
        ("food101", "food-101/meta/train.txt", "no slash"),
        ("oxford-pets", "annotations/test.txt", "Abyssinian_3"),
        ("oxford-pets", "annotations/test.txt", "nounderscore 1 1 1"),
        ("cub200", "CUB_200_2011/images.txt", "4"),
        ("cub200", "CUB_200_2011/images.txt", "5 001.Black_footed_Albatross/of_no_class.jpg"),
        ("cub200", "CUB_200_2011/train_test_split.txt", "x"),
        ("fgvc-aircraft", "fgvc-aircraft-2013b/data/images_variant_test.txt", "12345"),
        ("celeba", "list_attr_celeba.txt", "000001.jpg 1 1"),
        ("celeba", "list_attr_celeba.txt", "000009.jpg 1 1 1"),
        ("ucf101-frames", "ucfTrainTestlist/testlist01.txt", "Archery"),
        ("ucf101-frames", "ucfTrainTestlist/testlist01.txt", "../v_x.avi"),
        ("ucf101-frames", "ucfTrainTestlist/testlist01.txt", "Archery/../../../../v_x.avi"),
        ("ucf101-frames", "ucfTrainTestlist/testlist01.txt", "Archery/v_Archery_g02_c01.avi"),
        ("voc2012", "VOCdevkit/VOC2012/ImageSets/Main/val.txt", "2009_000001"),
    ],
)
def test_a_line_that_is_none_is_listed_and_stops_nothing(sets, name, path, line):
    MADE[name].make(sets / name)
    before = open_data(name)
    with (sets / name / path).open("a") as stream:
        stream.write(f"{line}\n")
    after = open_data(name)
    assert [(s.name, s.labels, s.split) for s in after.samples] == [(s.name, s.labels, s.split) for s in before.samples]
    assert len(after.skipped) == len(before.skipped) + 1


def test_a_list_does_not_lead_out_of_the_set(sets):
    make_food(sets / "food101")
    write_picture(sets.parent / "secret" / "1.jpg")
    line = "../../../../secret/1"
    assert (sets / "food101" / "food-101" / "images" / f"{line}.jpg").is_file()
    with (sets / "food101" / "food-101" / "meta" / "train.txt").open("a") as stream:
        stream.write(f"{line}\n")
    index = open_data("food101")
    assert len(index.samples) == 3
    assert "leaves the folder" in reasons(index)[f"food-101/images/{line}.jpg"]


def test_classes_beyond_the_names_are_listed(sets):
    make_flowers(sets / "flowers102")
    savemat(sets / "flowers102" / "imagelabels.mat", {"labels": np.array([[77, 1, 103, 0]])})
    index = open_data("flowers102")
    assert len(index.samples) == 2
    assert set(reasons(index).values()) == {"imagelabels.mat has no class for it"}
    make_cars(sets / "stanford-cars")
    savemat(sets / "stanford-cars" / "devkit" / "cars_meta.mat", {"class_names": cells("only one").T})
    index = open_data("stanford-cars")
    assert len(index.samples) == 1
    assert len(index.skipped) == 2


def test_a_damaged_annotation_costs_a_dog_its_box_and_a_voc_picture_its_place(sets):
    make_dogs(sets / "stanford-dogs")
    (sets / "stanford-dogs" / "Annotation" / "n02085620-Chihuahua" / "n02085620_7").write_text("<annotation><obj")
    index = open_data("stanford-dogs")
    assert len(index.samples) == 4
    assert [s.boxes for s in index.samples].count(None) == 1
    (reason,) = reasons(index).values()
    assert reason.startswith("n02085620_7 is no annotation")
    make_voc(sets / "voc2012")
    (sets / "voc2012/VOCdevkit/VOC2012/Annotations/2008_000015.xml").unlink()
    index = open_data("voc2012")
    assert len(index.samples) == 1
    assert len(index.skipped) == 2


# -- annotations


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no xml",
        "<annotation><object><name>dog</name></object></annotation>",
        voc_xml(("", 1, 2, 3, 4, 0)),
        voc_xml(("dog", "x", 2, 3, 4, 0)),
        voc_xml(("dog", "nan", 2, 3, 4, 0)),
        voc_xml(("dog", 1, 2, 3, 4, 0)).replace("<ymax>4</ymax>", ""),
        '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><annotation>&c;</annotation>',
        '<!DOCTYPE a SYSTEM "file:///etc/hostname"><annotation></annotation>',
    ],
)
def test_what_is_no_annotation_is_refused(tmp_path, text):
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(DataError, match="is no annotation"):
        read_objects(tmp_path / "a.xml")


def test_an_annotation_in_another_encoding_cannot_hide_entities(tmp_path):
    (tmp_path / "a.xml").write_bytes('<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a []><a/>'.encode("utf-16"))
    with pytest.raises(DataError, match="is not text"):
        read_objects(tmp_path / "a.xml")


def test_lists_and_annotations_are_bounded(sets, monkeypatch):
    make_food(sets / "food101")
    monkeypatch.setattr(lists, "MAX_TEXT_BYTES", 10)
    with pytest.raises(DataError, match="is larger than 10 bytes"):
        open_data("food101")
    make_dogs(sets / "stanford-dogs")
    monkeypatch.setattr(lists, "MAX_XML_BYTES", 10)
    assert len(open_data("stanford-dogs").skipped) == 4


def test_a_list_that_is_no_text_is_refused(sets):
    make_food(sets / "food101")
    (sets / "food101" / "food-101" / "meta" / "test.txt").write_bytes(b"\xff\xfe\0\1")
    with pytest.raises(DataError, match=r"test\.txt is not text"):
        open_data("food101")


# -- COCO and .mat lists of other kinds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 100_000,
        "{}",
        json.dumps({"images": [{}], "annotations": [], "categories": []}),
        json.dumps(
            {"images": [], "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2]}], "categories": []}
        ),
        json.dumps({"images": 3, "annotations": [], "categories": []}),
        json.dumps({"images": [], "annotations": ["x"], "categories": [{"id": 1, "name": "a"}]}),
        json.dumps({"images": [], "annotations": [], "categories": [{"id": [], "name": "a"}]}),
    ],
)
def test_a_json_that_is_not_coco_s_is_refused(sets, text):
    make_coco(sets / "coco")
    (sets / "coco" / "annotations" / "instances_val2017.json").write_text(text)
    with pytest.raises(DataError, match=r"instances_val2017\.json (is no|has no images)"):
        open_data("coco")


def test_mat_lists_without_their_fields_are_refused(sets):
    make_cars(sets / "stanford-cars")
    kinds = [("fname", object), ("class", object)]
    path = sets / "stanford-cars" / "devkit" / "cars_train_annos.mat"
    savemat(path, {"annotations": np.array([[("1.jpg", 1)]], dtype=kinds)})
    with pytest.raises(DataError, match="has no field bbox_x1 and bbox_y1"):
        open_data("stanford-cars")
    savemat(path, {"annotations": np.ones(3)})
    with pytest.raises(DataError, match="has no field fname"):
        open_data("stanford-cars")
    make_imagenet(sets / "imagenet")
    make_devkit(sets / "imagenet")
    savemat(sets / "imagenet" / "ILSVRC2012_devkit_t12" / "data" / "meta.mat", {"synsets": np.ones(3)})
    with pytest.raises(DataError, match="is not the development kit's"):
        open_data("imagenet")
