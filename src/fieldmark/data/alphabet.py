"""Text as numbers: bytes of UTF-8, and one code for each frequent character beyond ASCII."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

BYTES = 256
CODE_POINTS = 0x110000
FIRST_BEYOND_ASCII = 0x80
CONTINUATION = (0x80, 0xC0)  # bytes that go on with a character
MOST_CHARACTERS = 65_536 - BYTES
Array = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True)
class Alphabet:
    """Codes 0 to 255 are the bytes of UTF-8: ASCII characters are their own codes, and any text can be written in them.
    Codes from 256 on are `characters`, those beyond ASCII that are worth a code each.

    Raises ValueError for characters twice, within ASCII, or more than `MOST_CHARACTERS`.
    """

    characters: str = ""

    def __post_init__(self) -> None:
        alone = len(set(self.characters)) == len(self.characters) <= MOST_CHARACTERS
        if not alone or any(not ord(c) >= FIRST_BEYOND_ASCII or "\ud800" <= c <= "\udfff" for c in self.characters):
            raise ValueError("an alphabet must be characters beyond ASCII, each once")

    @property
    def size(self) -> int:
        """How many codes there are."""
        return BYTES + len(self.characters)

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """The smallest that holds every code."""
        return np.uint8 if self.size == BYTES else np.uint16

    @cached_property
    def _code_of(self) -> NDArray[np.uint16]:
        """The code of each code point that has one of its own; 0 elsewhere."""
        table = np.zeros(CODE_POINTS, np.uint16)
        table[:FIRST_BEYOND_ASCII] = np.arange(FIRST_BEYOND_ASCII)
        table[code_points(self.characters)] = BYTES + np.arange(len(self.characters))
        return table

    @cached_property
    def bytes_of(self) -> tuple[bytes, ...]:
        """The UTF-8 of each code; a single byte may be a part of a character."""
        return (*(bytes([b]) for b in range(BYTES)), *(c.encode() for c in self.characters))

    def encode(self, text: str) -> Array:
        """The codes [n] of a text; characters without a code of their own as bytes."""
        points = code_points(text)
        codes = self._code_of[points]
        known = (codes > 0) | (points == 0)
        if known.all():
            return codes.astype(self.dtype, copy=False)
        lengths = np.where(known, 1, 2 + (points >= 0x800) + (points >= 0x10000))
        rest = np.frombuffer(
            points[~known].tobytes().decode("utf-32-le", "surrogatepass").encode("utf-8", "surrogatepass"), np.uint8
        )
        out = np.repeat(codes, lengths)
        out[np.repeat(~known, lengths)] = rest
        return out.astype(self.dtype, copy=False)

    def decode(self, codes: Sequence[int] | Array) -> str:
        """The text of codes; bytes that make no character become U+FFFD."""
        return b"".join(self.bytes_of[c] for c in codes).decode("utf-8", "replace")


def code_points(text: str) -> NDArray[np.uint32]:
    """The code point of each character."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def begins_character(codes: Array) -> NDArray[np.bool_]:
    """Whether each code begins a character: all but the later bytes of one."""
    return np.asarray((codes < CONTINUATION[0]) | (codes >= CONTINUATION[1]))
