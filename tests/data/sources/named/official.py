"""Tiny data sets in the layout in which their makers publish them; each function fills a folder.

A picture's seed is kept where its pixels are checked later: `small(seed, ...)` gives them again.
"""

import gzip
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.io import savemat

from tests.making import write_picture


def small(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def idx(array: np.ndarray) -> bytes:
    """LeCun's format: two zeros, the type (8: unsigned bytes), the dimensions, their sizes, the bytes."""
    head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return head + array.tobytes()


def make_idx(root: Path, zipped: bool = True) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for prefix, seed, labels in (("train", 1, [3, 0, 9]), ("t10k", 2, [9, 3])):
        for name, data in (
            (f"{prefix}-images-idx3-ubyte", idx(small(seed, len(labels), 28, 28))),
            (f"{prefix}-labels-idx1-ubyte", idx(np.array(labels, np.uint8))),
        ):
            (root / (f"{name}.gz" if zipped else name)).write_bytes(gzip.compress(data) if zipped else data)


def make_cifar10(root: Path) -> None:
    folder = root / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    (folder / "batches.meta.txt").write_text("airplane\nautomobile\nbird\ncat\n\n")
    for i in range(1, 6):
        (folder / f"data_batch_{i}.bin").write_bytes(bytes([i % 4]) + small(i, 3, 32, 32).tobytes())
    (folder / "test_batch.bin").write_bytes(
        b"".join(bytes([label]) + small(10 + label, 3, 32, 32).tobytes() for label in (2, 3))
    )


def make_cifar100(root: Path) -> None:
    folder = root / "cifar-100-binary"
    folder.mkdir(parents=True)
    (folder / "coarse_label_names.txt").write_text("aquatic_mammals\nfish\n")
    (folder / "fine_label_names.txt").write_text("beaver\ndolphin\nshark\n")
    rows = {"train": [(0, 0), (0, 1), (1, 2)], "test": [(1, 2)]}
    for part, labels in rows.items():
        data = b"".join(bytes([c, f]) + small(f, 3, 32, 32).tobytes() for c, f in labels)
        (folder / f"{part}.bin").write_bytes(data)


def make_svhn(root: Path) -> None:
    root.mkdir(parents=True)
    savemat(root / "train_32x32.mat", {"X": small(1, 32, 32, 3, 3), "y": np.array([[10], [1], [9]], np.uint8)})
    savemat(root / "test_32x32.mat", {"X": small(2, 32, 32, 3, 1), "y": np.array([[10]], np.uint8)})


def make_pets(root: Path) -> None:
    parts = {"trainval": ["Abyssinian_1 1 1 1", "american_bulldog_10 2 2 1"], "test": ["Abyssinian_2 1 1 1"]}
    for part, lines in parts.items():
        path = root / "annotations" / f"{part}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#Image CLASS-ID SPECIES BREED ID\n" + "\n".join(lines) + "\n")
        for line in lines:
            write_picture(root / "images" / f"{line.split()[0]}.jpg")


def make_flowers(root: Path) -> None:
    for number in range(1, 6):
        write_picture(root / "jpg" / f"image_{number:05d}.jpg")
    savemat(root / "imagelabels.mat", {"labels": np.array([[77, 1, 102, 77, 1]], np.uint8)})
    savemat(root / "setid.mat", {"trnid": [[2, 3]], "valid": [[1]], "tstid": [[4, 5]]})


def cells(*texts: str) -> np.ndarray:
    """A MATLAB cell array of texts, [N, 1]."""
    found = np.empty((len(texts), 1), object)
    found[:, 0] = texts
    return found


def make_cars(root: Path) -> None:
    fields = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")
    rows = {
        "devkit/cars_train_annos.mat": ("train", [(1, 1, 10, 8, 1, "00001.jpg"), (3, 5, 24, 20, 2, "00002.jpg")]),
        "cars_test_annos_withlabels.mat": ("test", [(2, 2, 20, 20, 2, "00001.jpg")]),
    }
    (root / "devkit").mkdir(parents=True)
    for path, (part, annotations) in rows.items():
        kinds = [(name, object) for name in fields]
        savemat(root / path, {"annotations": np.array([annotations], dtype=kinds)})
        for row in annotations:
            write_picture(root / f"cars_{part}" / row[-1])
    names = cells("AM General Hummer SUV 2000", "Ram C/V Cargo Van Minivan 2012").T
    savemat(root / "devkit" / "cars_meta.mat", {"class_names": names})


