"""Which decoder, which resize, which fit: core-milliseconds on Grocery Store, accuracy of the quick recipe.

python -m bench.pictures            (simplejpeg and OpenCV are measured where they are installed)
"""

import io
import json
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench import data, results
from fieldmark import pictures
from fieldmark.types import Preprocess

SIZE_WH = (288, 288)
RESAMPLES = ("box", "bilinear", "bicubic", "lanczos")
FITS = ("squash", "crop", "pad")
ROUNDS = 3


def decoders() -> dict[str, Callable[[bytes], object]]:
    """Each takes JPEG bytes to RGB pixels."""
    found: dict[str, Callable[[bytes], object]] = {
        "Pillow": lambda b: np.asarray(Image.open(io.BytesIO(b)).convert("RGB")),
        "fieldmark (Pillow, checks, EXIF)": lambda b: np.asarray(pictures.decode(b, SIZE_WH)),
    }
    if find_spec("simplejpeg"):
        import simplejpeg

        found["simplejpeg"] = lambda b: simplejpeg.decode_jpeg(b, colorspace="RGB")
    if find_spec("cv2"):
        import cv2

        found["OpenCV"] = lambda b: cv2.cvtColor(cv2.imdecode(np.frombuffer(b, np.uint8), 1), cv2.COLOR_BGR2RGB)
    return found


def milliseconds(work: Callable[[Any], object], items: list[Any]) -> float:
    """The least core-milliseconds an item over a few rounds, on one core."""
    best = float("inf")
    for _ in range(ROUNDS):
        begun = time.process_time()
        for item in items:
            work(item)
        best = min(best, 1000 * (time.process_time() - begun) / len(items))
    return best


def accuracy(table: Path, setting: str) -> dict[str, Any]:
    """Test accuracy of the quick recipe with one setting."""
    from fieldmark import train

    with tempfile.TemporaryDirectory() as folder:
        test = train(table, Path(folder) / "run", settings=[setting]).scores["test"]
    return {"accuracy": test["accuracy"], "accuracy_ci": test["accuracy_ci"], "n": test["n"]}


def main() -> None:
    paths = data.grocery("test")[:400]
    raw = [p.read_bytes() for p in paths]
    images = [pictures.decode(b) for b in raw]
    found: dict[str, Any] = {f"decode {n}, ms": milliseconds(f, raw) for n, f in decoders().items()}
    for name in RESAMPLES:
        pre = Preprocess(SIZE_WH, "squash", name)
        found[f"resize {name}, ms"] = milliseconds(lambda i, pre=pre: pictures.resize(i, pre), images)
    grocery, tiles = data.folder("grocery") / "labels.csv", data.folder("magnetic_tile") / "labels.csv"
    found |= {f"grocery, resample {r}": accuracy(grocery, f"picture.resample={r}") for r in RESAMPLES}
    found |= {f"magnetic_tile, fit {f}": accuracy(tiles, f"picture.fit={f}") for f in FITS}
    results.write("pictures", found)


if __name__ == "__main__":
    print(json.dumps({"size_wh": SIZE_WH}))
    main()
