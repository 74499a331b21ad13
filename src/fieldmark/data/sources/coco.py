"""COCO JSON: one file, or a folder with annotations/instances_*.json and the pictures beside.

https://cocodataset.org/#format-data
"""

import json
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldmark.data.index import Index, Skipped
from fieldmark.data.split import ALIASES
from fieldmark.errors import DataError, PictureError, short
from fieldmark.files import available_memory, is_file, is_folder
from fieldmark.pictures import list_folder, read_bytes
from fieldmark.types import Region, Sample

from .annotated import Annotation, Notes, Progress, Row, annotated, around, number, polygon, size_of, ticking

MAX_JSON_BYTES = 2_000_000_000
MEMORY_A_BYTE = 10  # that the values of a byte of JSON take
MAX_RUNS = 1_000_000  # of a region
PREFIX = "instances_"
BESIDE = "_annotations.coco.json"
UNKNOWN_BOX = (float("nan"),) * 4
Facts = dict[str, Any]


@dataclass(frozen=True)
class _Document:
    """One file: its place, its split, its images, and the annotations of each by the id of the image."""

    path: Path
    split: str | None
    images: list[Facts]
    found: dict[Any, list[tuple[int, Facts]]]
    names: dict[Any, str]

    def any_has(self, key: str) -> bool:
        return any(facts.get(key) for rows in self.found.values() for _, facts in rows)


def is_coco(root: Path) -> bool:
    """Whether a folder holds COCO files where they are usually kept."""
    return bool(_files(root))


def open_coco(data: Path, progress: Progress | None = None) -> Index:
    """The Index of a COCO file or folder: boxes, and outlines where every annotation of a picture has one.

    Files without any `bbox` are masks. Raises DataError for a file that is no COCO JSON, and when a picture is in two
    splits.
    """
    notes, files = Notes(), _files(data) if is_folder(data) else [data]
    documents = [_read(path, _split(path, data) if is_folder(data) else None, notes) for path in files]
    boxes = any(d.any_has("bbox") for d in documents) or not any(d.any_has("segmentation") for d in documents)
    first: dict[str, Sample] = {}
    skipped: list[Skipped] = []
    for document in documents:
        outlined = document.any_has("segmentation")
        places = _places(document.path, data)
        for image in ticking(document.images, progress):
            name = str(image["file_name"]).replace("\\", "/")
            try:
                sample = _sample(name, places, document.split)
                truth = _annotation(document, image, boxes, outlined, notes)
                _add(annotated(sample, truth, notes), first, document.path)
            except PictureError as error:
                skipped.append(Skipped(name, str(error)))
    return Index(str(data), tuple(first.values()), tuple(skipped), "boxes" if boxes else "mask", notes.all())


def _files(root: Path) -> list[Path]:
    """The COCO files of a folder: in annotations, or one beside the pictures of each part."""
    if is_folder(root / "annotations"):
        found = [p for p in list_folder(root / "annotations") if p.suffix.lower() == ".json"]
        return [p for p in found if p.name.startswith(PREFIX)] or [p for p in found if _split(p, root)]
    folders = [root, *(p for p in list_folder(root) if p.name.lower() in ALIASES)]
    return [p / BESIDE for p in folders if is_file(p / BESIDE)]


def _split(path: Path, root: Path) -> str | None:
    """The split that the name of a file, or of its folder below `root`, says."""
    said = path.parent.name if path.name == BESIDE and path.parent != root else path.stem
    return next((ALIASES[word] for word in re.split(r"[^a-z]+", said.lower()) if word in ALIASES), None)


def _read(path: Path, split: str | None, notes: Notes) -> _Document:
    facts = _json(path)
    missing = [key for key in ("images", "annotations", "categories") if not isinstance(facts.get(key), list)]
    if missing:
        raise DataError(f"{path} is no COCO file: it has no list of {' and of '.join(missing)}")
    images = {}
    for image in facts["images"]:
        if not isinstance(image, dict) or not isinstance(image.get("file_name"), str) or not _is_id(image.get("id")):
            notes.add(path.name, "an image without id or file_name; left out")
        elif image["id"] in images:
            notes.add(path.name, f"image {image['id']} ({image['file_name'][:80]}): the id is taken; left out")
        else:
            images[image["id"]] = image
    found: dict[Any, list[tuple[int, Facts]]] = defaultdict(list)
    for i, row in enumerate(facts["annotations"]):
        if not isinstance(row, dict) or not _is_id(row.get("image_id")) or row["image_id"] not in images:
            notes.add(path.name, f"{_place(i, row)}: there is no such image; left out")
        else:
            found[row["image_id"]].append((i, row))
    if crowds := sum(bool(row.get("iscrowd")) for rows in found.values() for _, row in rows):
        notes.add(path.name, f"{crowds:,} annotations are of crowds, not of one thing each; left out of the boxes")
    return _Document(path, split, list(images.values()), found, _names(path, facts["categories"]))


def _names(path: Path, categories: list[Any]) -> dict[Any, str]:
    """The name of each category by its id; DataError when one has two."""
    names: dict[Any, str] = {}
    for category in (c for c in categories if isinstance(c, dict) and _is_id(c.get("id"))):
        name = category.get("name")
        if not isinstance(name, str) or not name.strip():
            continue
        before = names.setdefault(category["id"], name.strip())
        if before != name.strip():
            which = short(repr(category["id"]))
            raise DataError(f"{path}: category {which} has two names, {short(before)!r} and {short(name)!r}; keep one")
    return names


