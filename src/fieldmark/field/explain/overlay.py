"""A map over positions drawn over the original picture at full resolution."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from fieldmark.types import Preprocess

FOR_COLOUR = (255, 122, 0)
AGAINST_COLOUR = (0, 110, 255)
REGION_COLOUR = (255, 255, 255)
STRENGTH = 0.75
OUTLINE = 0.004  # width, of the longer side


def place_map(values: NDArray[np.float32], size_wh: tuple[int, int], preprocess: Preprocess) -> Image.Image:
    """The map [h, w] as a float picture of the original size: what was cropped away is 0, what was padded is cut."""
    small = Image.fromarray(np.asarray(values, np.float32))
    width, height = size_wh
    if preprocess.fit == "squash":
        return small.resize(size_wh, Image.Resampling.BICUBIC)
    in_w, in_h = preprocess.size_wh
    scale = (max if preprocess.fit == "crop" else min)(in_w / width, in_h / height)
    if preprocess.fit == "crop":
        seen_wh = (min(width, max(1, round(in_w / scale))), min(height, max(1, round(in_h / scale))))
        canvas = Image.new("F", size_wh, 0.0)
        corner = ((width - seen_wh[0]) // 2, (height - seen_wh[1]) // 2)
        canvas.paste(small.resize(seen_wh, Image.Resampling.BICUBIC), corner)
        return canvas
    used_w = min(1.0, width * scale / in_w) * small.width
    used_h = min(1.0, height * scale / in_h) * small.height
    left, top = (small.width - used_w) / 2, (small.height - used_h) / 2
    return small.resize(size_wh, Image.Resampling.BICUBIC, box=(left, top, left + used_w, top + used_h))


def draw_overlay(picture: Image.Image, values: NDArray[np.float32], preprocess: Preprocess) -> Image.Image:
    """The picture with evidence for (orange) and against (blue), as strong as the map's largest absolute value."""
    top = float(np.abs(values).max(initial=0.0)) or 1.0
    placed = np.asarray(place_map(values / top, picture.size, preprocess))
    alpha = np.clip(np.abs(placed) * STRENGTH * 255, 0, STRENGTH * 255).astype(np.uint8)
    sign = Image.fromarray(np.where(placed >= 0, 255, 0).astype(np.uint8))
    colour = Image.composite(
        Image.new("RGB", picture.size, FOR_COLOUR), Image.new("RGB", picture.size, AGAINST_COLOUR), sign
    )
    return Image.composite(colour, picture, Image.fromarray(alpha))


def outlined(picture: Image.Image, numbers: NDArray[np.uint8], colour: tuple[int, int, int]) -> Image.Image:
    """The picture with the boundaries between its class numbers [H, W], of any size, drawn in a colour."""
    seen = np.asarray(Image.fromarray(numbers).resize(picture.size, Image.Resampling.NEAREST))
    wide = np.pad(seen, ((0, 1), (0, 1)), mode="edge")
    edge = Image.fromarray((seen != wide[:-1, 1:]) | (seen != wide[1:, :-1])).convert("L")
    width = 2 * round(OUTLINE * max(picture.size) / 2) + 1
    line = edge.filter(ImageFilter.MaxFilter(width))
    return Image.composite(Image.new("RGB", picture.size, colour), picture, line)
