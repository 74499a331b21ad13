"""The files of a data set from their makers' addresses: resumed, bounded, checked, unpacked."""

import contextlib
import http.client
import re
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from fieldmark import __version__
from fieldmark.errors import DataError, UsageError

from .facts import DataSet, File
from .place import Progress, by_hand, folders, given, missing, present, unpack_all
from .unpack import check

PIECE = 1 << 20
TIMEOUT_S = 30.0
MOST_STANDSTILLS = 2  # tries in a row at one address that bring nothing
_HANDLERS: tuple[type[urllib.request.BaseHandler], ...] = (
    urllib.request.ProxyHandler,
    urllib.request.HTTPHandler,
    urllib.request.HTTPSHandler,
    urllib.request.HTTPRedirectHandler,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPErrorProcessor,
)


def download(facts: DataSet, progress: Progress | None = None) -> Path:
    """Get what is missing of a set, unpack it, and return its folder.

    Archives are removed once they are unpacked, unless they lay there before. Raises DataError, with every file and
    where to put it, for a set that is not downloaded, when no address answers, and for a file that is not the published
    one; UsageError when the folder cannot be written.
    """
    there = present(facts)
    if there is not None:
        return there
    folder = folders(facts)[0]
    if facts.module:
        raise DataError(f"{facts.name} comes with a package: {facts.how}")
    if not facts.downloadable:
        raise DataError(f"{facts.name} is not downloaded by Fieldmark; {by_hand(facts, folder)}")
    _make(folder)
    unpack_all(facts, folder, progress)
    for file in facts.files:
        if given(file, folder):
            continue
        if not file.urls:
            break  # it lies in another one, which did not give it
        _get(facts, file, folder, progress)
        _remove(folder, unpack_all(facts, folder, progress))
    if missing(facts, folder):
        raise DataError(f"the files of {facts.name} do not hold {', '.join(missing(facts, folder))}; get them again")
    return folder


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make {folder}: {error.strerror}; choose another with FIELDMARK_DATASETS") from error


def _remove(folder: Path, archives: list[Path]) -> None:
    for archive in archives:
        archive.unlink()
        if archive.parent != folder:
            with contextlib.suppress(OSError):  # there is something else in it
                archive.parent.rmdir()


def _get(facts: DataSet, file: File, folder: Path, progress: Progress | None) -> None:
    """One file from the first of its addresses that gives it."""
    target, reasons = folder / file.name, []
    for url in file.urls:
        try:
            fetch(url, file, target, progress)
        except _FailedError as error:
            reasons.append(f"{url}: {error}")
        else:
            return
    rest = _left(target.with_name(target.name + ".part"))
    again = "; the same command goes on where it stopped" if rest else ""
    raise DataError(f"cannot download {file.name} ({'; '.join(reasons)}){again}; or {by_hand(facts, folder)}")


class _FailedError(Exception):
    """An address gave nothing, or not the file; the next one may."""


def fetch(url: str, file: File, target: Path, progress: Progress | None = None) -> None:
    """Get `file` from `url` into `target`, going on with what `target`.part holds, and check it.

    Raises _FailedError when the address does not give the published file; UsageError when it cannot be written.
    """
    part = target.with_name(target.name + ".part")
    standstills, most = 0, -1
    while True:
        most = max(most, _left(part))
        try:
            if _left(part) == file.bytes or _stream(url, file, part, progress):
                break
            reason = "the connection ended early"
        except _FailedError:
            raise
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            reason = _reason(error)
        standstills = 0 if _left(part) > most else standstills + 1
        if standstills >= MOST_STANDSTILLS:
            raise _FailedError(reason)
    try:
        check(part, file.checksum)
    except DataError:
        part.unlink()
        raise _FailedError("what it gives is not the file that was published") from None
    part.replace(target)


def _stream(url: str, file: File, part: Path, progress: Progress | None) -> bool:
    """Append what is missing to `part`; whether the end was reached."""
    begin, most = _left(part), file.bytes + file.bytes // 20 + PIECE  # sizes in the table are checked by checksums
    with _open(url, begin) as answer:
        if answer.status == 416:  # asked for more than there is: the checksum decides
            return True
        if not begin or answer.status != 206 or not _goes_on(answer, begin):
            begin = 0
        length = answer.headers.get("Content-Length", "")
        total = begin + int(length) if length.isdecimal() else None
        if total is not None and total > most:
            raise _FailedError(f"it gives {total:,} bytes, {file.name} has {file.bytes:,}")
        _check_room(part.parent, (total or file.bytes) - begin)
        done = begin
        with _written(part), part.open("ab" if begin else "wb") as out:
            while piece := _read(answer):
                done += len(piece)
                if done > most:
                    raise _FailedError(f"it gives more than {most:,} bytes, {file.name} has {file.bytes:,}")
                out.write(piece)
                if progress is not None:
                    progress(f"downloading {file.name} (MB)", done // 1_000_000, (total or file.bytes) // 1_000_000)
    return total is None or done == total


def _open(url: str, begin: int) -> Any:
    """The answer to a request for the bytes from `begin` on; over HTTP alone, whatever an address redirects to."""
    opener = urllib.request.OpenerDirector()
    for handler in _HANDLERS:
        opener.add_handler(handler())
    headers = {"User-Agent": f"fieldmark/{__version__}"} | ({"Range": f"bytes={begin}-"} if begin else {})
    try:
        return opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code == 416 and begin:
            return error
        error.close()
        raise _FailedError(f"HTTP {error.code} {error.reason}") from None


def _goes_on(answer: Any, begin: int) -> bool:
    return re.match(rf"bytes {begin}-", answer.headers.get("Content-Range", "")) is not None


def _read(answer: Any) -> bytes:
    try:
        piece: bytes = answer.read1(PIECE)
    except OSError as error:  # told apart from what writing raises
        raise ConnectionError(_reason(error)) from error
    return piece


@contextlib.contextmanager
def _written(part: Path) -> Any:
    try:
        yield
    except (ConnectionError, TimeoutError, http.client.HTTPException):
        raise
    except OSError as error:
        raise UsageError(f"cannot write {part}: {error.strerror}; free some room or set FIELDMARK_DATASETS") from error


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UsageError(
            f"{needed / 1e9:.1f} GB are to come and {folder} has room for {free / 1e9:.1f} GB; free some room or set "
            "FIELDMARK_DATASETS"
        )


def _left(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return (str(cause).splitlines() or [type(error).__name__])[0][:100]