def voc_xml(*objects: tuple[str, int, int, int, int, int]) -> str:
    """An annotation: name, xmin, ymin, xmax, ymax and whether difficult, of each object."""
    rows = "".join(
        f"<object><name>{n}</name><difficult>{d}</difficult><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax>"
        f"<ymax>{e}</ymax></bndbox></object>"
        for n, a, b, c, e, d in objects
    )
    return f"<annotation><folder>x</folder>{rows}</annotation>"


def make_dogs(root: Path) -> None:
    parts = {
        "train": {"n02085620-Chihuahua": ["n02085620_10074", "n02085620_7"], "n02113624-toy_poodle": ["n02113624_3"]},
        "test": {"n02113624-toy_poodle": ["n02113624_9"]},
    }
    for part, breeds in parts.items():
        files = [f"{breed}/{name}.jpg" for breed, names in breeds.items() for name in names]
        for i, file in enumerate(files):
            write_picture(root / "Images" / file, seed=i)
            note = root / "Annotation" / file.removesuffix(".jpg")
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(voc_xml(("dog", 0, 0, 4, 4, 0), ("dog", 2, 3, 20, 15, 0)))
        annotations = cells(*(file.removesuffix(".jpg") for file in files))
        labels = np.ones((len(files), 1))
        savemat(
            root / f"{part}_list.mat", {"file_list": cells(*files), "annotation_list": annotations, "labels": labels}
        )


def make_cub(root: Path) -> None:
    folder = root / "CUB_200_2011"
    pictures = {
        1: ("001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg", 1, 0, "2.0 1.0 10.0 8.0"),
        2: ("001.Black_footed_Albatross/Black_Footed_Albatross_0009_34.jpg", 1, 1, "0.0 0.0 24.0 20.0"),
        3: ("002.Laysan_Albatross/Laysan_Albatross_0002_1027.jpg", 2, 1, "3.0 3.0 5.0 6.0"),
    }
    for path, *_ in pictures.values():
        write_picture(folder / "images" / path)
    tables = {
        "images": [f"{i} {row[0]}" for i, row in pictures.items()],
        "image_class_labels": [f"{i} {row[1]}" for i, row in pictures.items()],
        "train_test_split": [f"{i} {row[2]}" for i, row in pictures.items()],
        "bounding_boxes": [f"{i} {row[3]}" for i, row in pictures.items()],
        "classes": ["1 001.Black_footed_Albatross", "2 002.Laysan_Albatross"],
    }
    for name, lines in tables.items():
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")


def make_aircraft(root: Path) -> None:
    folder = root / "fgvc-aircraft-2013b" / "data"
    parts = {
        "train": {"1025794": ("707-320", "Boeing 707"), "1340192": ("F/A-18", "F/A-18")},
        "val": {"0056978": ("707-320", "Boeing 707")},
        "test": {"1514522": ("F/A-18", "F/A-18")},
    }
    for part, rows in parts.items():
        for number in rows:
            write_picture(folder / "images" / f"{number}.jpg")
        for level, column in (("variant", 0), ("family", 1)):
            lines = [f"{number} {names[column]}" for number, names in rows.items()]
            (folder / f"images_{level}_{part}.txt").write_text("\n".join(lines) + "\n")
    boxes = [f"{number} 3 2 20 18" for rows in parts.values() for number in rows]
    (folder / "images_box.txt").write_text("\n".join(boxes) + "\n")


def make_food(root: Path) -> None:
    meta = root / "food-101" / "meta"
    meta.mkdir(parents=True)
    for part, rows in {"train": ["apple_pie/1005649", "ramen/7"], "test": ["apple_pie/1011328"]}.items():
        (meta / f"{part}.txt").write_text("\n".join(rows) + "\n")
        for row in rows:
            write_picture(root / "food-101" / "images" / f"{row}.jpg")


def make_caltech(root: Path) -> None:
    for name in ("accordion", "Faces_easy", "BACKGROUND_Google"):
        write_picture(root / "101_ObjectCategories" / name / "image_0001.jpg")


def make_eurosat(root: Path) -> None:
    for name in ("AnnualCrop", "SeaLake"):
        write_picture(root / "EuroSAT_RGB" / name / f"{name}_1.jpg", size_wh=(64, 64))


def make_lfw(root: Path, counts: dict[str, int] | None = None) -> None:
    for name, count in (counts or {"George_W_Bush": 21, "Aaron_Eckhart": 1, "Tony_Blair": 20}).items():
        for i in range(1, count + 1):
            write_picture(root / "lfw_funneled" / name / f"{name}_{i:04d}.jpg", size_wh=(8, 8))
    (root / "lfw_funneled" / "pairs_01_test.txt").write_text("a list of pairs\n")


