"""The text of the benchmarks: Jane Austen's six novels, 4.0 million characters, from Debian's r-cran-janeaustenr."""

import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

OUT = Path(__file__).parent / "out" / "texts"
PACKAGE = "r-cran-janeaustenr"
DATA = Path("usr/lib/R/site-library/janeaustenr/data/Rdata.rdb")
HEAD = 23  # bytes of R's serialisation before the vector
STRINGS, STRING = 16, 9  # R's types


def austen() -> Path:
    """The novels as one file, made once from the package, which is unpacked and not installed."""
    place = OUT / "austen.txt"
    if place.exists():
        return place
    OUT.mkdir(parents=True, exist_ok=True)
    installed = Path("/") / DATA
    if not installed.exists():
        try:
            if not list(OUT.glob(f"{PACKAGE}_*.deb")):
                subprocess.run(["apt-get", "download", PACKAGE], cwd=OUT, check=True)
            subprocess.run(["dpkg-deb", "-x", next(OUT.glob(f"{PACKAGE}_*.deb")), OUT], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            sys.exit(f"Debian's package {PACKAGE} cannot be had ({error}); put its {DATA.name} at {installed}")
        installed = OUT / DATA
    place.write_text("\n".join(novels(installed.read_bytes())), encoding="utf-8")
    return place


def novels(base: bytes) -> Iterator[str]:
    """The character vectors of an R database: zlib blocks, each after its length."""
    while base:
        unpacking = zlib.decompressobj()
        yield "".join(f"{line}\n" for line in strings(unpacking.decompress(base[4:])))
        base = unpacking.unused_data


def strings(block: bytes) -> Iterator[str]:
    """The values of one character vector in R's binary serialisation, version 3."""
    kind, count = struct.unpack_from(">ii", block, HEAD)
    if kind & 255 != STRINGS:
        sys.exit("the package holds other data than expected")
    at = HEAD + 8
    for _ in range(count):
        kind, size = struct.unpack_from(">ii", block, at)
        if kind & 255 != STRING:
            sys.exit("the package holds other data than expected")
        at += 8 + max(0, size)
        yield block[at - max(0, size) : at].decode()
