"""Tiny trainings for the tests: drawn pictures of a few classes, a small network with random weights."""

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from fieldmark.workshop.models import Backbone
from fieldmark.workshop.train import Result, train

torch.set_num_threads(1)  # on busy cores its threads wait for each other, spinning: five times slower

TINY = ("picture.size=32", "model.weights=none", "probe.views=2", "bundle.calibration=8", "augment.crop=0.35")
BACKBONE = "test_resnet"
COLOURS = {"ash": (200, 60, 50), "beech": (60, 190, 70), "cedar": (50, 70, 210)}


def draw(path: Path, colour: tuple[int, int, int], seed: int, size_wh: tuple[int, int] = (48, 40)) -> Path:
    """A picture of noise around a colour: easy to tell from others, never the same bytes."""
    rng = np.random.default_rng(seed)
    picture = np.clip(rng.normal(colour, 30, (size_wh[1], size_wh[0], 3)), 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
    return path


def coloured(root: Path, count: int = 10, classes: tuple[str, ...] = tuple(COLOURS)) -> Path:
    """A folder of class folders; classes are drawn in the colours in turn."""
    colours = list(COLOURS.values())
    for k, name in enumerate(classes):
        for i in range(count):
            draw(root / name / f"{i:02d}.png", colours[k % len(colours)], 1000 * k + i)
    return root


def tiny_train(data: Path | str, out: Path, *more: str, **options: Any) -> Result:
    """One training of about a second, of the linear stage unless a recipe is given."""
    options.setdefault("recipe", "quick")
    return train(data, out, backbone=BACKBONE, settings=(*TINY, *more), **options)


@functools.cache
def trained(base: Path) -> tuple[Path, Result]:
    """A folder of pictures and a run on it, made once a session below `base`; never to be changed."""
    data = coloured(base / "trained-data")
    return data, tiny_train(data, base / "trained-run")


def bundle_bytes(bundle: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(bundle.iterdir())}


def events(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def small_swin(size: int = 64) -> Backbone:
    import timm

    body = timm.create_model(
        "swin_tiny_patch4_window7_224",
        img_size=size,
        window_size=4,
        embed_dim=32,
        depths=(2, 1),
        num_heads=(2, 4),
    )
    body.reset_classifier(0)
    half = (0.5, 0.5, 0.5)
    return Backbone("small_swin", body.eval(), size, half, half, "random")
