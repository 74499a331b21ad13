"""Where the files are that a table names."""

import os
from pathlib import Path, PurePosixPath
from typing import Generic, TypeVar

from fieldmark.files import is_file

Row = TypeVar("Row")


def find_picture(root: Path, written: str) -> tuple[Path, str] | str:
    """The file that a cell names and its name with forward slashes, or the reason why there is none."""
    if not written or "\0" in written:
        return "the row has no path"
    name = PurePosixPath(written.replace("\\", "/")).as_posix()
    found = find_file(root, written)
    return "no such file" if found is None else (found, name)


def find_file(root: Path, written: str) -> Path | None:
    """The file that a cell names, with slashes of either kind; None when there is none."""
    tried = [root / written, root / PurePosixPath(written.replace("\\", "/"))] if "\0" not in written else []
    return next((path for path in tried if is_file(path)), None)


class SameFiles(Generic[Row]):
    """The files of a table so far and the rows that named them first; a hard link is another file."""

    def __init__(self) -> None:
        self._alike: dict[tuple[int, int], list[tuple[Path, Row]]] = {}

    def before(self, path: Path, row: Row) -> Row | None:
        """The row that named this very file under another name (absolute, through a link); None for a new file."""
        state = path.stat()
        alike = self._alike.setdefault((state.st_dev, state.st_ino), [])
        real = os.path.realpath(path) if alike else ""
        for other, earlier in alike:
            if os.path.realpath(other) == real:
                return earlier
        alike.append((path, row))
        return None
