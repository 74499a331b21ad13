"""Fine-grained sets of photographs with official lists: pets, flowers, cars, dogs, birds, aircraft, food."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldmark.data.index import Index, Skipped
from fieldmark.errors import DataError
from fieldmark.types import Boxes, Sample

from .facts import DataSet
from .lists import boxes_of, listed, read_lines, read_mat, read_objects, read_pairs
from .place import Progress

SPECIES = {"1": "cat", "2": "dog"}
FLOWER_PARTS = {"train": "trnid", "val": "valid", "test": "tstid"}


def open_pets(facts: DataSet, root: Path, _progress: Progress | None) -> Index:
    """Oxford-IIIT Pet (Parkhi et al. 2012): `trainval.txt` and `test.txt` of name, class, species; coarse: species."""
    samples, skipped = [], []
    for part, name in (("train", "trainval.txt"), ("test", "test.txt")):
        for number, line in enumerate(read_lines(root / "annotations" / name), start=1):
            cells = line.split()
            if line.startswith("#"):
                continue
            if len(cells) < 3 or "_" not in cells[0]:
                skipped.append(Skipped(f"{name}, line {number}", f"{line[:40]!r} is not a name, a class and a species"))
                continue
            path, label = f"images/{cells[0]}.jpg", cells[0].rpartition("_")[0].replace("_", " ")
            samples.append(Sample(root / path, path, (label,), part, coarse=SPECIES.get(cells[2])))
    return listed(facts.name, root, samples, skipped)


def open_flowers(facts: DataSet, root: Path, _progress: Progress | None) -> Index:
    """Oxford 102 Flowers (Nilsback and Zisserman 2008): labels by picture number, `setid` with the three parts."""
    labels = read_mat(root / "imagelabels.mat", "labels")["labels"]
    parts = read_mat(root / "setid.mat", *FLOWER_PARTS.values())
    samples, skipped = [], []
    for part, key in FLOWER_PARTS.items():
        for number in map(int, parts[key]):
            name = f"jpg/image_{number:05d}.jpg"
            label = int(labels[number - 1]) if 0 < number <= len(labels) else 0
            if 0 < label <= len(facts.class_names):
                samples.append(Sample(root / name, name, (facts.class_names[label - 1],), part))
            else:
                skipped.append(Skipped(name, "imagelabels.mat has no class for it"))
    return listed(facts.name, root, samples, skipped)


def open_cars(facts: DataSet, root: Path, _progress: Progress | None) -> Index:
    """Stanford Cars (Krause et al. 2013): annotations of file, class and box (1-based, both ends within)."""
    names = [str(name) for name in read_mat(root / "devkit/cars_meta.mat", "class_names")["class_names"]]
    samples, skipped = [], []
    lists = {"train": "devkit/cars_train_annos.mat", "test": "cars_test_annos_withlabels.mat"}
    for part, path in lists.items():
        rows = read_mat(root / path, "annotations")["annotations"]
        for row in _records(root / path, rows, "fname", "class", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"):
            name, label = f"cars_{part}/{row[0]}", int(row[1])
            if not 0 < label <= len(names):
                skipped.append(Skipped(name, f"class {label} is not in cars_meta.mat"))
                continue
            x0, y0, x1, y1 = map(float, row[2:])
            boxes = boxes_of([(names[label - 1], (x0 - 1, y0 - 1, x1, y1))])
            samples.append(Sample(root / name, name, (names[label - 1],), part, boxes=boxes))
    return listed(facts.name, root, samples, skipped)


def _records(path: Path, rows: NDArray[Any], *fields: str) -> Iterator[tuple[Any, ...]]:
    """These fields of a MATLAB array of structures; DataError when it lacks one."""
    gone = [field for field in fields if field not in (rows.dtype.names or ())]
    if gone:
        raise DataError(f"{path} has no field {' and '.join(gone)}; get it again")
    for row in rows:
        yield tuple(row[field] for field in fields)


def open_dogs(facts: DataSet, root: Path, _progress: Progress | None) -> Index:
    """Stanford Dogs (Khosla et al. 2011): lists of files by part, an annotation in XML with the boxes of each."""
    samples, skipped = [], []
    for part in ("train", "test"):
        for file in read_mat(root / f"{part}_list.mat", "file_list")["file_list"]:
            name = str(file)
            breed = re.sub(r"^n\d+-", "", name.split("/")[0]).replace("_", " ")
            path = f"Images/{name}"
            boxes: Boxes | None = None
            try:
                boxes = _dog_boxes(root / "Annotation" / name.removesuffix(".jpg"), breed)
            except DataError as error:
                skipped.append(Skipped(f"Annotation/{name.removesuffix('.jpg')}", f"{error}; its picture has no box"))
            samples.append(Sample(root / path, path, (breed,), part, boxes=boxes))
    return listed(facts.name, root, samples, skipped)


def _dog_boxes(path: Path, breed: str) -> Boxes | None:
    return boxes_of((breed, box) for _, box, _ in read_objects(path))


def open_cub(facts: DataSet, root: Path, _progress: Progress | None) -> Index:
    """Caltech-UCSD Birds-200-2011 (Wah et al. 2011): text files of picture number and path, class, part, box."""
    folder, skipped, samples = root / "CUB_200_2011", [], []
    tables = {}
    for name in ("images", "image_class_labels", "classes", "train_test_split", "bounding_boxes"):
        tables[name], left_out = read_pairs(folder / f"{name}.txt")
        skipped += left_out
    for number, path in tables["images"].items():
        name = f"CUB_200_2011/images/{path}"
        label = tables["classes"].get(tables["image_class_labels"].get(number, ""))
        part = {"1": "train", "0": "test"}.get(tables["train_test_split"].get(number, ""))
        if label is None or part is None:
            skipped.append(Skipped(name, "the lists give no class or no part for it"))
            continue
        label = label.partition(".")[2].replace("_", " ") or label
        boxes = _cub_box(tables["bounding_boxes"].get(number, ""), label)
        samples.append(Sample(root / name, name, (label,), part, boxes=boxes))
    return listed(facts.name, root, samples, skipped)


def _cub_box(text: str, label: str) -> Boxes | None:
    """The box of a line of x, y, width, height."""
    numbers = _numbers(text)
    if numbers is None:
        return None
    x, y, width, height = numbers
    return boxes_of([(label, (x, y, x + width, y + height))])


def _numbers(text: str) -> tuple[float, float, float, float] | None:
    """Four finite numbers, or None."""
    try:
        a, b, c, d = map(float, text.split())
    except ValueError:
        return None
    return (a, b, c, d) if np.isfinite([a, b, c, d]).all() else None


def open_aircraft(facts: DataSet, root: Path, _progress: Progress | None) -> Index:
    """FGVC-Aircraft (Maji et al. 2013): the 100 variants, their families as coarse labels, boxes 1-based."""
    folder, skipped, samples = root / "fgvc-aircraft-2013b" / "data", [], []
    corners, left_out = read_pairs(folder / "images_box.txt")
    skipped += left_out
    for part in ("train", "val", "test"):
        variants, left_out = read_pairs(folder / f"images_variant_{part}.txt")
        families, more = read_pairs(folder / f"images_family_{part}.txt")
        skipped += left_out + more
        for number, variant in variants.items():
            name = f"fgvc-aircraft-2013b/data/images/{number}.jpg"
            box = _numbers(corners.get(number, ""))
            boxes = boxes_of([(variant, (box[0] - 1, box[1] - 1, box[2], box[3]))]) if box else None
            samples.append(Sample(root / name, name, (variant,), part, coarse=families.get(number), boxes=boxes))
    return listed(facts.name, root, samples, skipped)


def open_food(facts: DataSet, root: Path, _progress: Progress | None) -> Index:
    """Food-101 (Bossard et al. 2014): `meta/train.txt` and `test.txt` of class/number."""
    samples, skipped = [], []
    for part in ("train", "test"):
        for number, line in enumerate(read_lines(root / f"food-101/meta/{part}.txt"), start=1):
            label, slash, _ = line.partition("/")
            if not slash:
                skipped.append(Skipped(f"{part}.txt, line {number}", f"{line[:40]!r} is not class/number"))
                continue
            name = f"food-101/images/{line}.jpg"
            samples.append(Sample(root / name, name, (label.replace("_", " "),), part))
    return listed(facts.name, root, samples, skipped)
