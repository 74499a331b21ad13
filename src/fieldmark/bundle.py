"""The bundle: one folder (or zip) of a recogniser; this room knows files and facts, not recipes.

`bundle.json` names every other file with its size and SHA-256; nothing in a bundle is ever unpickled.
"""

import contextlib
import hashlib
import json
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from .errors import BundleError
from .files import is_file, is_folder, new_file, sha256, write_json

FORMAT = 1
FACTS = "bundle.json"
MODEL = "model.onnx"
WEIGHTS = "model.safetensors"
CALIBRATION = "calibration.npz"
OCCLUSION = "occlusion.safetensors"  # what foresees what covering a place would take; not every bundle has it
CARD = "README.md"
ZIP_SUFFIX = ".fieldmark"
MAX_FILES = 1_000
MAX_BYTES = 4_000_000_000  # all files together
MAX_MODEL_BYTES = 2_147_483_647  # protobuf's own limit
MAX_RATIO = 20  # unpacked to packed; weights hardly shrink
SMALL_BYTES = 64_000_000  # below which a zip may shrink as it likes
MAX_FACTS_BYTES = 32_000_000
PIECE_BYTES = 1_000_000
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}")
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
_UNREADABLE = (OSError, EOFError, RuntimeError, ValueError, struct.error, zlib.error, lzma.LZMAError)
_REQUIRED = ("task", "classes", "preprocess", "outputs", "files", "checksum")
_OF_PICTURES = ("classes", "preprocess")
SEQUENCE = "sequence"  # the task without pictures


@dataclass(frozen=True)
class Bundle:
    """A verified bundle: its facts (`bundle.json`) and its files, in a folder or in a zip."""

    path: Path
    facts: dict[str, Any]

    def read(self, name: str) -> bytes:
        """The bytes of one file of the bundle; BundleError for one that `bundle.json` does not name."""
        if name != FACTS and name not in self.facts["files"]:
            raise BundleError(f"{self.path} is incomplete: {FACTS} does not name {name}; copy the bundle again")
        most = MAX_FACTS_BYTES if name == FACTS else self.facts["files"][name]["bytes"]
        with _open(self.path, name) as stream:
            data = stream.read(most + 1)
        if not self._is_verified(name, data):
            raise BundleError(f"{self.path}: {name} was changed since it was loaded; load the bundle again")
        return data

    def _is_verified(self, name: str, data: bytes) -> bool:
        """Whether these are the bytes that `load` has checked: the file may have been swapped since."""
        if name != FACTS:
            return bool(sha256(data) == self.facts["files"][name]["sha256"])
        try:
            return bool(checksum(json.loads(data)) == self.facts["checksum"])
        except (AttributeError, ValueError, RecursionError):
            return False

    @property
    def task(self) -> str:
        return str(self.facts["task"])

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.facts["classes"])


def find(place: str | Path) -> Path:
    """The bundle folder or zip that BUNDLE names: itself, or `bundle/` inside a run; BundleError when there is none."""
    path = Path(place)
    if is_file(path):
        return path
    for folder in (path, path / "bundle"):
        if is_file(folder / FACTS):
            return folder
    if not is_folder(path):
        raise BundleError(f"{place}: no such bundle; give a run folder, a bundle folder or a {ZIP_SUFFIX} file")
    if is_file(path / "recipe.json"):
        raise BundleError(f"{place} is a run without a bundle: its training did not finish; run train with --resume")
    raise BundleError(f"{place} holds no {FACTS}; give a run folder, a bundle folder or a {ZIP_SUFFIX} file")


def load(place: str | Path) -> Bundle:
    """Read and verify a bundle; BundleError says when it is changed, newer, incomplete or no bundle at all."""
    path = find(place)
    facts = _facts(path)
    made = facts.get("format")
    if not isinstance(made, int) or made < 1:
        raise BundleError(f"{path} has no valid format number in {FACTS}; it is not a Fieldmark bundle")
    if made > FORMAT:
        raise BundleError(
            f"{path} was made by a newer Fieldmark (format {made}, this reads {FORMAT}); upgrade Fieldmark"
        )
    without = _OF_PICTURES if facts.get("task") == SEQUENCE else ()
    missing = [key for key in _REQUIRED if key not in facts and key not in without]
    if missing or not isinstance(facts["files"], dict):
        raise BundleError(f"{path} is incomplete: {FACTS} lacks {', '.join(missing) or 'files'}; copy the bundle again")
    if len(facts["files"]) > MAX_FILES:
        raise BundleError(f"{path} names more than {MAX_FILES} files; it is not a Fieldmark bundle")
    if facts.get("checksum") != checksum(facts):
        raise BundleError(f"{path}: {FACTS} was changed or damaged after it was made; copy the bundle again")
    for name, entry in facts["files"].items():
        _check_entry(path, name, entry)
    _check_size(path, facts["files"])
    for name, entry in facts["files"].items():
        _verify(path, name, entry)
    return Bundle(path, facts)


