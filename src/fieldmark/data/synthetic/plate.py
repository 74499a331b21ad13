"""The plate of the field guide: one bird a species, with pointers to its telling marks, after Roger Tory Peterson."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .anatomy import Anatomy, extent, posed
from .backdrop import noise
from .bird import paint_bird
from .brush import Pixels, Points, Sheet, cover, ellipse, over, ribbon, spline
from .pose import PLUMAGES, Light, Look, Pose, dice, plumage
from .species import MARK_WORDS, SPECIES, Species, telling_marks

CELL_WH = (460, 420)
_MARGIN = 40
_SCALE = 1.75  # a bird's unit in pixels
_PAPER = (246, 240, 226)
_INK = (58, 50, 44)
_POSE = Pose(
    facing=1, scale=1.0, lean=24.0, head_tilt=3.0, head_turn=1.0, head_shift=(1.0, 0.0), tail_angle=6.0,
    leg_length=18.0, leg_spread=13.0, leg_shift=0.0, perch_slope=0.0, plump=1.0,
)  # fmt: skip
_LIGHT = Light(
    direction=(0.35, -0.94), gains=(1.0, 1.0, 1.0), exposure=1.0, contrast=1.0, hardness=0.85, dapple=0.0, vignette=0.0
)
_POINTERS: dict[str, tuple[float, float]] = {  # from the mark outwards, x and y on screen
    "eye_ring": (0.3, -1.0), "wing_bars": (-0.62, -1.0), "throat": (1.0, 0.3), "crest": (-1.0, -0.5),
    "tail": (0.1, -1.0), "legs": (1.0, -0.2), "bill_tip": (0.35, -1.0), "eyebrow": (-0.4, -1.0),
    "rump": (-0.5, -1.0), "cap": (-0.3, -1.0),
}  # fmt: skip


def plate(path: Path, columns: int = 5) -> None:
    """Write the plate; twins stand in one column as far as `columns` allows it."""
    rows = -(-len(SPECIES) // columns)
    width, height = columns * CELL_WH[0] + 2 * _MARGIN, rows * CELL_WH[1] + 2 * _MARGIN
    pixels = _paper(width, height)
    texts: list[tuple[tuple[float, float], str, str, int]] = []
    for number, species in enumerate(SPECIES):
        column, row = divmod(number, rows)
        corner = (_MARGIN + column * CELL_WH[0], _MARGIN + row * CELL_WH[1])
        texts += _paint_cell(pixels, species, number, corner)
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8).transpose(1, 2, 0))
    draw = ImageDraw.Draw(image)
    for place, text, anchor, size in texts:
        draw.text(place, text, fill=_INK, font=ImageFont.load_default(size), anchor=anchor)
    image.save(path)


def _paper(width: int, height: int) -> Pixels:
    """Return warm paper with a little unevenness."""
    rng = np.random.default_rng(7)
    side = max(width, height)
    tone = 1 + 0.008 * noise(rng, 9, side)[:height, :width] + rng.normal(0, 0.006, (height, width)).astype(np.float32)
    return (np.asarray(_PAPER, dtype=np.float32)[:, None, None] * tone).astype(np.float32)


def _paint_cell(
    pixels: Pixels, species: Species, number: int, corner: tuple[int, int]
) -> list[tuple[tuple[float, float], str, str, int]]:
    """Paint one bird with its pointers and return the texts to write: place, text, anchor, size."""
    window = pixels[:, corner[1] : corner[1] + CELL_WH[1], corner[0] : corner[0] + CELL_WH[0]]
    anatomy = _centred()
    _paint_twig(window, anatomy)
    look = _look(number)
    sheet = paint_bird(species, anatomy, look, _LIGHT, (CELL_WH[1], CELL_WH[0]), partial(dice, 11, number // 2))
    window *= 1 - sheet.alpha
    window += sheet.pixels
    name = species.name.replace("-warbler", " warbler").capitalize()
    texts = [((corner[0] + CELL_WH[0] / 2, corner[1] + CELL_WH[1] - 42.0), name, "mm", 27)]
    for kind in sorted(telling_marks(species)):
        end, anchor = _paint_pointer(window, sheet, kind)
        words = MARK_WORDS[kind, species.marks.as_dict()[kind]]
        texts.append(((corner[0] + end[0], corner[1] + end[1]), words, anchor, 21))
    return texts


def _look(number: int) -> Look:
    """Return the plumage of a pair of twins, so that they differ in nothing but the mark."""
    return plumage(PLUMAGES[(1, 5, 3, 0, 6)[number // 2 % 5]], streaks=0.22 * (number // 2 % 2), flank_wash=0.5)


def _centred() -> Anatomy:
    anatomy = posed(_POSE, _SCALE)
    reach = extent(anatomy)
    middle = (reach.min(axis=0) + reach.max(axis=0)) / 2
    return anatomy.moved((round(CELL_WH[0] / 2 - float(middle[0])) - 12, round(CELL_WH[1] * 0.46 - float(middle[1]))))


def _paint_twig(pixels: Pixels, anatomy: Anatomy) -> None:
    size_hw = (pixels.shape[1], pixels.shape[2])
    line = spline([(-74, 9), (-30, 6), (0, 5.5), (34, 6.5), (78, 4)], per=8, closed=False)
    widths = np.interp(np.arange(len(line)), [0, 16, 32], [4.0, 10.5, 5.0])
    for offset, share, colour, soft in (
        (0.0, 1.0, (104, 84, 66), 0.0), (-0.1, 0.66, (146, 122, 96), 1.4), (-0.2, 0.26, (188, 164, 132), 1.4),
    ):  # fmt: skip
        strip = line + np.stack([np.zeros(len(line)), offset * widths], axis=1)
        over(pixels, cover([anatomy.perch(ribbon(strip, widths * share))], size_hw, soft=soft), colour)
    shadow = anatomy.perch(ellipse((0.0, 3.0), (22.0, 3.0)))
    over(pixels, cover([shadow], size_hw, soft=4.0), (40, 34, 30), 0.35)


def _paint_pointer(pixels: Pixels, sheet: Sheet, kind: str) -> tuple[tuple[float, float], str]:
    """Paint a thin line from beside the bird to the mark; return where its words stand, and their anchor."""
    rows, columns = np.nonzero(sheet.marks[kind] > 0.5)
    heading = np.asarray(_POINTERS[kind]) / np.hypot(*_POINTERS[kind])
    reach = (columns - columns.mean()) * heading[0] + (rows - rows.mean()) * heading[1]
    start = np.array([columns.mean(), rows.mean()]) + heading * (float(reach.max()) + 4.0)
    end = start + heading * (_way_out(sheet, start, heading) + 36.0)
    line = ribbon(np.stack([start, (start + end) / 2, end]), (1.0, 1.6, 1.6))
    size_hw = (pixels.shape[1], pixels.shape[2])
    over(pixels, cover([line], size_hw), _INK, 0.9)
    if abs(heading[0]) > 0.95:
        return (float(end[0]) + 6, float(end[1])), "lm"
    below = heading[1] > 0
    return (float(end[0]), float(end[1]) + (5 if below else -5)), "mt" if below else "mb"


def _way_out(sheet: Sheet, start: Points, heading: Points) -> float:
    """Return how many pixels along the heading the bird ends."""
    steps = np.arange(0.0, 400.0)
    path = np.round(start + steps[:, None] * heading).astype(int)
    shown = (path >= 0).all(axis=1) & (path[:, 0] < sheet.size_hw[1]) & (path[:, 1] < sheet.size_hw[0])
    on_bird = sheet.alpha[path[shown, 1], path[shown, 0]] > 0.2
    return float(steps[shown][on_bird].max()) if on_bird.any() else 0.0
