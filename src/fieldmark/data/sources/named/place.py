"""Where the files of a named data set lie, which of them are missing, and what to do about it."""

import os
import sysconfig
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from fieldmark.errors import DataError
from fieldmark.files import cache_folder

from .facts import DataSet, File
from .unpack import check, unpack

Progress = Callable[[str, int, int], None]


def folders(facts: DataSet) -> list[Path]:
    """Where the set may lie, the first being where its files are to be put: `$FIELDMARK_DATASETS`, else the cache."""
    if facts.module:
        return [_package(facts.module) / facts.inside]
    root = os.environ.get("FIELDMARK_DATASETS")
    places = [Path(root) / facts.name] if root else []
    return [*places, cache_folder() / "datasets" / facts.name, *map(Path, facts.also)]


def _package(module: str) -> Path:
    """The folder of an installed package, which is not imported; a place that is not there when it is not installed."""
    found = find_spec(module)
    if found is None or not found.submodule_search_locations:
        return Path(sysconfig.get_path("purelib")) / module
    return Path(found.submodule_search_locations[0])


def located(folder: Path, name: str) -> Path:
    """A file or folder of a set; one that its makers publish as `.gz` may have been unpacked."""
    plain = folder / name.removesuffix(".gz")
    return plain if not (folder / name).exists() and plain.exists() else folder / name


def missing(facts: DataSet, folder: Path) -> list[str]:
    """What of the set is not in `folder`."""
    return [name for name in facts.needs if not located(folder, name).exists()]


def present(facts: DataSet) -> Path | None:
    """The first folder that holds all of the set, or None."""
    return next((folder for folder in folders(facts) if not missing(facts, folder)), None)


def ready(facts: DataSet, progress: Progress | None = None) -> Path:
    """The folder that holds all of the set, archives that lie there unpacked first.

    Raises DataError naming every missing file and saying what to do.
    """
    for folder in folders(facts):
        if missing(facts, folder):
            unpack_all(facts, folder, progress)
        if not missing(facts, folder):
            return folder
    raise DataError(absence(facts, folders(facts)[0]))


def unpack_all(facts: DataSet, folder: Path, progress: Progress | None = None) -> list[Path]:
    """Unpack every archive in `folder` whose content is not there; the archives that were unpacked."""
    done = []
    for file in facts.files:
        if _waiting(file, folder):
            check(folder / file.name, file.checksum)
            unpack(folder / file.name, folder, progress, most_bytes=max(1 << 30, 20 * file.bytes))
            done.append(folder / file.name)
    return done


def _waiting(file: File, folder: Path) -> bool:
    """Whether this is an archive that lies there and is not unpacked."""
    return bool(file.gives) and not given(file, folder) and (folder / file.name).is_file()


def given(file: File, folder: Path) -> bool:
    """Whether what this file is for is in `folder`: what it gives, or itself."""
    return all(located(folder, name).exists() for name in file.gives or (file.name,))


def absence(facts: DataSet, folder: Path) -> str:
    """Sentence that says what is missing and what to do."""
    gone = ", ".join(missing(facts, folder))
    if facts.module:
        return f"{facts.name} is in a package that is not installed or has changed ({gone} is missing): {facts.how}"
    command = f"get it with: fieldmark data {facts.name} --download"
    way = command if facts.downloadable else by_hand(facts, folder)
    return f"{facts.name} is not there: {folder} lacks {gone}; {way}"


def by_hand(facts: DataSet, folder: Path) -> str:
    """Clause that lists the files to get, from where, and where to put them."""
    listed = ", ".join(f"{file.name} ({file.urls[0]})" if file.urls else file.name for file in facts.published)
    how = f" ({facts.how})" if facts.how else ""
    return f"put these into {folder}: {listed}; they are published at {facts.home}{how}"
