"""Where the real data of the benchmarks is."""

import csv
import os
import sys
from pathlib import Path


def folder(name: str) -> Path:
    """A data set below $FIELDMARK_DATA or ../shared/data; the benchmark stops with a sentence when it is not there."""
    root = Path(os.environ.get("FIELDMARK_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    if not (root / name).is_dir():
        sys.exit(f"{root / name} is not there; set FIELDMARK_DATA to the folder that holds {name}/")
    return root / name


def grocery(split: str) -> list[Path]:
    """The pictures of one split of Grocery Store."""
    root = folder("grocery")
    with (root / "labels.csv").open(encoding="utf-8", newline="") as stream:
        return [root / row["path"] for row in csv.DictReader(stream) if row["split"] == split]