def _json(path: Path) -> Facts:
    free = available_memory()
    if is_file(path) and path.stat().st_size * MEMORY_A_BYTE > free:
        raise DataError(f"{path} needs more than the {free / 1e9:.0f} GB of memory that are free; split it")
    try:
        facts = json.loads(read_bytes(path, MAX_JSON_BYTES))
    except PictureError as error:
        raise DataError(f"{path}: {error}") from None
    except RecursionError:
        raise DataError(f"{path} is nested too deep for JSON of pictures") from None
    except ValueError as error:
        raise DataError(f"{path} is no JSON: {error}") from None
    if not isinstance(facts, dict):
        raise DataError(f"{path} is no COCO file: it holds no object with images, annotations and categories")
    return facts


def _is_id(value: Any) -> bool:
    return isinstance(value, int | float | str)


def _place(i: int, row: Any) -> str:
    own = row.get("id") if isinstance(row, dict) else None
    return f"annotation {own}" if _is_id(own) else f"annotation number {i + 1}"


def _places(path: Path, data: Path) -> tuple[Path, list[Path]]:
    """The folder that names are relative to, and those where the pictures of a file may be."""
    base = path.parent.parent if path.parent.name.lower() == "annotations" else path.parent
    base = data if is_folder(data) else base
    own = path.stem.removeprefix(PREFIX)
    return base, [base / own, base / "images" / own, path.parent, base, base / "images", base / "data"]


def _sample(name: str, places: tuple[Path, list[Path]], split: str | None) -> Sample:
    base, folders = places
    for folder in folders:
        if "\0" not in name and is_file(folder / name):
            path = folder / name
            return Sample(path, path.relative_to(base).as_posix() if path.is_relative_to(base) else name, split=split)
    raise PictureError("no such file")


def _add(sample: Sample, first: dict[str, Sample], path: Path) -> None:
    before = first.setdefault(sample.name, sample)
    if before.split != sample.split:
        raise DataError(f"{path}: {sample.name} is in {sample.split} and in {before.split}; keep it in one")
    if before is not sample:
        raise PictureError("another image of the file is the same picture")


def _annotation(document: _Document, image: Facts, boxes: bool, outlined: bool, notes: Notes) -> Annotation:
    """What a file says of an image; no regions when one is missing or broken, since the rest would be background."""
    found, source = document.found.get(image["id"], []), document.path.name
    size_wh = _size(image) or next((s for _, facts in found if (s := _runs_size(facts.get("segmentation")))), None)
    rows: list[Row] = []
    regions: list[Region | None] = []
    for i, facts in found:
        category = facts.get("category_id")
        label = document.names.get(category) if _is_id(category) else None
        if label is None:
            notes.add(source, f"{_place(i, facts)}: unknown category {str(category)[:80]}; left out")
            regions.append(None)
            continue
        place, given = f"{_place(i, facts)} ({label})", facts.get("segmentation")
        regions.append(_region(label, given, size_wh))
        if regions[-1] is None and given:
            notes.add(source, f"{place}: the segmentation cannot be read; the picture is left without a mask")
        if boxes and not facts.get("iscrowd"):
            rows += _rows(_place(i, facts), label, facts.get("bbox"), regions[-1])
    drawn = tuple(r for r in regions if r is not None)
    return Annotation(
        source, rows if boxes else None, drawn if outlined and len(drawn) == len(regions) else None, size_wh
    )


def _size(facts: Facts) -> tuple[int, int] | None:
    return size_of(facts.get("width"), facts.get("height"))


def _runs_size(given: Any) -> tuple[int, int] | None:
    """The size of the grid that run lengths are written in."""
    size = given.get("size") if isinstance(given, dict) else None
    return size_of(size[1], size[0]) if isinstance(size, list) and len(size) == 2 else None


def _rows(place: str, label: str, bbox: Any, region: Region | None) -> list[Row]:
    """The box of x, y, width, height; without those around the polygons; one of no numbers where there is neither."""
    if not bbox and region is not None and region.polygons:
        return [Row(place, label, around(region))]
    x, y, width, height = map(number, bbox) if isinstance(bbox, list) and len(bbox) == 4 else UNKNOWN_BOX
    return [Row(place, label, (x, y, x + width, y + height))]


def _region(label: str, given: Any, size_wh: tuple[int, int] | None) -> Region | None:
    """Polygons, or run lengths as text or numbers in a grid of the picture's size; None for anything else."""
    if isinstance(given, list) and given:
        polygons = [polygon(p) if isinstance(p, list) else None for p in given]
        known = tuple(p for p in polygons if p is not None)
        return Region(label, known) if len(known) == len(polygons) else None
    if not isinstance(given, dict) or _runs_size(given) != size_wh:
        return None
    runs = given.get("counts")
    if isinstance(runs, str) and 0 < len(runs) <= MAX_RUNS and runs.isascii():
        return Region(label, runs=runs)
    if isinstance(runs, list) and 0 < len(runs) <= MAX_RUNS and all(type(n) is int and 0 <= n < 2**31 for n in runs):
        return Region(label, runs=tuple(runs))
    return None
