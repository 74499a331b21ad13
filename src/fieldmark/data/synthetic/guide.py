"""The whole field guide on disk: pictures, masks, labels and boxes, written all at once or not at all."""

from __future__ import annotations

import contextlib
import csv
import glob
import json
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image

from fieldmark.errors import DataError
from fieldmark.files import cache_folder, sha256
from fieldmark.types import Boxes

from .render import SIZE, Rendered, render_picture
from .species import MARK_KINDS, MARK_WORDS, SPECIES, Species, telling_marks, twins

SEED = 20260101
PER_CLASS = (60, 15, 25)
SPLITS = ("train", "val", "test")
JPEG_QUALITY = 92
GENERATOR = 1  # raised whenever the same seed would give other pictures
FACTS_FILE = "field-guide.json"
TABLES = ("labels.csv", "boxes.json")
_SPLIT_STRIDE = 1_000_000  # so that a picture does not depend on how many others are drawn
_REPORT_EVERY = 10
_ABANDONED_S = 600.0

Json = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """One picture to draw: its split, its class, its number for the random generator and its name."""

    split: str
    species: Species
    index: int
    stem: str

    @property
    def picture(self) -> str:
        """Return the picture's path, relative to the set's folder."""
        return f"pictures/{self.stem}.jpg"

    @property
    def mask(self) -> str:
        """Return the mask's path, relative to the set's folder."""
        return f"masks/{self.stem}.png"


def entries(per_class: tuple[int, int, int] = PER_CLASS) -> list[Entry]:
    """Return every picture of the set: train, then val, then test, the species in turn."""
    result = []
    for number, (split, count) in enumerate(zip(SPLITS, per_class, strict=True)):
        for copy in range(count):
            for rank, species in enumerate(SPECIES):
                index = number * _SPLIT_STRIDE + copy * len(SPECIES) + rank
                result.append(Entry(split, species, index, f"{split}-{species.name}-{copy:03d}"))
    return result


