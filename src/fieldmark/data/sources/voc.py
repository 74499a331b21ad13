"""Pascal VOC: JPEGImages with boxes in Annotations/*.xml, or with masks in SegmentationClass; splits in ImageSets.

http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html
"""

import re
from collections.abc import Iterator
from pathlib import Path

from fieldmark.data.index import Index, Skipped
from fieldmark.errors import DataError, PictureError
from fieldmark.files import is_file, is_folder
from fieldmark.pictures import list_folder, read_bytes
from fieldmark.types import MaskFile, Sample

from .annotated import (
    MAX_TEXT_BYTES,
    Annotation,
    Notes,
    Progress,
    Row,
    annotated,
    by_stem,
    mask_names_in,
    number,
    read_lines,
    size_of,
    ticking,
)
from .xml import Element, read_xml

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
MASKS = "SegmentationClass"
ROOT = "annotation"
LISTS = (("train", "train"), ("val", "val"), ("test", "test"), ("trainval", "train"))  # the first that names a picture
CORNERS = ("xmin", "ymin", "xmax", "ymax")
FROM_ONE = re.compile(
    r"The VOC\d{4} Database", re.IGNORECASE
)  # its own pixels are counted from 1; those of tools are not
XML = frozenset({".xml"})


def is_voc(root: Path) -> bool:
    """Whether a folder is laid out like Pascal VOC, or is the SegmentationClass of one."""
    home = root.parent if root.name == MASKS else root
    pictures, notes = _folder(home, "JPEGImages", "images"), _folder(home, "Annotations")
    if pictures is None:
        return False
    return is_folder(home / MASKS) or (notes is not None and bool(by_stem(notes, XML)))


def open_voc(root: Path, progress: Progress | None = None) -> Index:
    """The Index of a VOC folder: boxes where it has Annotations, masks otherwise or where its SegmentationClass is
    named itself.

    Pictures whose annotation is missing or broken are left out. Raises DataError when a picture is in two splits.
    """
    home = root.parent if root.name == MASKS else root
    pictures = _folder(home, "JPEGImages", "images")
    if pictures is None:
        raise DataError(f"{home} has no folder JPEGImages")
    notes = Notes()
    annotations = None if root.name == MASKS else _folder(home, "Annotations")
    truth = by_stem(home / MASKS) if annotations is None else by_stem(annotations, XML)
    splits = _splits(home / "ImageSets" / ("Segmentation" if annotations is None else "Main"))
    found = by_stem(pictures)
    if splits and (unlisted := truth.keys() - splits.keys()):
        notes.add("ImageSets", f"{len(unlisted):,} annotated pictures are in none of its lists; left out")
    names = mask_names_in(home) or CLASSES
    samples: list[Sample] = []
    skipped: list[Skipped] = []
    for stem in ticking(sorted(splits or truth), progress):
        try:
            if stem not in found:
                raise PictureError(f"there is no such picture in {pictures.name}")
            if stem not in truth:
                raise PictureError(f"it has no file in {MASKS if annotations is None else 'Annotations'}")
            sample = Sample(found[stem], found[stem].relative_to(home).as_posix(), split=splits.get(stem))
            samples.append(_sample(sample, truth[stem], None if annotations else names, home, notes))
        except PictureError as error:
            skipped.append(Skipped(f"{pictures.name}/{found[stem].name if stem in found else stem}", str(error)))
    kind = "mask" if annotations is None else "boxes"
    return Index(str(root), tuple(samples), tuple(skipped), kind, notes.all())


def _sample(sample: Sample, truth: Path, names: tuple[str, ...] | None, home: Path, notes: Notes) -> Sample:
    if names is not None:
        return Sample(sample.path, sample.name, split=sample.split, mask=MaskFile(truth, names))
    source = truth.relative_to(home).as_posix()
    try:
        elements = read_xml(read_bytes(truth, MAX_TEXT_BYTES), ROOT)
    except PictureError as error:
        raise PictureError(f"the annotation {source}: {error}") from None
    facts = {e.path: e.text for e in elements if not e.path.startswith("object")}
    from_one = FROM_ONE.search(facts.get("source/database", "")) is not None
    rows = [row for row in (_row(o, from_one, source, notes) for o in _objects(elements)) if row is not None]
    size_wh = size_of(facts.get("size/width"), facts.get("size/height"))
    return annotated(sample, Annotation(source, rows, size_wh=size_wh), notes)


def _objects(elements: list[Element]) -> Iterator[tuple[int, dict[str, str]]]:
    """The line and the values of each object; of two of a name, as in parts of parts, the first."""
    line, values = 0, dict[str, str]()
    for path, at, text in elements:
        if path == "object":
            if line:
                yield line, values
            line, values = at, {}
        elif path.startswith("object/"):
            values.setdefault(path.removeprefix("object/"), text)
    if line:
        yield line, values


def _row(found: tuple[int, dict[str, str]], from_one: bool, source: str, notes: Notes) -> Row | None:
    line, values = found
    label = values.get("name", "")
    corners = [number(values.get(f"bndbox/{corner}")) for corner in CORNERS]
    if not label or not any(f"bndbox/{corner}" in values for corner in CORNERS):
        notes.add(source, f"line {line}: the object has no {'bndbox' if label else 'name'}; left out")
        return None
    x0, y0, x1, y1 = corners
    return Row(f"line {line}", label, (x0 - from_one, y0 - from_one, x1, y1))


def _splits(folder: Path) -> dict[str, str]:
    """The split of each listed picture; trainval counts as training where no other list names one."""
    found: dict[str, str] = {}
    for name, split in LISTS:
        if not is_file(folder / f"{name}.txt"):
            continue
        try:
            lines = read_lines(folder / f"{name}.txt")
        except PictureError as error:
            raise DataError(f"{folder / name}.txt: {error}") from None
        for stem in filter(None, lines):
            before = found.setdefault(stem, split)
            if before != split and name != "trainval":
                raise DataError(f"{stem} is in {before}.txt and {name}.txt of {folder}; keep it in one")
    return found


def _folder(home: Path, *names: str) -> Path | None:
    """The folder in `home` of one of these names, in capitals or not."""
    wanted = [name.lower() for name in names]
    found = [p for p in list_folder(home) if p.name.lower() in wanted and is_folder(p)]
    return min(found, key=lambda p: wanted.index(p.name.lower()), default=None)
