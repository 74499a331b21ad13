"""YOLO: one text file a picture, a row a box (`class cx cy w h`) or an outline (`class x y x y ...`), as shares of the
upright picture's sides; the classes in data.yaml or classes.txt.

https://docs.ultralytics.com/datasets/detect/
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fieldmark.data.index import Index, Skipped
from fieldmark.data.split import ALIASES
from fieldmark.errors import DataError, MissingExtraError, PictureError, first_line, short
from fieldmark.files import is_file, is_folder
from fieldmark.pictures import Unusable, list_folder, walk_pictures
from fieldmark.types import Outlines, Region, Sample

from .annotated import (
    CLASSES_FILE,
    Annotation,
    Notes,
    Progress,
    Row,
    annotated,
    around,
    number,
    polygon,
    read_lines,
    read_names,
    read_text,
    ticking,
)

FACTS_FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
NOTHING = ("", "~", "null")
_NUMBER = re.compile("[0-9]{1,9}")  # of a class


@dataclass(frozen=True)
class _Layout:
    """The classes by number, the folders or lists of pictures of each split, whether rows go on after the box."""

    home: Path
    names: dict[int, str]
    parts: dict[str | None, list[Path]]
    keypoints: bool = False


def is_yolo(root: Path) -> bool:
    """Whether a folder holds data.yaml, or images beside labels that are texts and no pictures."""
    if any(is_file(root / name) and _is_of_yolo(root / name) for name in FACTS_FILES):
        return True
    if not (is_folder(root / "images") and is_folder(root / "labels")):
        return False
    return _holds_texts(root / "labels") and next(walk_pictures(root / "labels"), None) is None


def _is_of_yolo(file: Path) -> bool:
    """Whether a YAML file names parts and classes, without reading it as YAML."""
    try:
        text = read_text(file)
    except PictureError:
        return False
    return all(re.search(rf"^[\"']?({key})[\"']?\s*:", text, re.MULTILINE) for key in ("names", "train|val|valid|test"))


def _holds_texts(folder: Path) -> bool:
    found = [p for p in list_folder(folder) if is_folder(p) or p.suffix.lower() == ".txt"]
    return any(not is_folder(p) or any(q.suffix.lower() == ".txt" for q in list_folder(p)) for p in found)


def open_yolo(data: Path, progress: Progress | None = None) -> Index:
    """The Index of a YOLO folder, or of its YAML file: boxes, and outlines where all rows are such.

    A picture without a text file has no boxes. Raises DataError when nothing names the classes, and when a picture is
    in two splits.
    """
    notes = Notes()
    layout = _layout(data, notes)
    skipped: list[Skipped] = []
    samples: dict[Path, Sample] = {}
    for split, places in layout.parts.items():
        pictures = [p for place in places for p in _pictures(place, skipped)]
        for picture in ticking(pictures, progress):
            name = _name(picture, layout.home)
            before = samples.get(picture)
            if before is not None:
                _refuse_two(name, before.split, split, data)
                continue
            try:
                samples[picture] = _sample(Sample(picture, name, split=split), layout, notes)
            except PictureError as error:
                skipped.append(Skipped(name, str(error)))
    if samples and not any(is_file(_label_file(path)) for path in samples):
        raise DataError(
            f"{data}: no picture has a file of boxes; {_label_file(next(iter(samples)))} would be the first"
        )
    outlined = any(isinstance(s.mask, Outlines) and s.mask.regions for s in samples.values())
    found = tuple(s if outlined else replace(s, mask=None) for s in samples.values())
    return Index(str(data), found, tuple(skipped), "boxes", notes.all())


def _refuse_two(name: str, one: str | None, other: str | None, data: Path) -> None:
    if one != other:
        raise DataError(f"{data}: {name} is in {one} and in {other}; keep it in one")


def _layout(data: Path, notes: Notes) -> _Layout:
    home = data if is_folder(data) else data.parent
    file = next((home / name for name in FACTS_FILES if is_file(home / name)), None) if is_folder(data) else data
    facts = {} if file is None else _facts(file)
    names = _names(facts.get("names"), file) or _listed_names(home)
    if names is None:
        raise DataError(f"{data}: nothing names the classes; write {CLASSES_FILE}, one a line, or names in data.yaml")
    for _, count in facts.get("nc", []):
        if count != str(len(names)):
            notes.add(data.name, f"nc is {short(count)}, but {len(names)} classes are named; the names count")
    parts: dict[str | None, list[Path]] = {}
    for part in ("train", "val", "test"):
        places = _places(part, facts, home, notes)
        if places and places in parts.values():
            notes.add(data.name, f"{part} is the very folder of another part; not used twice")
        elif places:
            parts[part] = places
    return _Layout(home, names, parts or {None: [home / "images"]}, "kpt_shape" in facts)


def _facts(file: Path) -> dict[str, list[tuple[str, str]]]:
    """The first level of a YAML file: of each key the pairs of a mapping, numbered members of a list, or one value.

    The file is parsed, nothing in it is made into objects. DataError when it is no YAML.
    """
    try:
        import yaml
    except ImportError:
        raise MissingExtraError("reading YAML", "detect") from None
    try:
        root = yaml.compose(read_text(file), yaml.SafeLoader)
    except (yaml.YAMLError, PictureError, RecursionError, ValueError, OverflowError) as error:
        raise DataError(f"{file} cannot be read as YAML: {first_line(error)}") from None
    if not isinstance(root, yaml.MappingNode):
        raise DataError(f"{file} must hold keys such as train, val and names")
    found: dict[str, list[tuple[str, str]]] = {}
    for key, node in root.value:
        if _scalar(key) in found and _scalar(key) in ("names", *ALIASES):
            raise DataError(f"{file} has the key {_scalar(key)} twice; keep one")
        if isinstance(node, yaml.MappingNode):
            found[_scalar(key)] = [(_scalar(k), _scalar(v)) for k, v in node.value]
        elif isinstance(node, yaml.SequenceNode):
            found[_scalar(key)] = [(str(i), _scalar(v)) for i, v in enumerate(node.value)]
        else:
            found[_scalar(key)] = [] if node.value in NOTHING else [("0", node.value)]
    return found


def _scalar(node: Any) -> str:
    """The text of a YAML node; nothing for one with members, which may refer to each other without end."""
    return node.value if isinstance(node.value, str) else ""


def _names(pairs: list[tuple[str, str]] | None, file: Path | None) -> dict[int, str] | None:
    if not pairs:
        return None
    if not all(_NUMBER.fullmatch(key) and name.strip() for key, name in pairs):
        raise DataError(f"{file}: names must be a list of class names, or number: name")
    names: dict[int, str] = {}
    numbers: dict[str, int] = {}
    for i, name in ((int(key), name.strip()) for key, name in pairs):
        if names.setdefault(i, name) != name:
            raise DataError(f"{file}: class {i} has two names, {short(names[i])!r} and {short(name)!r}; keep one")
        if numbers.setdefault(name, i) != i:
            raise DataError(f"{file}: classes {numbers[name]} and {i} are both named {short(name)!r}; rename one")
    return names


def _listed_names(home: Path) -> dict[int, str] | None:
    files = [home / CLASSES_FILE, home / "labels" / CLASSES_FILE]
    file = next((f for f in files if is_file(f)), None)
    return None if file is None else dict(enumerate(read_names(file)))


def _places(part: str, facts: dict[str, list[tuple[str, str]]], home: Path, notes: Notes) -> list[Path]:
    """The folders or lists of pictures of a part: as the facts say, or, if those are of another machine, as usual."""
    words = [word for word, meant in ALIASES.items() if meant == part]
    usual = [p for word in words for p in (home / "images" / word, home / word / "images") if is_folder(p)][:1]
    wanted = [value for word in words for _, value in facts.get(word, []) if "\0" not in value]
    roots = [home / value for _, value in facts.get("path", []) if "\0" not in value] + [home]
    places: list[Path] = []
    for value in wanted:
        tried = [root / tail for root in roots for tail in (value, value.removeprefix("../"))]
        found = [p for p in tried if is_folder(p) or is_file(p)][:1] or usual
        if not found:
            notes.add("train, val, test", f"{value} is not there; left out")
        places += [p for p in found if p not in places]
    return places if wanted else usual


def _pictures(place: Path, skipped: list[Skipped]) -> list[Path]:
    """The pictures of a folder, or those that a text file lists."""
    if is_folder(place):
        found = list(walk_pictures(place))
        skipped += [Skipped(str(p.path), f"the folder {p.reason}") for p in found if isinstance(p, Unusable)]
        return [p for p in found if not isinstance(p, Unusable)]
    try:
        lines = read_lines(place)
    except PictureError as error:
        raise DataError(f"{place}: {error}") from None
    return [place.parent / line for line in lines if line and "\0" not in line]


def _name(picture: Path, home: Path) -> str:
    return picture.relative_to(home).as_posix() if picture.is_relative_to(home) else picture.as_posix()


def _sample(sample: Sample, layout: _Layout, notes: Notes) -> Sample:
    file = _label_file(sample.path)
    source = _name(file, layout.home)
    if not is_folder(file.parent):
        raise PictureError(f"there is no folder {_name(file.parent, layout.home)} for its boxes")
    try:
        lines = read_text(file).splitlines() if is_file(file) else []
    except PictureError as error:
        raise PictureError(f"{source}: {error}") from None
    rows: list[Row] = []
    regions: list[Region] = []
    written = [(i, text.split()) for i, text in enumerate(lines, start=1) if text.strip()]
    for line, cells in written:
        found = _row(f"line {line}", cells[:5] if layout.keypoints else cells, layout.names)
        if isinstance(found, str):
            notes.add(source, f"line {line}: {found}; left out")
        else:
            rows.append(found[0])
            regions += found[1:]
    whole = tuple(regions) if len(regions) == len(written) else None  # else the rest would be background
    if regions and whole is None:
        notes.add(source, "an outline is missing or broken; the picture is left without a mask")
    return annotated(sample, Annotation(source, rows, whole, relative=True), notes)


def _label_file(picture: Path) -> Path:
    """Where the rows of a picture stand: below `labels` instead of the last `images`, or beside it."""
    parts = picture.parts
    places = [i for i, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        picture = Path(*parts[: places[-1]], "labels", *parts[places[-1] + 1 :])
    return picture.with_suffix(".txt")


def _row(place: str, cells: Sequence[str], names: dict[int, str]) -> tuple[Row] | tuple[Row, Region] | str:
    """The box of a row, with its outline where it has one; or what is wrong with it."""
    which = number(cells[0])
    label = names.get(int(which)) if which == which // 1 and abs(which) < 1e9 else None
    if label is None:
        return f"unknown class {cells[0][:20]}"
    if len(cells) == 5:
        cx, cy, width, height = map(number, cells[1:])
        return (Row(place, label, (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)),)
    points = polygon(cells[1:])
    if points is None and len(cells) > 6 and len(cells) % 2:
        return "a coordinate of the outline is no number"
    if points is None:
        return f"{len(cells)} values, neither a box (5) nor an outline of three or more points"
    region = Region(label, (points,))
    return Row(place, label, around(region)), region