def render_field_guide(
    out: Path,
    *,
    seed: int = SEED,
    size: int = SIZE,
    per_class: tuple[int, int, int] = PER_CLASS,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Draw the set into the new folder `out` and return it; a complete set with the same parameters is kept.

    `per_class` counts pictures of train, val and test; `progress(done, total)` is called now and then.
    Raises DataError if `out` holds anything else.
    """
    out = Path(out)
    facts = _facts(seed, size, per_class)
    if _is_complete(out, facts, per_class):
        return out
    part = out.parent / f".{out.name}.{uuid.uuid4().hex}.part"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(out)
        _write(part, facts, entries(per_class), progress)
        if out.is_dir():
            out.rmdir()  # empty, or this raises: an empty folder may be filled, but not on every system renamed over
        part.rename(out)
    except OSError as error:
        if _is_complete(out, facts, per_class):  # another process was faster
            return out
        raise DataError(f"cannot write the field guide to {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return out


def cached_field_guide(progress: Callable[[int, int], None] | None = None) -> Path:
    """Return the set as it is fixed, drawn into the cache folder the first time, and again if files were lost.

    Raises DataError if the cache folder cannot be written.
    """
    folder = cache_folder() / "field-guide" / f"{GENERATOR}-{SEED}"
    try:
        try:
            return render_field_guide(folder, progress=progress)
        except DataError as error:
            if isinstance(error.__cause__, OSError):
                raise
            shutil.rmtree(folder, ignore_errors=True)
            return render_field_guide(folder, progress=progress)
    except DataError as error:
        raise DataError(f"{error}; set FIELDMARK_CACHE to a folder with room that can be written") from error


def _remove_leftovers(out: Path) -> None:
    """Remove what killed drawings of `out` left; a drawing that goes on changes its folder every moment."""
    for left in out.parent.glob(f".{glob.escape(out.name)}.{'[0-9a-f]' * 32}.part"):
        with contextlib.suppress(OSError):
            changed = max(p.lstat().st_mtime for p in (left, left / "pictures") if p.exists())
            if time.time() - changed > _ABANDONED_S:
                shutil.rmtree(left, ignore_errors=True)


def _facts(seed: int, size: int, per_class: tuple[int, int, int]) -> Json:
    return {
        "generator": GENERATOR,
        "seed": seed,
        "size": size,
        "per_class": dict(zip(SPLITS, per_class, strict=True)),
        "counts": {split: count * len(SPECIES) for split, count in zip(SPLITS, per_class, strict=True)},
    }


def _is_complete(out: Path, facts: Json, per_class: tuple[int, int, int]) -> bool:
    """Return whether `out` holds this very set; raise DataError if it holds anything else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    try:
        found = json.loads((out / FACTS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise DataError(f"{out} exists and is no field guide: name a folder that does not exist yet")
    if any(found.get(key) != value for key, value in facts.items()):
        raise DataError(f"{out} holds a field guide with other parameters: name another folder, or remove this one")
    wanted = _files(entries(per_class))
    if not all((out / name).is_file() for name in wanted) or found.get("checksum") != _checksum(out, wanted):
        raise DataError(f"the field guide in {out} is no longer complete: remove the folder and draw it again")
    return True


def _files(todo: list[Entry]) -> list[str]:
    """Return all files of these entries, and of the whole set, but the facts."""
    return [*(name for entry in todo for name in (entry.picture, entry.mask)), *TABLES]


def _checksum(folder: Path, names: list[str]) -> str:
    """Return the SHA-256 of the tables and of the sizes of all files; to read all pictures would take too long."""
    sizes = "\n".join(f"{name} {(folder / name).stat().st_size}" for name in names)
    return sha256(b"\n".join([sizes.encode(), *((folder / name).read_bytes() for name in TABLES)]))


def _write(part: Path, facts: Json, todo: list[Entry], progress: Callable[[int, int], None] | None) -> None:
    (part / "pictures").mkdir(parents=True)
    (part / "masks").mkdir()
    drawn: list[tuple[Entry, Json]] = []
    for entry in todo:  # one after the other: threads were measured slower, since Python itself is the bottleneck
        drawn.append((entry, _draw(part, facts["seed"], facts["size"], entry)))
        if progress is not None and (len(drawn) % _REPORT_EVERY == 0 or len(drawn) == len(todo)):
            progress(len(drawn), len(todo))
    _write_labels(part / "labels.csv", todo)
    _write_json(part / "boxes.json", _coco(drawn, facts["size"]))
    versions = {"numpy": np.__version__, "pillow": PIL.__version__}
    facts = {**facts, "species": [_described(one) for one in SPECIES], "versions": versions}
    _write_json(part / FACTS_FILE, {**facts, "checksum": _checksum(part, _files(todo))})


def _draw(part: Path, seed: int, size: int, entry: Entry) -> Json:
    """Draw and save one picture and its mask; return its boxes."""
    rendered = render_picture(entry.species, seed, entry.index, size)
    Image.fromarray(rendered.picture).save(part / entry.picture, quality=JPEG_QUALITY)
    mask = Image.fromarray(rendered.mask.astype(np.uint8) * np.uint8(255))
    mask.save(part / entry.mask, compress_level=1)
    return _boxes(rendered)


def _boxes(rendered: Rendered) -> Json:
    return {"bird": rendered.box_xyxy, **{kind: rendered.marks[kind] for kind in MARK_KINDS if kind in rendered.marks}}


def _write_labels(path: Path, todo: list[Entry]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("path", "label", "split", "mask"))
        writer.writerows((entry.picture, entry.species.name, entry.split, entry.mask) for entry in todo)


def _write_json(path: Path, value: Json) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def _coco(drawn: list[tuple[Entry, Json]], size: int) -> Json:
    """Return the boxes in COCO's form; a mark's box says its value and whether it is telling."""
    categories = {name: number for number, name in enumerate(("bird", *MARK_KINDS), 1)}
    images: list[Json] = []
    annotations: list[Json] = []
    for number, (entry, boxes) in enumerate(drawn, 1):
        images.append({"id": number, "file_name": entry.picture, "width": size, "height": size, "split": entry.split})
        telling, values = telling_marks(entry.species), entry.species.marks.as_dict()
        for kind, (x0, y0, x1, y1) in boxes.items():
            box = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "iscrowd": 0}
            attributes = {"telling": kind in telling, "value": values.get(kind, entry.species.name)}
            identity = {"id": len(annotations) + 1, "image_id": number, "category_id": categories[kind]}
            annotations.append({**identity, **box, "attributes": attributes})
    return {
        "info": {"description": "Fieldmark's synthetic field guide", "version": str(GENERATOR)},
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": number, "name": name, "supercategory": "bird" if name == "bird" else "mark"}
            for name, number in categories.items()
        ],
    }


def telling_boxes(folder: Path) -> dict[str, Boxes]:
    """The boxes of the telling marks in the set at `folder`, by the picture's path there."""
    coco = json.loads((folder / "boxes.json").read_text(encoding="utf-8"))
    kinds = {category["id"]: category["name"] for category in coco["categories"]}
    marks: dict[int, list[tuple[str, list[float]]]] = {image["id"]: [] for image in coco["images"]}
    for box in coco["annotations"]:
        if box["attributes"]["telling"]:
            x, y, w, h = box["bbox"]
            marks[box["image_id"]].append((kinds[box["category_id"]], [x, y, x + w, y + h]))
    found = {}
    for image in coco["images"]:
        rows = marks[image["id"]]
        corners = np.array([corners for _, corners in rows], np.float32).reshape(-1, 4)
        found[image["file_name"]] = Boxes(corners, tuple(kind for kind, _ in rows))
    return found


def _described(species: Species) -> Json:
    words = [MARK_WORDS[item] for item in species.marks.as_dict().items() if item in MARK_WORDS]
    return {
        "name": species.name,
        "description": species.description,
        "marks": species.marks.as_dict(),
        "marks_in_words": words,
        "telling": sorted(telling_marks(species)),
        "twins": [twin.name for twin in twins(species)],
    }
