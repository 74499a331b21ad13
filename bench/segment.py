"""Segmentation as a user trains it, and its inference beside the usual torch path. Each figure is kept as it comes.

python -m bench.segment magnetic-tile [BUDGET [SETTING ...]]     magnetic tiles, given split; default 15m
python -m bench.segment field-guide [BUDGET [SETTING ...]]       the drawn birds; default 5m
python -m bench.segment speed RUN [PICTURES]                     pictures a second on magnetic tiles, and decisions

The usual torch path: the same network in eager float32, contiguous, Pillow and torchvision transforms, a DataLoader of
two workers, batches of 16; logits enlarged to each picture, the same decision for each pixel.
"""

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import budget, data, results, turns
from fieldmark.data import open_data
from fieldmark.field.runtime import load
from fieldmark.field.runtime.recogniser import Recogniser

OUT = Path(__file__).parent / "out" / "segment"
DEFAULT = {"magnetic-tile": "15m", "field-guide": "5m"}
KEYS = ("miou", "iou", "dice", "boundary_f", "foreground_iou", "foreground_roc_auc", "pixel_accuracy", "unsure")
BATCH = 16


def trained(name: str, time_: str, *settings: str) -> dict[str, Any]:
    """One training from an empty cache, and its scores."""
    place = OUT / name
    shutil.rmtree(place, ignore_errors=True)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as cache:
        words = ("--task", "segment", "--budget", time_)
        scores = budget.train(budget.SETS[name](), place, cache, *words, settings=settings)
    seconds = time.perf_counter() - begun
    facts = json.loads((place / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    plan = json.loads((place / "plan.json").read_text(encoding="utf-8"))
    test, train = scores["test"], facts["data"]["parts"]["train"]["n"]
    batch = facts["recipe"]["tune"]["batch"]
    return {
        "seconds": round(seconds, 1),
        "budget_s": plan["budget_s"],
        "settings": list(settings),
        "epochs": [round(s["steps"] * batch / train, 1) for s in facts["learning"] or ()],
        "cut": [s["cut"] for s in facts["learning"] or ()],
        **{k: test[k] for key in KEYS for k in (key, f"{key}_ci") if k in test},
        "found": {c: row.get("found") for c, row in test["per_class"].items()},
        "recall": {c: row["recall"] for c, row in test["per_class"].items()},
        "val_miou": scores["val"]["miou"],
        "parity": facts["parity"],
    }


def torch_masks(recogniser: Recogniser, paths: list[Path]) -> Any:
    """The usual torch path as a function that gives class numbers [H, W] for every picture."""
    import torch
    import torch.nn.functional as F
    from safetensors.torch import load as load_tensors
    from torchvision.transforms.functional import resize

    from fieldmark.workshop.models import create_backbone
    from fieldmark.workshop.models.segmenter import SegmentNetwork
    from fieldmark.workshop.recipe import from_json

    facts = recogniser.bundle.facts
    recipe, size = from_json(facts["recipe"]), facts["preprocess"]["size_wh"][0]
    backbone = create_backbone(recipe.model.backbone, "none", size)
    network = SegmentNetwork(backbone, len(recogniser.classes), recipe.model.segmenter).eval()
    network.load_state_dict(load_tensors(recogniser.bundle.read("model.safetensors")))

    def work() -> list[Any]:
        found = []
        with torch.no_grad():
            for batch, sizes in turns.batches(paths, lambda picture: resize(picture, [size, size]), BATCH):
                for logits, hw in zip(network(batch)[0], sizes, strict=True):
                    p = F.interpolate(logits[None] / recogniser.facts.temperature, hw, mode="bilinear")[0].softmax(0)
                    found.append(torch.where(p[0] >= 0.5, 0, p[1:].argmax(0) + 1).numpy())
        return found

    return work


def speed(run: str, most: str = "160", rounds: str = "3") -> dict[str, Any]:
    """Pictures a second and core-milliseconds of both, by turns, and the share of pixels of the same class."""
    recogniser = load(run)
    index = open_data(str(data.folder("magnetic_tile") / "labels.csv"))
    paths = [s.path for s in index.samples][:: max(1, len(index.samples) // int(most))]
    ways = {"ours": lambda: [p.mask for p in recogniser.predict(paths)], "torch": torch_masks(recogniser, paths)}
    list(recogniser.predict(paths[:8]))
    facts, masks = turns.by_turns(ways, len(paths), int(rounds))
    same = sum(int((a == b).sum()) for a, b in zip(*masks, strict=True))
    return facts | {"same_pixels": round(same / sum(a.size for a in masks[0]), 6)}


def main(words: list[str]) -> None:
    found = results.read("segment")
    name = words[0] if words else "magnetic-tile"
    if name == "speed":
        found["speed"] = speed(*words[1:])
    else:
        time_ = words[1] if len(words) > 1 else DEFAULT[name]
        found[f"{name} {time_} {' '.join(words[2:])}".strip()] = trained(name, time_, *words[2:])
    results.write("segment", found)


if __name__ == "__main__":
    main(sys.argv[1:])
