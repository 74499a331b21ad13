"""Ultralytics' yolo26n from random weights, with its own augmentation, loss, optimiser and schedule.

python run_yolo.py DATA_YAML OUT SECONDS SIZE EPOCHS     in an environment that has ultralytics

SECONDS of wall-clock, the start of this process included. OUT/found.json: of each test picture its boxes (x0, y0, x1,
y1, score, class) in its pixels, and facts of the training.
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

BEGUN = time.time()
LEAST_SCORE, MOST_FOUND = 0.001, 300


def main(data: Path, out: Path, seconds: float, size: int, epochs: int) -> None:
    from ultralytics import YOLO, settings

    settings.update({"sync": False})
    model = YOLO("yolo26n.yaml")
    model.train(
        data=str(data),
        time=(seconds - (time.time() - BEGUN)) / 3600,
        epochs=epochs,
        imgsz=size,
        pretrained=False,
        device="cpu",
        workers=0,
        plots=False,
        project=str(out),
        name="run",
        exist_ok=True,
    )
    took = time.time() - BEGUN
    best = YOLO(out / "run" / "weights" / "best.pt")
    found = {}
    for picture in sorted((data.parent / "images" / "test").iterdir()):
        said = best.predict(
            picture, imgsz=size, conf=LEAST_SCORE, max_det=MOST_FOUND, device="cpu", verbose=False, save=False
        )[0].boxes
        rows = zip(said.xyxy.tolist(), said.conf.tolist(), said.cls.tolist(), strict=True)
        found[picture.stem] = [[*four, score, label] for four, score, label in rows]
    rows = (out / "run" / "results.csv").read_text(encoding="utf-8").splitlines()
    facts = {
        "training_seconds": round(took, 1),
        "epochs": len(rows) - 1,
        "size": size,
        "versions": {name: version(name) for name in ("ultralytics", "torch")},
    }
    (out / "found.json").write_text(json.dumps({"facts": facts, "found": found}), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
