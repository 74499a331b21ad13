"""Object detection as a user runs it: a fresh process, an empty cache, the time that a budget gives.

python -m bench.detect [bccd|bccd-ssdlite|bccd-retinanet|bccd-faster-rcnn|birds|ssdlite|yolo]...

`bccd`: blood cells (RBC, WBC, platelets) in fifteen minutes, with FCOS or the detector named. `birds`: the box of the
field guide's bird in five. `ssdlite`: torchvision's SSDLite on the same backbone and blood cells for as long, in torch
alone. `yolo`: Ultralytics' yolo26n from random weights, in its own environment, for as long.
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
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench import data, results
from bench.time_to_accuracy import environment
from fieldmark.data import Index, SplitRule, open_data, split
from fieldmark.data.frame import read_frame
from fieldmark.data.synthetic import cached_field_guide
from fieldmark.field.evaluate.detection import coco_precisions
from fieldmark.field.tasks.detect import truth_rows

OUT = Path(__file__).parent / "out" / "detect"
PEER_S = 15 * 60
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
    return train(data.folder("bccd"), OUT / "bccd", f"{PEER_S // 60}m")


def named(detector: str) -> dict[str, Any]:
    """Blood cells with another detector."""
    out = OUT / f"bccd-{detector}"
    return train(data.folder("bccd"), out, f"{PEER_S // 60}m", "--set", f"model.detector={detector}")


def ssdlite() -> dict[str, Any]:
    from bench.peers.run_ssdlite import run

    return run(data.folder("bccd"), PEER_S)


def yolo(seconds: float = PEER_S, size: int = 384, epochs: int = 1000) -> dict[str, Any]:
    """Ultralytics' yolo26n for so long, start of its process included; scored by our code from the boxes it finds."""
    index = split(open_data(data.folder("bccd")), SplitRule(0))
    place = OUT / "yolo"
    shutil.rmtree(place, ignore_errors=True)
    classes = yolo_folder(index, place / "data")
    python = environment("ultralytics", ("ultralytics",))
    # its settings and its cache stay below `place`, and it asks no server
    own = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_CONFIG_DIR": str(place)}
    script = Path(__file__).parent / "peers" / "run_yolo.py"
    words = [python, script, place / "data" / "data.yaml", place, seconds, size, epochs]
    begun = time.perf_counter()
    subprocess.run([str(word) for word in words], check=True, env={**os.environ, **own}, cwd=place)
    took = time.perf_counter() - begun
    said = json.loads((place / "found.json").read_text(encoding="utf-8"))
    number = {name: i for i, name in enumerate(classes)}
    test = index.part("test")
    truth = [truth_rows(sample, number) for sample in test]
    found = [np.array(said["found"].get(f"{i:05d}", []), float).reshape(-1, 6) for i in range(len(test))]
    precisions = coco_precisions(found, truth, len(classes))
    by_class = {name: round(float(p), 4) for name, p in zip(classes, precisions[0], strict=True)}
    means = {"map50": float(np.nanmean(precisions[0])), "map": float(np.nanmean(precisions))}
    return {"seconds": round(took, 1), **said["facts"], **means, "ap50": by_class}


def yolo_folder(index: Index, place: Path) -> list[str]:
    """The parts as YOLO has them, pictures as links; the names of the classes."""
    classes = sorted({label for sample in index.part("train") for label in sample.labels})
    number = {name: i for i, name in enumerate(classes)}
    for part in ("train", "val", "test"):
        pictures, labels = place / "images" / part, place / "labels" / part
        pictures.mkdir(parents=True)
        labels.mkdir(parents=True)
        for i, sample in enumerate(index.part(part)):
            rows, size = truth_rows(sample, number), np.tile(read_frame(sample.path).size_wh, 2)
            middles, sides = (rows[:, :2] + rows[:, 2:4]) / 2, rows[:, 2:4] - rows[:, :2]
            shares = np.concatenate([middles, sides], 1) / size
            lines = [
                f"{int(c)} " + " ".join(f"{v:.6f}" for v in four) for c, four in zip(rows[:, 4], shares, strict=True)
            ]
            (labels / f"{i:05d}.txt").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
            (pictures / f"{i:05d}{sample.path.suffix}").symlink_to(sample.path.resolve())
    names = "".join(f"  {i}: {json.dumps(name)}\n" for i, name in enumerate(classes))
    parts = "".join(f"{part}: images/{part}\n" for part in ("train", "val", "test"))
    (place / "data.yaml").write_text(f"path: {json.dumps(str(place))}\n{parts}names:\n{names}", encoding="utf-8")
    return classes


RUNS: dict[str, Callable[[], dict[str, Any]]] = {
    "bccd": bccd,
    **{f"bccd-{name}": partial(named, name) for name in ("ssdlite", "retinanet", "faster-rcnn")},
    "birds": birds,
    "ssdlite": ssdlite,
    "yolo": yolo,
}


def main() -> None:
    for name in sys.argv[1:] or RUNS:
        results.write("detect", results.read("detect") | {name: RUNS[name]()})


if __name__ == "__main__":
    main()
