"""What the official lists of data sets are read with: text, XML and .mat files, bounded, and samples that exist."""

import math
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from fieldmark.data.index import Index, Skipped
from fieldmark.errors import DataError, MissingExtraError
from fieldmark.files import is_file
from fieldmark.types import Boxes, Sample

MAX_TEXT_BYTES = 100_000_000
MAX_XML_BYTES = 1_000_000
MAX_ELEMENTS = 1_000_000_000  # of one variable in a .mat file


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not empty, stripped; DataError when it is no text or too large."""
    return [line for line in map(str.strip, read_bounded(path, MAX_TEXT_BYTES).splitlines()) if line]


def read_bounded(path: Path, most_bytes: int) -> str:
    """A text file; DataError when it is missing, larger than `most_bytes`, or not UTF-8."""
    try:
        if path.stat().st_size > most_bytes:
            raise DataError(f"{path} is larger than {most_bytes:,} bytes, which is no list of a data set; get it again")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; get it again") from error
    except UnicodeDecodeError:
        raise DataError(f"{path} is not text; get it again") from None


def read_pairs(path: Path) -> tuple[dict[str, str], list[Skipped]]:
    """Lines of a key, a space, and a value; lines without both are left out."""
    found: dict[str, str] = {}
    skipped = []
    for number, line in enumerate(read_lines(path), start=1):
        key, _, value = line.partition(" ")
        if value.strip():
            found[key] = value.strip()
        else:
            skipped.append(Skipped(f"{path.name}, line {number}", f"{line[:40]!r} is not a name and a value"))
    return found, skipped


def listed(
    source: str, root: Path, samples: Iterable[Sample], skipped: Iterable[Skipped] = (), kind: str = "label"
) -> Index:
    """The Index of those samples whose file is there, below `root`; the others are left out."""
    kept, left_out = [], list(skipped)
    for sample in samples:
        if PurePosixPath(sample.name).is_absolute() or ".." in PurePosixPath(sample.name).parts:
            left_out.append(Skipped(sample.name, f"the path leaves the folder {root}"))
        elif not is_file(sample.path):
            left_out.append(Skipped(sample.name, "no such file"))
        else:
            kept.append(sample)
    return Index(source, tuple(kept), tuple(left_out), kind)


def read_mat(path: Path, *names: str) -> dict[str, NDArray[Any]]:
    """Variables of a MATLAB file (version 5), squeezed, at least one-dimensional.

    Raises DataError when it is damaged, lacks one of `names` or declares absurd sizes; MissingExtraError without scipy.
    """
    try:
        from scipy.io import loadmat, whosmat
    except ImportError:
        raise MissingExtraError("reading .mat files", "report") from None
    try:
        shapes = {name: shape for name, shape, _ in whosmat(path)}
        large = [name for name in names if math.prod(map(int, shapes.get(name, ()))) > MAX_ELEMENTS]
        if large:
            raise DataError(f"{path} says that {large[0]} has the size {shapes[large[0]]}; get it again")
        found = loadmat(path, variable_names=names, squeeze_me=True)
    except DataError:
        raise
    except Exception as error:  # scipy raises whatever the damage leads to
        reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
        raise DataError(f"{path} cannot be read as a .mat file ({reason}); get it again") from error
    gone = [name for name in names if name not in found]
    if gone:
        raise DataError(f"{path} does not hold {' and '.join(gone)}; get it again")
    return {name: np.atleast_1d(found[name]) for name in names}


def read_objects(path: Path) -> list[tuple[str, tuple[float, float, float, float], bool]]:
    """The objects of a VOC annotation: name, xyxy as written, and whether it is marked difficult.

    Raises DataError when the file cannot be read as one.
    """
    text = read_bounded(path, MAX_XML_BYTES)
    try:
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise ValueError("it declares entities")
        tree = ElementTree.fromstring(text)  # noqa: S314 - without entities nothing can grow or be fetched
        return [_object(element) for element in tree.iter("object")]
    except (ElementTree.ParseError, ValueError, TypeError) as error:
        raise DataError(f"{path.name} is no annotation ({error})") from error


def _object(element: ElementTree.Element) -> tuple[str, tuple[float, float, float, float], bool]:
    name, box = element.findtext("name"), element.find("bndbox")
    if not name or box is None:
        raise ValueError("an object has no name or no box")
    x0, y0, x1, y1 = (float(box.findtext(side, "")) for side in ("xmin", "ymin", "xmax", "ymax"))
    if not all(map(math.isfinite, (x0, y0, x1, y1))):
        raise ValueError("a box is not finite")
    return name, (x0, y0, x1, y1), element.findtext("difficult", "0").strip() == "1"


def boxes_of(rows: Iterable[tuple[str, tuple[float, float, float, float]]]) -> Boxes | None:
    """Names and xyxy as Boxes; None when there are none."""
    listed_rows = list(rows)
    if not listed_rows:
        return None
    return Boxes(np.array([box for _, box in listed_rows], np.float32), tuple(name for name, _ in listed_rows))
