"""A text file, or a folder of them, as one long text: read in pieces, so that its size does not matter."""

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fieldmark.errors import DataError, UsageError
from fieldmark.files import cache_folder, is_file, is_folder, sha256, sha256_file

from .alphabet import FIRST_BEYOND_ASCII, MOST_CHARACTERS, Alphabet, Array, code_points
from .index import Skipped

SUFFIXES = (".txt", ".text", ".md", ".rst")  # of files that are taken from a folder
PIECE = 1 << 20  # characters
MOST_BYTES = 4_000_000_000
FEWEST_CHARACTERS = 1_000
BETWEEN_FILES = "\n"
Tick = Callable[[int, int], None]


@dataclass(frozen=True)
class Text:
    """Text files in their order, `characters` in all; line ends are "\\n" whatever the file has."""

    source: str
    files: tuple[Path, ...]
    characters: int
    fingerprint: str
    skipped: tuple[Skipped, ...] = ()

    def pieces(self) -> Iterator[str]:
        """The text, piece by piece."""
        for number, path in enumerate(self.files):
            if number:
                yield BETWEEN_FILES
            yield from _read(path)


def open_text(place: str | Path, fewest: int = FEWEST_CHARACTERS) -> Text:
    """The text of a file, or of the text files below a folder, by name; in a folder, files that are no UTF-8 text are
    left out and listed. Raises DataError, in one sentence, when nothing is left or it has fewer than `fewest`
    characters."""
    path = Path(place)
    if is_folder(path):
        found = [p for p in sorted(path.rglob("*")) if p.suffix.lower() in SUFFIXES and is_file(p)]
        files = [p for p in found if not any(part.startswith(".") for part in p.relative_to(path).parts)]
        if not files:
            raise DataError(
                f"{place} holds no text files ({', '.join(SUFFIXES)}); give a text file or a folder of them"
            )
    elif is_file(path):
        files = [path]
    else:
        raise DataError(f"{place}: no such file or folder; give a text file or a folder of them")
    _check_size(place, files)
    usable, skipped, characters = [], [], 0
    for file in files:
        try:
            length = sum(map(len, _read(file)))
            if not length and len(files) > 1:
                raise DataError(f"{file} is empty")
            characters += length
            usable.append(file)
        except DataError as error:
            if len(files) == 1:
                raise
            skipped.append(Skipped(file.relative_to(path).as_posix(), str(error).removeprefix(f"{file} ")))
    if not usable:
        raise DataError(f"{place} holds no UTF-8 text; save its files as UTF-8")
    characters += len(BETWEEN_FILES) * (len(usable) - 1)
    if characters < fewest:
        many = f"{characters:,} character{'s' if characters != 1 else ''}"
        raise DataError(f"{place} holds {many}; give at least {fewest:,}")
    names = [[p.relative_to(path).as_posix() if p != path else p.name, sha256_file(p)] for p in usable]
    return Text(str(place), tuple(usable), characters, sha256(json.dumps(names).encode()), tuple(skipped))


def _check_size(place: str | Path, files: Sequence[Path]) -> None:
    total = sum(file.stat().st_size for file in files)
    if total > MOST_BYTES:
        raise DataError(f"{place} holds {total / 1e9:.1f} GB of text; give at most {MOST_BYTES / 1e9:.0f} GB")


def _read(path: Path) -> Iterator[str]:
    """The text of one file; DataError when it is none."""
    try:
        with path.open(encoding="utf-8-sig") as stream:
            while piece := stream.read(PIECE):
                if "\0" in piece:
                    raise DataError(f"{path} is no text: it holds zero bytes")
                yield piece
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no UTF-8 text ({error.reason}); save it as UTF-8") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def make_alphabet(text: Text, characters: int, fewest: int, most: int = MOST_CHARACTERS) -> Alphabet:
    """The alphabet of the first `characters`: of those beyond ASCII, the `most` frequent that occur `fewest` times or
    more, in order of code point."""
    counts = np.zeros(0x110000, np.int64)
    left = characters
    for piece in text.pieces():
        points = code_points(piece[:left])
        beyond = points[points >= FIRST_BEYOND_ASCII]
        if beyond.size:
            counts += np.bincount(beyond, minlength=counts.size)
        left -= len(piece)
        if left <= 0:
            break
    frequent = np.flatnonzero(counts >= max(1, fewest))
    ranked = frequent[np.argsort(-counts[frequent], kind="stable")][:most]
    return Alphabet("".join(map(chr, np.sort(ranked))))


def encode_text(text: Text, alphabet: Alphabet, cuts: Sequence[int], tick: Tick) -> tuple[Array, list[int]]:
    """The codes [n] of a text, kept in a file of the cache folder that goes with the process, and the code before which
    each character of `cuts` (ascending) begins. Raises UsageError when the cache folder cannot be written, DataError
    when the text is no longer what it was."""
    folder = cache_folder()
    places: list[int] = []
    done = written = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            for piece in text.pieces():
                while len(places) < len(cuts) and cuts[len(places)] < done + len(piece):
                    places.append(written + len(alphabet.encode(piece[: cuts[len(places)] - done])))
                codes = alphabet.encode(piece)
                file.write(codes.tobytes())
                done, written = done + len(piece), written + len(codes)
                tick(done, text.characters)
            if done != text.characters:
                raise DataError(f"{text.source} was changed while it was read; try again")
            file.flush()
            values = np.memmap(file, alphabet.dtype, "r")
    except OSError as error:
        raise UsageError(
            f"the cache folder {folder} cannot be written: {error.strerror}; name another with FIELDMARK_CACHE"
        ) from error
    places += [written] * (len(cuts) - len(places))
    return values, places
