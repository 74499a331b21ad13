"""Object detection as a user runs it: a fresh process, an empty cache, the time that a budget gives.

python -m bench.detect [bccd|bccd-mosaic|bccd-ssdlite|bccd-retinanet|bccd-faster-rcnn|birds|ssdlite|yolo]...
python -m bench.detect speed RUN        pictures a second of BCCD, and boxes shown, beside the usual torch path

`bccd`: blood cells (RBC, WBC, platelets) in fifteen minutes, with FCOS or the detector named. `bccd-mosaic`: the same
number of steps, with as many mosaics of four training pictures (Bochkovskiy et al. 2020) beside them. `birds`: the box
of the field guide's bird in five. `ssdlite`: torchvision's SSDLite on the same backbone and blood cells for as long,
in torch alone. `yolo`: Ultralytics' yolo26n from random weights, in its own environment, for as long.

The usual torch path: the same network in eager float32, contiguous, Pillow and torchvision transforms, a DataLoader of
two workers, batches of 8, torchvision's `batched_nms`, the same thresholds.
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
from PIL import Image

from bench import data, results, turns
from bench.boxes import box_scores, draw_mosaic
from bench.time_to_accuracy import environment
from fieldmark.data import Index, SplitRule, open_data, split
from fieldmark.data.frame import read_frame
from fieldmark.data.synthetic import cached_field_guide
from fieldmark.field.evaluate.overlap import overlap
from fieldmark.field.runtime import load
from fieldmark.field.runtime.recogniser import Recogniser
from fieldmark.field.tasks import detect
from fieldmark.field.tasks.detect import truth_rows
from fieldmark.geometry import padded_wh

OUT = Path(__file__).parent / "out" / "detect"
PEER_S = 15 * 60
BUDGET = ("--budget", f"{PEER_S // 60}m")
MOSAIC_EPOCHS = 20  # 1,040 steps
BATCH = 8
KEYS = ("n", "boxes", "map50", "map50_ci", "map", "precision", "recall", "errors")


def train(source: Path, out: Path, *words: str) -> dict[str, Any]:
    """One training from an empty cache; test scores, epochs, and seconds of the whole process."""
    shutil.rmtree(out, ignore_errors=True)
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "fieldmark", "train", str(source), "--task", "detect", "--out", str(out)]
        begun = time.perf_counter()
        done = subprocess.run(
            [*command, "--json", *words],
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
        return train(bird_boxes(Path(folder)), OUT / "birds", "--budget", "5m")


def bccd() -> dict[str, Any]:
    return train(data.folder("bccd"), OUT / "bccd", *BUDGET)


def named(detector: str) -> dict[str, Any]:
    """Blood cells with another detector."""
    out = OUT / f"bccd-{detector}"
    return train(data.folder("bccd"), out, *BUDGET, "--set", f"model.detector={detector}")


def mosaic() -> dict[str, Any]:
    """Blood cells with mosaics, as many steps as `bccd` took."""
    index, rng = split(open_data(data.folder("bccd")), SplitRule(0)), np.random.default_rng(0)
    train_part = index.part("train")
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            (sample.path.resolve(), label, *map(float, box), sample.split)
            for sample in index.samples
            for box, label in zip(sample.boxes.xyxy, sample.boxes.labels, strict=True)
        ]
        for number in range(len(train_part)):
            place = Path(folder) / f"mosaic-{number:03d}.png"
            chosen = [train_part[i] for i in rng.choice(len(train_part), 4, replace=False)]
            rows += [(place, *row, "train") for row in draw_mosaic(chosen, place, rng)]
        with (Path(folder) / "boxes.csv").open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([("path", "label", "xmin", "ymin", "xmax", "ymax", "split"), *rows])
        return train(Path(folder) / "boxes.csv", OUT / "bccd-mosaic", "--set", f"tune.epochs={MOSAIC_EPOCHS}")


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
    return {"seconds": round(took, 1), **said["facts"], **box_scores(found, truth, classes)}


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


def torch_boxes(recogniser: Recogniser, paths: list[Path]) -> Callable[[], list[Any]]:
    """The usual torch path as a function that gives the boxes shown, [B, 6] for every picture."""
    import torch
    from safetensors.torch import load as load_tensors
    from torchvision.ops import batched_nms, clip_boxes_to_image
    from torchvision.transforms.functional import pad, resize

    from fieldmark.workshop.models import create_backbone
    from fieldmark.workshop.models.detector import make_detector
    from fieldmark.workshop.recipe import from_json

    facts = recogniser.bundle.facts
    model, (in_w, in_h) = from_json(facts["recipe"]).model, facts["preprocess"]["size_wh"]
    backbone = create_backbone(model.backbone, "none", max(in_w, in_h))
    network = make_detector(model.detector, backbone, len(recogniser.classes)).eval()
    network.load_state_dict(load_tensors(recogniser.bundle.read("model.safetensors")))
    shown_from = recogniser.facts.thresholds["shown_from"]

    def fitted(picture: Image.Image) -> Image.Image:
        w, h = padded_wh(picture.size, (in_w, in_h))
        left, top = (in_w - w) // 2, (in_h - h) // 2
        return pad(resize(picture, [h, w]), [left, top, in_w - w - left, in_h - h - top], fill=127)

    def work() -> list[Any]:
        found = []
        with torch.no_grad():
            for batch, sizes in turns.batches(paths, fitted, BATCH):
                for logits, boxes, (height, width) in zip(*network(batch), sizes, strict=True):
                    w, h = padded_wh((width, height), (in_w, in_h))
                    best = logits.flatten().sigmoid().topk(detect.CANDIDATES)
                    at, label = best.indices // logits.shape[1], best.indices % logits.shape[1]
                    start = torch.tensor([(in_w - w) // 2, (in_h - h) // 2]).repeat(2)
                    xyxy = (boxes[at] - start) * torch.tensor([width / w, height / h]).repeat(2)
                    xyxy = clip_boxes_to_image(xyxy, (height, width))
                    kept = batched_nms(xyxy, best.values, label, detect.MOST_OVERLAP)[: detect.MOST]
                    rows = torch.cat([xyxy, best.values[:, None], label[:, None]], 1)[kept].numpy()
                    found.append(rows[detect.probability(rows[:, 4], recogniser.facts) >= shown_from])
        return found

    return work


def speed(run: str, rounds: str = "3") -> dict[str, Any]:
    """Pictures a second and core-milliseconds of both, by turns, and the share of boxes that both show."""
    recogniser = load(run)
    paths = [s.path for s in open_data(data.folder("bccd")).samples]
    number = {name: i for i, name in enumerate(recogniser.classes)}

    def ours() -> list[Any]:
        said = [p.extra["boxes"] for p in recogniser.predict(paths)]
        rows = [[(*b["xyxy"], b["probability"], number[b["label"]]) for b in boxes] for boxes in said]
        return [np.array(r, float).reshape(-1, 6) for r in rows]

    list(recogniser.predict(paths[:8]))
    facts, (mine, theirs) = turns.by_turns(
        {"ours": ours, "torch": torch_boxes(recogniser, paths)}, len(paths), int(rounds)
    )
    same = 0
    for one, other in zip(mine, theirs, strict=True):
        pairs = (overlap(one[:, :4], other[:, :4]) >= detect.ALIKE) & (one[:, 5][:, None] == other[:, 5][None])
        same += int(pairs.any(1).sum() + pairs.any(0).sum())
    return facts | {"same_boxes": round(same / sum(len(rows) for rows in (*mine, *theirs)), 4)}


RUNS: dict[str, Callable[[], dict[str, Any]]] = {
    "bccd": bccd,
    **{f"bccd-{name}": partial(named, name) for name in ("ssdlite", "retinanet", "faster-rcnn")},
    "bccd-mosaic": mosaic,
    "birds": birds,
    "ssdlite": ssdlite,
    "yolo": yolo,
}


def main() -> None:
    if sys.argv[1:2] == ["speed"]:
        results.write("detect", results.read("detect") | {"speed": speed(*sys.argv[2:])})
        return
    for name in sys.argv[1:] or RUNS:
        results.write("detect", results.read("detect") | {name: RUNS[name]()})


if __name__ == "__main__":
    main()
