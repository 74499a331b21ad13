"""Object detection as a user runs it: a fresh process, an empty cache, the time that a budget gives.

python -m bench.detect [bccd|birds|ssdlite]...

`bccd`: blood cells (RBC, WBC, platelets) in fifteen minutes. `birds`: the box of the field guide's bird in five.
`ssdlite`: torchvision's SSDLite on the same backbone and blood cells for as long, in torch alone.
"""

import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import data, results
from fieldmark.data.synthetic import cached_field_guide

OUT = Path(__file__).parent / "out" / "detect"
KEYS = ("n", "boxes", "map50", "map50_ci", "map", "precision", "recall", "errors")


def train(source: Path, out: Path, budget: str, *more: str) -> dict[str, Any]:
    """One training from an empty cache; test scores, epochs, and seconds of the whole process."""
    shutil.rmtree(out, ignore_errors=True)
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "fieldmark", "train", str(source), "--task", "detect", "--out", str(out)]
        begun = time.perf_counter()
        done = subprocess.run(
            [*command, "--budget", budget, "--json", *more],
            env={**os.environ, "FIELDMARK_CACHE": cache},
            capture_output=True,
            text=True,
            check=True,
        )
        seconds = time.perf_counter() - begun
    test = json.loads(done.stdout.splitlines()[-1])["scores"]["test"]
    plan = json.loads((out / "plan.json").read_text(encoding="utf-8"))
    steps = json.loads((out / "bundle" / "bundle.json").read_text(encoding="utf-8"))["learning"][0]["steps"]
    found = {"seconds": round(seconds, 1), "cut": plan["stages"][0]["cut"], "steps": steps}
    by_class = {name: row["ap50"] for name, row in test["per_class"].items()}
    return found | {key: test[key] for key in KEYS} | {"ap50": by_class}


def bird_boxes(folder: Path) -> Path:
    """A table of the field guide's birds, one box a picture."""
    guide = cached_field_guide()
    coco = json.loads((guide / "boxes.json").read_text(encoding="utf-8"))
    bird = next(c["id"] for c in coco["categories"] if c["name"] == "bird")
    images = {image["id"]: image for image in coco["images"]}
    with (folder / "birds.csv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(("path", "label", "xmin", "ymin", "xmax", "ymax", "split"))
        for row in coco["annotations"]:
            if row["category_id"] == bird:
                x, y, w, h = row["bbox"]
                image = images[row["image_id"]]
                table.writerow((guide / image["file_name"], "bird", x, y, x + w, y + h, image["split"]))
    return folder / "birds.csv"


def birds() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return train(bird_boxes(Path(folder)), OUT / "birds", "5m")


def bccd() -> dict[str, Any]:
    return train(data.folder("bccd"), OUT / "bccd", "15m")


def ssdlite() -> dict[str, Any]:
    from bench.peers.run_ssdlite import run

    return run(data.folder("bccd"), 15 * 60)


RUNS: dict[str, Callable[[], dict[str, Any]]] = {"bccd": bccd, "birds": birds, "ssdlite": ssdlite}


def main() -> None:
    for name in sys.argv[1:] or RUNS:
        results.write("detect", results.read("detect") | {name: RUNS[name]()})


if __name__ == "__main__":
    main()
