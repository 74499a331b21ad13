"""What is known of each named data set, from `datasets.toml`: read once, on first use."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from fieldmark.errors import DataError, unknown_name


@dataclass(frozen=True)
class File:
    """One file that the makers publish; `checksum` is "sha256:..." or "md5:...", `gives` what unpacking it leaves."""

    name: str
    bytes: int
    urls: tuple[str, ...] = ()
    checksum: str = ""
    gives: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataSet:
    """The facts of one data set; the head of `datasets.toml` says what each is."""

    name: str
    title: str
    task: str
    classes: int
    pictures: int
    licence: str
    home: str = ""
    how: str = ""
    boxes: bool = False
    module: str = ""
    inside: str = ""
    also: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    files: tuple[File, ...] = ()

    @property
    def published(self) -> tuple[File, ...]:
        """The files to get; those that lie within another one's archive left out."""
        inner = {name for file in self.files for name in file.gives}
        return tuple(file for file in self.files if file.name not in inner)

    @property
    def bytes(self) -> int:
        """What there is to get, in bytes."""
        return sum(file.bytes for file in self.published)

    @property
    def downloadable(self) -> bool:
        """Whether `fieldmark data NAME --download` gets it."""
        return not self.how


@cache
def data_sets() -> dict[str, DataSet]:
    """The facts of every data set by its name, in the table's order."""
    text = (files(__package__) / "datasets.toml").read_text(encoding="utf-8")
    return {name: _data_set(name, row) for name, row in tomllib.loads(text).items()}


def _data_set(name: str, row: dict[str, Any]) -> DataSet:
    made = tuple(File(**_frozen(file)) for file in row.pop("files", ()))
    return DataSet(name=name, files=made, **_frozen(row))


def _frozen(row: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}


def data_set(name: str) -> DataSet:
    """The facts of the set of this name or variant; DataError, with the names nearest to it, when there is none."""
    known = {other: facts for facts in data_sets().values() for other in (facts.name, *facts.variants)}
    if name not in known:
        raise DataError(unknown_name("data set", name, known))
    return known[name]
