"""Archives from elsewhere, unpacked without trusting them.

Only files and folders are made, by our own copying: no links, devices, owners or modes. An archive whose paths leave
the folder, or that holds more than it may, is refused whole.
"""

import contextlib
import hashlib
import lzma
import shutil
import stat
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Self

from fieldmark.errors import DataError, UsageError
from fieldmark.files import PARTIAL

Progress = Callable[[str, int, int], None]
Opener = Callable[[], IO[bytes] | None]
Member = tuple[str, int, Opener | None]

MAX_FILES = 500_000
PIECE = 1 << 20
_ABANDONED_S = 86_400
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    MemoryError,
    NotImplementedError,
    RuntimeError,  # an encrypted zip
    ValueError,
)


def check(path: Path, checksum: str) -> None:
    """DataError when a file is not the one that was published; `checksum` is "sha256:...", "md5:..." or empty."""
    kind, _, wanted = checksum.partition(":")
    if not kind:
        return
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()
    if found != wanted:
        raise DataError(
            f"{path} is not the file that was published ({kind} {found[:16]}..., not {wanted[:16]}...); remove it and "
            "get it again, or unpack it yourself where it lies"
        )


def unpack(archive: Path, folder: Path, progress: Progress | None = None, *, most_bytes: int) -> None:
    """Put what a tar (of any compression) or zip holds into `folder`, in full or not at all.

    Raises DataError for a damaged archive, for a path that leaves the folder, and for more than `most_bytes` or
    MAX_FILES; UsageError when the folder cannot be written.
    """
    _remove_leftovers(archive, folder)
    try:
        made = Path(tempfile.mkdtemp(prefix=f".{archive.name[:40]}{PARTIAL}", dir=folder))
    except OSError as error:
        raise UsageError(f"cannot write {folder}: {error.strerror}; choose another with FIELDMARK_DATASETS") from error
    try:
        _copy_all(archive, made, progress, most_bytes)
        _merge(made, folder)
    except _DAMAGE as error:
        raise DataError(f"{archive} is damaged ({_first_line(error)}); remove it and get it again") from error
    except OSError as error:
        if error.errno is None or error.filename == str(archive):  # gzip and bzip2 say so when data are no such data
            raise DataError(f"{archive} cannot be read ({_first_line(error)}); remove it and get it again") from error
        raise UsageError(f"cannot unpack {archive} into {folder}: {error.strerror}; free some room") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _copy_all(archive: Path, made: Path, progress: Progress | None, most_bytes: int) -> None:
    size, count, total = archive.stat().st_size, 0, 0
    with archive.open("rb") as raw:
        for name, n_bytes, opened in _members(archive, raw):
            count, total = count + bool(name), total + n_bytes
            if count > MAX_FILES or total > most_bytes:
                raise DataError(
                    f"{archive} holds more than {MAX_FILES:,} files or {most_bytes:,} bytes, which is not what was "
                    "published; remove it and get it again"
                )
            _check_inside(archive, name)
            if opened is not None and PurePosixPath(name).parts:
                _copy(opened, made / name, n_bytes)
            if progress is not None:
                progress(f"unpacking {archive.name} (MB)", raw.tell() // 1_000_000, size // 1_000_000)


def _members(archive: Path, raw: IO[bytes]) -> Iterator[Member]:
    """Path, size and content of every member; no content for what is no regular file: folders, links, devices."""
    begin = raw.read(4)
    raw.seek(0)
    if begin in (b"PK\3\4", b"PK\5\6"):  # by its beginning: a tar may end with a zip
        with zipfile.ZipFile(raw) as zipped:
            for info in zipped.infolist():
                other = info.is_dir() or stat.S_ISLNK(info.external_attr >> 16)
                yield info.filename, info.file_size, None if other else partial(zipped.open, info)
        return
    with tarfile.open(fileobj=raw, tarinfo=_Member) as tar:
        for member in tar:
            regular = member.isreg()
            yield member.name, member.size if regular else 0, partial(tar.extractfile, member) if regular else None
        rest = tar.fileobj
        while rest is not None and (piece := rest.read(PIECE)):  # compressed data are checked at their very end
            yield "", len(piece), None


class _Member(tarfile.TarInfo):
    """A member of a tar in which a damaged header is an error, not the end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if not any(buf):  # nothing, or zeros: the end indeed
                raise
            raise tarfile.ReadError(str(error)) from None


def _check_inside(archive: Path, name: str) -> None:
    """DataError when the path of a member would leave the folder."""
    path, parts = PurePosixPath(name), name.replace("\\", "/").split("/")
    if path.is_absolute() or ".." in parts or PureWindowsPath(name).drive or "\0" in name:
        raise DataError(f"{archive} holds the path {name[:80]!r}, which leaves its folder; remove the archive")


def _copy(opened: Opener, target: Path, n_bytes: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        source = opened()
        if source is None:
            return
        source, left = stack.enter_context(source), n_bytes
        out = stack.enter_context(target.open("wb"))
        while left > 0:
            piece = source.read(min(PIECE, left))
            if not piece:
                raise EOFError(f"{target.name} ends early")
            out.write(piece)
            left -= len(piece)


def _merge(source: Path, target: Path) -> None:
    """Everything in `source` into `target`, folder by folder; files that are there already are replaced."""
    for entry in source.iterdir():
        place = target / entry.name
        if entry.is_dir() and place.is_dir():
            _merge(entry, place)
        else:
            entry.replace(place)


def _remove_leftovers(archive: Path, folder: Path) -> None:
    """Remove what a killed unpacking of this archive left a day ago or earlier."""
    for left in folder.iterdir():
        with contextlib.suppress(OSError):  # another process was faster
            mine = left.name.startswith(f".{archive.name[:40]}{PARTIAL}")
            if mine and time.time() - left.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(left, ignore_errors=True)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:100]
