"""Results of benchmarks: a table on the screen, JSON in `bench/results` with machine, date and versions."""

import datetime
import json
from pathlib import Path
from typing import Any

from bench.machine import facts
from fieldmark.files import write_text

FOLDER = Path(__file__).parent / "results"


def read(name: str) -> dict[str, Any]:
    """What `results/NAME.json` holds so far."""
    file = FOLDER / f"{name}.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))[name] if file.exists() else {}
    return found


def write(name: str, found: dict[str, Any]) -> None:
    """Print `found` as a table and keep it as `results/NAME.json`."""
    width = max(len(key) for key in found)
    for key, value in found.items():
        print(f"{key:{width}}  {value:.4g}" if isinstance(value, float) else f"{key:{width}}  {value}")
    FOLDER.mkdir(exist_ok=True)
    record = {"date": datetime.datetime.now(datetime.UTC).date().isoformat(), "machine": facts(), name: found}
    write_text(FOLDER / f"{name}.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def keep(name: str, key: str, entry: dict[str, Any]) -> None:
    """Keep one entry, with its machine, beside those that `results/NAME.json` holds by now."""
    write(name, read(name) | {key: {**entry, "machine": facts()}})
