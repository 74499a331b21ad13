"""Boxes for benchmarks: their scores, and four pictures as one."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fieldmark.data.frame import read_frame
from fieldmark.field.evaluate.detection import coco_precisions
from fieldmark.types import Sample


def box_scores(found: list[Any], truth: list[Any], classes: list[str]) -> dict[str, Any]:
    """COCO's means and each class's average precision at half overlap, of boxes [B, 6] and true ones [B, 5]."""
    precisions = coco_precisions(found, truth, len(classes))
    by_class = {name: round(float(p), 4) for name, p in zip(classes, precisions[0], strict=True)}
    return {"map50": float(np.nanmean(precisions[0])), "map": float(np.nanmean(precisions)), "ap50": by_class}


def draw_mosaic(samples: list[Sample], place: Path, rng: np.random.Generator) -> list[tuple[Any, ...]]:
    """Four pictures around a point in the middle, each at half to all of its size where that fills its quarter; the
    boxes of which at least a third is seen, as (label, xmin, ymin, xmax, ymax)."""
    wide, high = read_frame(samples[0].path).size_wh
    x, y = int(wide * rng.uniform(0.35, 0.65)), int(high * rng.uniform(0.35, 0.65))
    canvas, rows = Image.new("RGB", (wide, high)), []
    for sample, (left, top, right, bottom) in zip(
        samples, [(0, 0, x, y), (x, 0, wide, y), (0, y, x, high), (x, y, wide, high)], strict=True
    ):
        picture = Image.open(sample.path).convert("RGB")
        least = max((right - left) / picture.width, (bottom - top) / picture.height)
        scale = max(least, rng.uniform(0.5, 1.0))
        picture = picture.resize((int(np.ceil(picture.width * scale)), int(np.ceil(picture.height * scale))))
        dx, dy = (
            rng.integers(0, picture.width - (right - left) + 1),
            rng.integers(0, picture.height - (bottom - top) + 1),
        )
        canvas.paste(picture.crop((dx, dy, dx + right - left, dy + bottom - top)), (left, top))
        for box, label in zip(sample.boxes.xyxy, sample.boxes.labels, strict=True):
            moved = box * scale + np.tile((left - dx, top - dy), 2)
            seen = np.clip(moved, (left, top, left, top), (right, bottom, right, bottom))
            (w, h), (all_w, all_h) = seen[2:] - seen[:2], moved[2:] - moved[:2]
            if w * h > all_w * all_h / 3:
                rows.append((label, *map(float, seen)))
    canvas.save(place)
    return rows
