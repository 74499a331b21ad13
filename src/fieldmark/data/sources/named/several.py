"""Sets with several labels a picture, and boxes: CelebA, PASCAL VOC, COCO."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from fieldmark.data.index import Index, Skipped
from fieldmark.errors import DataError
from fieldmark.types import Sample

from .facts import DataSet
from .lists import boxes_of, listed, read_bounded, read_lines, read_objects, read_pairs
from .place import Progress

CELEBA_PARTS = {"0": "train", "1": "val", "2": "test"}
MAX_JSON_BYTES = 1_000_000_000


def open_celeba(facts: DataSet, root: Path, _progress: Progress | None) -> Index:
    """CelebA (Liu et al. 2015): the attributes that are 1, of 40, and the official parts."""
    parts, skipped = read_pairs(root / "list_eval_partition.txt")
    lines = read_lines(root / "list_attr_celeba.txt")
    names = [name.replace("_", " ") for name in lines[1].split()] if len(lines) > 1 else []
    samples = []
    for number, line in enumerate(lines[2:], start=3):
        file, *values = line.split()
        part = CELEBA_PARTS.get(parts.get(file, ""))
        if len(values) != len(names) or part is None:
            reason = "not as many values as attributes" if part else "list_eval_partition.txt has no part for it"
            skipped.append(Skipped(f"{file} (list_attr_celeba.txt, line {number})", reason))
            continue
        labels = tuple(sorted(name for name, value in zip(names, values, strict=True) if value == "1"))
        samples.append(Sample(root / f"img_align_celeba/{file}", f"img_align_celeba/{file}", labels, part))
    return listed(facts.name, root, samples, skipped, "labels")


def open_voc(facts: DataSet, root: Path, _progress: Progress | None) -> Index:
    """PASCAL VOC 2012 (Everingham et al. 2015): the classes and boxes of objects that are not marked difficult."""
    folder = root / "VOCdevkit/VOC2012"
    samples, skipped = [], []
    for part in ("train", "val"):
        for line in read_lines(folder / f"ImageSets/Main/{part}.txt"):
            name = f"VOCdevkit/VOC2012/JPEGImages/{line}.jpg"
            try:
                objects = read_objects(folder / f"Annotations/{line}.xml")
            except DataError as error:
                skipped.append(Skipped(name, str(error)))
                continue
            clear = [
                (label, (x0 - 1, y0 - 1, x1, y1)) for label, (x0, y0, x1, y1), difficult in objects if not difficult
            ]
            if objects and not clear:
                skipped.append(Skipped(name, "all objects in it are marked difficult"))
                continue
            labels = tuple(sorted({label for label, _ in clear}))
            samples.append(Sample(root / name, name, labels, part, boxes=boxes_of(clear)))
    return listed(facts.name, root, samples, skipped, "labels")


def open_coco(facts: DataSet, root: Path, progress: Progress | None) -> Index:
    """COCO 2017 (Lin et al. 2014): the categories of each picture, and boxes of all but crowds."""
    samples: list[Sample] = []
    for number, part in enumerate(("train", "val")):
        if progress is not None:
            progress("reading the annotations of coco", number, 2)
        path = root / f"annotations/instances_{part}2017.json"
        try:
            samples += _coco_samples(root, part, _read_coco(path))
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise DataError(f"{path} has no images, annotations and categories as COCO's; get it again") from error
    return listed(facts.name, root, samples, kind="labels")


def _read_coco(path: Path) -> dict[str, Any]:
    """The annotations without outlines, which are nine tenths of them."""
    try:
        found = json.loads(read_bounded(path, MAX_JSON_BYTES), object_hook=_without_outline)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON ({str(error)[:100]}); get it again") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} is no COCO file; get it again")
    return found


def _without_outline(value: dict[str, Any]) -> dict[str, Any]:
    value.pop("segmentation", None)
    return value


def _coco_samples(root: Path, part: str, coco: dict[str, Any]) -> list[Sample]:
    names = {row["id"]: str(row["name"]) for row in coco["categories"]}
    labels: dict[int, set[str]] = defaultdict(set)
    boxes: dict[int, list[tuple[str, tuple[float, float, float, float]]]] = defaultdict(list)
    for row in coco["annotations"]:
        label = names[row["category_id"]]
        labels[row["image_id"]].add(label)
        if not row.get("iscrowd"):
            x, y, width, height = map(float, row["bbox"])
            boxes[row["image_id"]].append((label, (x, y, x + width, y + height)))
    samples = []
    for row in coco["images"]:
        name, its = f"{part}2017/{row['file_name']}", tuple(sorted(labels[row["id"]]))
        samples.append(Sample(root / name, name, its, part, boxes=boxes_of(boxes[row["id"]])))
    return samples
