"""A folder of class folders, or a folder of train, val and test folders of those."""

from pathlib import Path

from fieldmark.data.index import Index, Skipped
from fieldmark.data.split import ALIASES
from fieldmark.errors import DataError
from fieldmark.files import is_file, is_folder
from fieldmark.pictures import Unusable, find_pictures, list_folder, walk_pictures
from fieldmark.types import Sample

from .annotated import Progress
from .table import TABLE_SUFFIXES, is_table, open_table

TABLE = "labels.csv"


def open_folder(root: Path, progress: Progress | None = None) -> Index:
    """The Index of a class folder tree; a folder that holds `labels.csv` is opened through it.

    A folder deeper down that cannot be read is left out. Raises DataError when there are pictures but no class
    folders, one class folder beside a table that names pictures, or nothing at all; UsageError when `root` or the
    folder of a part cannot be read.
    """
    if is_file(root / TABLE):
        return open_table(root / TABLE, str(root), progress)
    folders = _folders(root)
    parts = {p: ALIASES[p.name.lower()] for p in folders if p.name.lower() in ALIASES}
    samples: list[Sample] = []
    skipped: list[Skipped] = []
    if "train" in parts.values() or (parts and len(parts) == len(folders)):
        for folder, part in parts.items():
            samples += _class_folders(root, folder, part, skipped)
    else:
        samples = _class_folders(root, root, None, skipped)
    if not samples and not skipped:
        raise DataError(_nothing(root))
    if len({s.labels for s in samples}) == 1 and (table := _table(root)):
        raise DataError(f"{root} has one class folder only, but there is a table {table.name}; give {table} as DATA")
    return Index(str(root), tuple(samples), tuple(skipped))


def _class_folders(root: Path, parent: Path, part: str | None, skipped: list[Skipped]) -> list[Sample]:
    samples = []
    for folder in _folders(parent):
        for found in walk_pictures(folder):
            if isinstance(found, Unusable):
                skipped.append(Skipped(found.path.relative_to(root).as_posix(), f"the folder {found.reason}"))
            else:
                samples.append(Sample(found, found.relative_to(root).as_posix(), (folder.name,), part))
    return samples


def _folders(parent: Path) -> list[Path]:
    """The visible folders in `parent`, sorted by name; without links to itself or to what it lies in."""
    real = parent.resolve()
    found = [p for p in list_folder(parent) if is_folder(p) and not p.name.startswith(".")]
    return [p for p in found if not real.is_relative_to(p.resolve())]


def _table(root: Path) -> Path | None:
    """The first table in a folder that says what pictures show."""
    found = [p for p in list_folder(root) if p.suffix.lower() in TABLE_SUFFIXES and is_file(p)]
    return next((path for path in found if is_table(path)), None)


def _nothing(root: Path) -> str:
    loose, table = next(find_pictures(root), None), _table(root)
    if table is not None:
        return f"{root} holds no class folders, but there is a table {table.name}; give {table} as DATA"
    if loose is None:
        return f"{root} holds no pictures; give a folder with one folder of pictures a class, or a table"
    return f"{root} holds pictures but no class folders; put the pictures of each class into a folder named after it"
