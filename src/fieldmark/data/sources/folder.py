"""A folder of class folders, or a folder of train, val and test folders of those."""

from pathlib import Path

from fieldmark.data.index import Index
from fieldmark.data.split import ALIASES
from fieldmark.errors import DataError
from fieldmark.pictures import find_pictures
from fieldmark.types import Sample

from .table import open_table


def open_folder(root: Path) -> Index:
    """The Index of a class folder tree; a folder that holds `labels.csv` is opened through it.

    Raises DataError when there are pictures but no class folders, or nothing at all.
    """
    if (root / "labels.csv").is_file():
        return open_table(root / "labels.csv", source=str(root))
    folders = sorted((p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")), key=lambda p: p.name)
    parts = {p: ALIASES[p.name.lower()] for p in folders if p.name.lower() in ALIASES}
    samples: list[Sample] = []
    if "train" in parts.values():
        for folder, part in parts.items():
            samples += _class_folders(root, folder, part)
    else:
        samples = _class_folders(root, root, None)
    if not samples:
        raise DataError(_nothing(root))
    return Index(str(root), tuple(samples))


def _class_folders(root: Path, parent: Path, part: str | None) -> list[Sample]:
    samples = []
    for folder in sorted((p for p in parent.iterdir() if p.is_dir()), key=lambda p: p.name):
        if folder.name.startswith("."):
            continue
        samples += [Sample(p, p.relative_to(root).as_posix(), (folder.name,), part) for p in find_pictures(folder)]
    return samples


def _nothing(root: Path) -> str:
    loose = next(find_pictures(root), None)
    if loose is None:
        return f"{root} holds no pictures; give a folder with one folder of pictures a class, or a table"
    return f"{root} holds pictures but no class folders; put the pictures of each class into a folder named after it"
