"""Files as Fieldmark writes and bounds them: atomic writes, digests, the cache folder."""

import contextlib
import hashlib
import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import UsageError

CACHE_LIMIT_BYTES = 5_000_000_000
PARTIAL = ".partial-"


@contextlib.contextmanager
def _beside(path: Path, folder: bool) -> Iterator[Path]:
    """A partial file or folder beside `path`, renamed to it when the block ends well and removed otherwise."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{path.name[:40]}{PARTIAL}"
        if folder:
            partial = Path(tempfile.mkdtemp(prefix=prefix, dir=path.parent))
            partial.chmod(0o777 & ~_umask())
        else:
            handle, name = tempfile.mkstemp(prefix=prefix, dir=path.parent)
            os.close(handle)
            partial = Path(name)
            partial.chmod(0o666 & ~_umask())
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}; choose another place") from error
    try:
        yield partial
        partial.replace(path)
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


def trim_cache(folder: Path, limit_bytes: int = CACHE_LIMIT_BYTES) -> int:
    """Delete the longest unused files below a cache `folder` until it holds at most `limit_bytes`; the bytes freed."""
    found = []
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            state = path.lstat()
            if not stat.S_ISDIR(state.st_mode):
                found.append((state.st_mtime, state.st_size, path))
    excess = sum(size for _, size, _ in found) - limit_bytes
    freed = 0
    for _, size, path in sorted(found):
        if freed >= excess:
            break
        with contextlib.suppress(OSError):
            path.unlink()
            freed += size
    return freed
