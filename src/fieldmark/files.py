"""Files as Fieldmark writes and bounds them: atomic writes, digests, the cache folder."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import UsageError

CACHE_LIMIT_BYTES = 5_000_000_000
PARTIAL = ".partial-"
_CACHE_FOLDER = re.compile(r"[0-9a-f]{32}")
_CACHE_FILE = re.compile(rf"[0-9a-f]{{32}}\.(npy|key)|\.[0-9a-f]{{32}}\.(npy|key){re.escape(PARTIAL)}\w+")


@contextlib.contextmanager
def _beside(path: Path, folder: bool, new: bool = False) -> Iterator[Path]:
    """A partial file or folder beside `path`, renamed to it when the block ends well and removed otherwise.

    An empty folder that is there already is filled: it may be one that cannot be renamed to, as where a disk is
    mounted. `new`: the file must not be there, even if someone makes it meanwhile.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = _partial_folder(path) if folder else _partial_file(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}; choose another place") from error
    try:
        yield partial
        if folder and partial.parent == path:
            _move_up(partial)
        elif new:
            _link(partial, path)
        else:
            partial.replace(path)
    except BrokenPipeError:  # of standard output: the place is not to blame
        raise
    except OSError as error:
        if str(error.filename).startswith(str(partial)) or (error.filename is None and error.errno is not None):
            raise UsageError(
                f"cannot write {path}: {error.strerror}; free some room or choose another place"
            ) from error
        raise
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def _partial_folder(path: Path) -> Path:
    inside = is_folder(path)
    if inside and any(path.iterdir()):
        raise UsageError(f"cannot write {path}: it is not empty; choose another place")
    place = path if inside else path.parent
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name[:40]}{PARTIAL}", dir=place))
    partial.chmod(0o777 & ~_umask())
    return partial


def _partial_file(path: Path) -> Path:
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:40]}{PARTIAL}", dir=path.parent)
    os.close(handle)
    partial = Path(name)
    partial.chmod(0o666 & ~_umask())
    return partial


def _move_up(partial: Path) -> None:
    """Everything in `partial` into the folder that holds it, which must have stayed empty otherwise."""
    if [*partial.parent.iterdir()] != [partial]:
        raise UsageError(f"cannot write {partial.parent}: it is no longer empty; choose another place")
    for entry in sorted(partial.iterdir()):
        entry.rename(partial.parent / entry.name)


def _link(partial: Path, path: Path) -> None:
    """`partial` under its final name as well; UsageError, never overwriting, when there is something."""
    try:
        os.link(partial, path)
    except FileExistsError:
        raise UsageError(f"{path} exists; choose another name") from None
    except OSError:  # a file system without links
        if os.path.lexists(path):
            raise UsageError(f"{path} exists; choose another name") from None
        partial.replace(path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def is_file(path: Path) -> bool:
    """Whether `path` is a file; False, not an exception, where the system cannot say (a name too long, no access)."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: Path) -> bool:
    """Whether `path` is a folder; False, not an exception, where the system cannot say."""
    return os.path.isdir(path)  # noqa: PTH112


def atomic_file(path: Path) -> contextlib.AbstractContextManager[Path]:
    """Context giving a partial file to write, which becomes `path` at the end; raises UsageError if that cannot be."""
    return _beside(path, folder=False)


def new_file(path: Path) -> contextlib.AbstractContextManager[Path]:
    """As `atomic_file`, but UsageError when something of that name is there, before or after the block."""
    if os.path.lexists(path):
        raise UsageError(f"{path} exists; choose another name")
    return _beside(path, folder=False, new=True)


def atomic_folder(path: Path) -> contextlib.AbstractContextManager[Path]:
    """Context giving a partial folder to fill, which becomes `path` (absent or empty before) at the end."""
    return _beside(path, folder=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path` atomically; bytes of a file name that are no UTF-8 as `\\udc80`, as JSON does."""
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as readable JSON to `path` atomically; keys keep their order."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def cache_folder() -> Path:
    """`$FIELDMARK_CACHE`, or `fieldmark` in the user's cache folder; not created here."""
    named = os.environ.get("FIELDMARK_CACHE")
    if named:
        return Path(named)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "fieldmark"


def available_memory() -> int:
    """Bytes of memory that are free, or can be made so; all there is where the system does not say."""
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**40


def trim_cache(folder: Path, limit_bytes: int = CACHE_LIMIT_BYTES) -> int:
    """Delete the longest unused shards below a cache `folder` until they hold at most `limit_bytes`; the bytes freed.

    A shard is a file `NAME/NAME.npy` or `.key`, NAMEs 32 hexadecimal digits, or what a killed run left of one. Nothing
    else is counted or deleted, and no link is followed.
    """
    found = sorted(
        (state.st_mtime, state.st_size, entry.path)
        for place in _entries(folder)
        if _CACHE_FOLDER.fullmatch(place.name) and place.is_dir(follow_symlinks=False)
        for entry in _entries(Path(place.path))
        if _CACHE_FILE.fullmatch(entry.name) and (state := _state(entry)) is not None
    )
    excess = sum(size for _, size, _ in found) - limit_bytes
    freed = 0
    for _, size, path in found:
        if freed >= excess:
            break
        with contextlib.suppress(OSError):
            Path(path).unlink()
            freed += size
    return freed


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What a folder holds; nothing when it cannot be read or is gone."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _state(entry: os.DirEntry[str]) -> os.stat_result | None:
    """The state of a regular file; None for anything else and for what is gone meanwhile."""
    try:
        return entry.stat(follow_symlinks=False) if entry.is_file(follow_symlinks=False) else None
    except OSError:
        return None