def make_imagenet(root: Path) -> None:
    for part, wnid, name in (
        ("train", "n01440764", "n01440764_18"),
        ("train", "n02012849", "n02012849_2"),
        ("train", "n03126707", "n03126707_4"),
        ("val", "n01440764", "ILSVRC2012_val_00000001"),
    ):
        write_picture(root / part / wnid / f"{name}.JPEG")


def make_devkit(root: Path) -> None:
    """The three synsets of `make_imagenet`, two of them called "crane", and one above them."""
    folder = root / "ILSVRC2012_devkit_t12" / "data"
    folder.mkdir(parents=True)
    rows = [
        (1, "n01440764", "tench, Tinca tinca", 0),
        (2, "n02012849", "crane", 0),
        (3, "n03126707", "crane", 0),
        (1001, "n00001740", "entity", 2),
    ]
    kinds = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object), ("num_children", object)]
    savemat(folder / "meta.mat", {"synsets": np.array(rows, dtype=kinds)[:, None]})
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text("1\n3\n")


def make_celeba(root: Path) -> None:
    rows = {"000001.jpg": ("1 -1 1", 0), "000002.jpg": ("-1 1 -1", 1), "000003.jpg": ("1 1 1", 2)}
    for name in rows:
        write_picture(root / "img_align_celeba" / name)
    lines = [f"{name}  {values}" for name, (values, _) in rows.items()]
    (root / "list_attr_celeba.txt").write_text("3\n5_o_Clock_Shadow Bald Young \n" + "\n".join(lines) + "\n")
    (root / "list_eval_partition.txt").write_text("".join(f"{name} {part}\n" for name, (_, part) in rows.items()))


def make_voc(root: Path) -> None:
    folder = root / "VOCdevkit" / "VOC2012"
    notes = {
        "2008_000008": ("train", [("horse", 1, 1, 12, 10, 0), ("person", 3, 2, 9, 9, 0), ("person", 1, 1, 5, 5, 1)]),
        "2008_000015": ("val", [("bottle", 5, 5, 20, 20, 0)]),
        "2008_000021": ("val", [("person", 5, 5, 20, 20, 1)]),
    }
    for place in ("ImageSets/Main", "Annotations"):
        (folder / place).mkdir(parents=True)
    for name, (_, objects) in notes.items():
        write_picture(folder / "JPEGImages" / f"{name}.jpg")
        (folder / "Annotations" / f"{name}.xml").write_text(voc_xml(*objects))
    for part in ("train", "val"):
        names = [name for name, (its, _) in notes.items() if its == part]
        (folder / "ImageSets" / "Main" / f"{part}.txt").write_text("\n".join(names) + "\n")


def make_coco(root: Path) -> None:
    (root / "annotations").mkdir(parents=True)
    for part, first in (("train", 10), ("val", 20)):
        images = [{"id": first + i, "file_name": f"{first + i:012d}.jpg", "width": 24, "height": 20} for i in range(2)]
        boxes = [
            {"image_id": first, "category_id": 18, "bbox": [2, 3, 10, 8], "iscrowd": 0, "segmentation": [[1, 2, 3]]},
            {"image_id": first, "category_id": 1, "bbox": [0, 0, 5, 5], "iscrowd": 0, "segmentation": []},
            {"image_id": first, "category_id": 17, "bbox": [0, 0, 9, 9], "iscrowd": 1, "segmentation": {"counts": []}},
        ]
        names = [{"id": 1, "name": "person"}, {"id": 17, "name": "cat"}, {"id": 18, "name": "dog"}]
        whole = {"info": {}, "images": images, "annotations": boxes, "categories": names}
        (root / "annotations" / f"instances_{part}2017.json").write_text(json.dumps(whole))
        for image in images:
            write_picture(root / f"{part}2017" / image["file_name"])


def make_ucf(root: Path) -> None:
    clips = {"ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01": 3, "Archery/v_Archery_g09_c02": 2}
    for clip, frames in clips.items():
        for i in range(frames):
            write_picture(root / "frames" / clip / f"{i + 1:05d}.jpg")
    write_picture(root / "frames" / "v_Archery_g01_c01" / "00001.jpg")
    folder = root / "ucfTrainTestlist"
    folder.mkdir(parents=True)
    (folder / "trainlist01.txt").write_text("".join(f"{clip}.avi {i + 1}\n" for i, clip in enumerate(clips)))
    (folder / "testlist01.txt").write_text("Archery/v_Archery_g01_c01.avi\n")