def _facts(path: Path) -> dict[str, Any]:
    try:
        with _open(path, FACTS) as stream:
            raw = stream.read(MAX_FACTS_BYTES + 1)
        if len(raw) > MAX_FACTS_BYTES:
            raise BundleError(
                f"{path}: {FACTS} is larger than {MAX_FACTS_BYTES // 1_000_000} MB; it is not a Fieldmark bundle"
            )
        facts = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: {FACTS} is not valid JSON; copy the bundle again") from error
    if not isinstance(facts, dict):
        raise BundleError(f"{path}: {FACTS} is not a JSON object; it is not a Fieldmark bundle")
    return facts


def _check_entry(path: Path, name: str, entry: Any) -> None:
    if not _SAFE_NAME.fullmatch(name) or ".." in name:
        raise BundleError(f"{path} names a file outside the bundle ({name!r}); do not use it")
    if not isinstance(entry, dict) or type(entry.get("bytes")) is not int or entry["bytes"] < 0:
        raise BundleError(f"{path}: the entry of {name} in {FACTS} is not valid; copy the bundle again")


def _check_size(path: Path, listed: Mapping[str, Any]) -> None:
    """BundleError before anything is read when the files, or what a zip unpacks to, are absurdly large."""
    total = sum(entry["bytes"] for entry in listed.values())
    if total > MAX_BYTES or listed.get(MODEL, {"bytes": 0})["bytes"] > MAX_MODEL_BYTES:
        raise BundleError(f"{path} lists more than {MAX_BYTES // 10**9} GB, or a network over 2 GB; do not use it")
    if total > SMALL_BYTES and is_file(path) and total > MAX_RATIO * path.stat().st_size:
        raise BundleError(f"{path} would unpack to {total // 10**6:,} MB, {MAX_RATIO} times its size; do not use it")


def _verify(path: Path, name: str, entry: Mapping[str, Any]) -> None:
    with _open(path, name) as stream:
        digest = _bounded_digest(stream, entry["bytes"])
    if digest != entry.get("sha256"):
        raise BundleError(f"{path}: {name} was changed or damaged after it was made; copy the bundle again")


def _bounded_digest(stream: IO[bytes], size: int) -> str:
    """SHA-256 of a stream of exactly `size` bytes, read in pieces; "" when it holds fewer or more."""
    digest, seen = hashlib.sha256(), 0
    while seen <= size and (piece := stream.read(PIECE_BYTES)):
        digest.update(piece)
        seen += len(piece)
    return digest.hexdigest() if seen == size else ""


@contextlib.contextmanager
def _open(path: Path, name: str) -> Iterator[IO[bytes]]:
    """A file of the bundle for reading; BundleError when it is not there, leads out of the folder or is damaged."""
    try:
        if is_file(path):
            with zipfile.ZipFile(path) as archive:
                if archive.getinfo(name).compress_type == zipfile.ZIP_LZMA:
                    raise BundleError(
                        f"{path}: {name} is packed with LZMA, whose memory has no bound; zip it otherwise"
                    )
                with archive.open(name) as stream:
                    yield stream
            return
        file = path / name
        if file.is_symlink() and file.resolve().parent != path.resolve():
            raise BundleError(f"{path}: {name} is a link that leads out of the bundle; do not use it")
        if not is_file(file):
            raise FileNotFoundError(name)
        with file.open("rb") as stream:
            yield stream
    except (KeyError, FileNotFoundError):
        raise BundleError(f"{path} is incomplete: {name} is missing; copy the bundle again") from None
    except zipfile.BadZipFile:
        raise BundleError(f"{path} is no bundle: neither a folder with {FACTS} nor a valid {ZIP_SUFFIX} file") from None
    except _UNREADABLE as error:
        raise BundleError(f"{path}: {name} cannot be read ({error})") from error


def save(folder: Path, facts: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    """Fill an existing `folder` with the bundle; `files` and `format` are added to the facts."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    listed = {name: {"sha256": sha256(data), "bytes": len(data)} for name, data in sorted(files.items())}
    whole = {"format": FORMAT, **facts, "files": listed}
    write_json(folder / FACTS, {**whole, "checksum": checksum(whole)})


def checksum(facts: Mapping[str, Any]) -> str:
    """SHA-256 of the facts but for `checksum` itself, whatever the order of keys: it finds damage, not forgery."""
    rest = {key: value for key, value in facts.items() if key != "checksum"}
    return sha256(json.dumps(rest, sort_keys=True).encode())


def write_zip(bundle: Bundle, out: Path) -> None:
    """The bundle as one `*.fieldmark` zip at `out`; UsageError when `out` exists."""
    with new_file(out) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for name in (FACTS, *bundle.facts["files"]):
            archive.writestr(zipfile.ZipInfo(name, _ZIP_DATE), bundle.read(name))
