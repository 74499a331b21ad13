"""Prediction and feature extraction against their bound and against torch, on the test pictures of Grocery Store.

    python -m bench.predict [BUNDLE]        (without one, a bundle is trained first by bench.quick)

The bound is cores / (engine + decode + resize core-time), each part measured alone in the same run on all cores. torch
runs the same network on the same pictures at the same size: as its tutorials tell (timm, eager float32, Pillow and
torchvision transforms, a DataLoader of two workers, batches of 32), and in its best form (bf16, channels-last).
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from bench import data, results
from fieldmark import pictures
from fieldmark.field.runtime import compile_engine, cores, load
from fieldmark.field.runtime.recogniser import Recogniser
from fieldmark.types import Preprocess

ROUNDS = 3
TORCH_PICTURES = 480


def per_core_ms(work: Callable[[Any], object], items: Sequence[Any]) -> float:
    """Core-milliseconds an item, all cores at it."""
    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(work, items[: 4 * cores()]))
        begun = time.perf_counter()
        list(pool.map(work, items, chunksize=1))
        return 1000 * cores() * (time.perf_counter() - begun) / len(items)


def rate(work: Callable[[], object], n: int) -> float:
    begun = time.perf_counter()
    work()
    return n / (time.perf_counter() - begun)


def parts(recogniser: Recogniser, paths: Sequence[Path], extract: Any) -> dict[str, float]:
    """Core-milliseconds a picture of each part, alone."""
    pre: Preprocess = recogniser.preprocess
    raw = [pictures.read_bytes(p) for p in paths]
    images = [pictures.decode(b, pre.size_wh) for b in raw]
    inputs = np.stack([pictures.resize(i, pre) for i in images])
    batches = [
        inputs[i : i + recogniser.engine.micro_batch] for i in range(0, len(inputs), recogniser.engine.micro_batch)
    ]
    per_picture = len(batches) / len(inputs)
    return {
        "decode_ms": per_core_ms(lambda p: pictures.decode(pictures.read_bytes(p), pre.size_wh), paths),
        "resize_ms": per_core_ms(lambda i: pictures.resize(i, pre), images),
        "engine_ms": per_picture * per_core_ms(lambda b: recogniser.engine.run(b, ("logits",)), batches),
        "extract_engine_ms": per_picture * per_core_ms(lambda b: extract.run(b, ("embedding",)), batches),
    }


def extraction(extract: Any, preprocess: Preprocess, paths: Sequence[Path]) -> Callable[[], object]:
    """Feature extraction as training does it, into an empty cache."""
    import os

    from fieldmark.workshop.train import cache

    def work() -> object:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["FIELDMARK_CACHE"] = folder
            wanted = [(d, p) for d, p in zip(cache.digests(paths), paths, strict=True) if isinstance(d, bytes)]
            store = cache.FeatureCache("bench", "embedding")
            return cache.fill([store], extract, wanted, lambda b, _: pictures.load(b, preprocess), lambda *_: None)

    return work


def torch_rates(backbone: str, size: int, n_classes: int, paths: Sequence[Path]) -> dict[str, float]:
    """Pictures a second of the two torch scripts."""
    import timm
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    steps = transforms.Compose(
        [
            transforms.Resize((size, size), interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.ToTensor(),
            transforms.Normalize((0.5,) * 3, (0.5,) * 3),
        ]
    )

    class Pictures(Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, i: int) -> torch.Tensor:
            return steps(Image.open(paths[i]).convert("RGB"))

    model = timm.create_model(backbone, num_classes=n_classes).eval()

    def plain() -> None:
        with torch.no_grad():
            for batch in DataLoader(Pictures(), batch_size=32, num_workers=2):
                model(batch)

    def best() -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            for batch in DataLoader(Pictures(), batch_size=32, num_workers=2):
                model(batch.contiguous(memory_format=torch.channels_last))

    found = {"torch_float32": rate(plain, len(paths))}
    model = model.to(memory_format=torch.channels_last)
    found["torch_bf16_channels_last"] = rate(best, len(paths))
    return found


def peak_mb(bundle: Path, paths: Sequence[Path], n: int) -> float:
    """Peak memory in MB of a process that predicts n pictures."""
    many = [str(p) for p in (list(paths) * (n // len(paths) + 1))[:n]]
    code = (
        "import sys, fieldmark; r = fieldmark.load(sys.argv[1]);"
        "n = sum(1 for _ in r.predict(line.strip() for line in sys.stdin));"
        "print(next(s.split()[1] for s in open('/proc/self/status') if s.startswith('VmHWM')))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(bundle)], input="\n".join(many), capture_output=True, text=True, check=True
    )
    return float(run.stdout) / 1024


def main(bundle: Path) -> dict[str, Any]:
    paths = data.grocery("test")
    recogniser = load(bundle)
    extract = compile_engine(recogniser.bundle.read("model.onnx"))
    sums, predict, extracted = [], [], []
    for _ in range(ROUNDS):
        sums.append(parts(recogniser, paths, extract))
        predict.append(rate(lambda: list(recogniser.predict(paths)), len(paths)))
        extracted.append(rate(extraction(extract, recogniser.preprocess, paths), len(paths)))
    ms = {k: statistics.median(s[k] for s in sums) for k in sums[0]}
    pipe = ms["decode_ms"] + ms["resize_ms"]
    bound = [1000 * cores() / (s["decode_ms"] + s["resize_ms"] + s["engine_ms"]) for s in sums]
    bound_extract = [1000 * cores() / (s["decode_ms"] + s["resize_ms"] + s["extract_engine_ms"]) for s in sums]
    torch_found = torch_rates(
        recogniser.bundle.facts["backbone"]["name"],
        recogniser.preprocess.size_wh[0],
        len(recogniser.classes),
        paths[:TORCH_PICTURES],
    )
    rate_predict = statistics.median(predict)
    found = {
        "pictures": len(paths),
        "size": recogniser.preprocess.size_wh[0],
        "precision": f"{recogniser.engine.precision}, near ties again in f32",
        **ms,
        "sum_ms": pipe + ms["engine_ms"],
        "predict_per_s": rate_predict,
        "predict_of_bound": statistics.median(a / b for a, b in zip(predict, bound, strict=True)),
        "extract_per_s": statistics.median(extracted),
        "extract_of_bound": statistics.median(a / b for a, b in zip(extracted, bound_extract, strict=True)),
        **torch_found,
        "times_torch_float32": rate_predict / torch_found["torch_float32"],
        "times_torch_bf16": rate_predict / torch_found["torch_bf16_channels_last"],
        "peak_mb_1000": peak_mb(bundle, paths, 1000),
        "peak_mb_10000": peak_mb(bundle, paths, 10_000),
    }
    results.write("predict", found)
    return found


if __name__ == "__main__":
    given = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    if given is None:
        from bench import quick

        given = quick.trained()
    print(json.dumps(main(given), indent=1))