@dataclass(frozen=True)
class Made:
    """How a tiny set is made, and what its Index holds."""

    make: Callable[[Path], None]
    splits: dict[str, int]
    classes: set[str]
    skipped: int = 0
    coarse: set[str] = field(default_factory=set)
    boxes: int = 0  # pictures that have some

    @property
    def counted(self) -> Counter[str]:
        return Counter(self.splits)


CARS = {"AM General Hummer SUV 2000", "Ram C/V Cargo Van Minivan 2012"}
DOGS, BIRDS = {"Chihuahua", "toy poodle"}, {"Black footed Albatross", "Laysan Albatross"}
PLANES = Made(
    make_aircraft, {"train": 2, "val": 1, "test": 1}, {"707-320", "F/A-18"}, coarse={"Boeing 707", "F/A-18"}, boxes=4
)
MADE = {
    "mnist": Made(make_idx, {"train": 3, "test": 2}, {"0", "3", "9"}),
    "fashion-mnist": Made(make_idx, {"train": 3, "test": 2}, {"T-shirt/top", "Dress", "Ankle boot"}),
    "kmnist": Made(make_idx, {"train": 3, "test": 2}, {"o", "tsu", "wo"}),
    "cifar10": Made(make_cifar10, {"train": 5, "test": 2}, {"airplane", "automobile", "bird", "cat"}),
    "cifar100": Made(
        make_cifar100,
        {"train": 3, "test": 1},
        {"beaver", "dolphin", "shark"},
        coarse={"aquatic_mammals", "fish"},
    ),
    "svhn": Made(make_svhn, {"train": 3, "test": 1}, {"0", "1", "9"}),
    "oxford-pets": Made(make_pets, {"train": 2, "test": 1}, {"Abyssinian", "american bulldog"}, coarse={"cat", "dog"}),
    "flowers102": Made(
        make_flowers, {"train": 2, "val": 1, "test": 2}, {"pink primrose", "passion flower", "blackberry lily"}
    ),
    "stanford-cars": Made(make_cars, {"train": 2, "test": 1}, CARS, boxes=3),
    "stanford-cars-boxes": Made(make_cars, {"train": 2, "test": 1}, CARS),
    "stanford-dogs": Made(make_dogs, {"train": 3, "test": 1}, DOGS, boxes=4),
    "stanford-dogs-boxes": Made(make_dogs, {"train": 3, "test": 1}, DOGS),
    "cub200": Made(make_cub, {"train": 2, "test": 1}, BIRDS, boxes=3),
    "cub200-boxes": Made(make_cub, {"train": 2, "test": 1}, BIRDS),
    "fgvc-aircraft": PLANES,
    "fgvc-aircraft-boxes": Made(PLANES.make, PLANES.splits, PLANES.classes, coarse=PLANES.coarse),
    "food101": Made(make_food, {"train": 2, "test": 1}, {"apple pie", "ramen"}),
    "caltech101": Made(make_caltech, {"": 2}, {"accordion", "Faces_easy"}),
    "eurosat": Made(make_eurosat, {"": 2}, {"AnnualCrop", "SeaLake"}),
    "imagenet": Made(make_imagenet, {"train": 3, "val": 1}, {"n01440764", "n02012849", "n03126707"}),
    "lfw": Made(make_lfw, {"": 41}, {"George W Bush", "Tony Blair"}),
    "lfw-10": Made(make_lfw, {"": 41}, {"George W Bush", "Tony Blair"}),
    "lfw-50": Made(lambda root: make_lfw(root, {"A_B": 50, "C_D": 49}), {"": 50}, {"A B"}),
    "lfw-70": Made(lambda root: make_lfw(root, {"A_B": 70, "C_D": 69}), {"": 70}, {"A B"}),
    "lfw-100": Made(lambda root: make_lfw(root, {"A_B": 100, "C_D": 99}), {"": 100}, {"A B"}),
    "celeba": Made(make_celeba, {"train": 1, "val": 1, "test": 1}, {"5 o Clock Shadow", "Bald", "Young"}),
    "voc2012": Made(make_voc, {"train": 1, "val": 1}, {"horse", "person", "bottle"}, skipped=1, boxes=2),
    "coco": Made(make_coco, {"train": 2, "val": 2}, {"cat", "dog", "person"}, boxes=2),
    "ucf101-frames": Made(make_ucf, {"train": 5, "test": 1}, {"ApplyEyeMakeup", "Archery"}),
}
