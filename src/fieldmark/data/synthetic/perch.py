"""What the bird sits on, and the leaves, berries and blossoms around it, always behind the bird."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .backdrop import ACCENTS
from .brush import (
    Colour,
    Frame,
    Ink,
    Patch,
    Pixels,
    Points,
    cover,
    ellipse,
    mix,
    over,
    planes,
    rgb,
    ribbon,
    shade,
    smooth,
    spline,
)
from .pose import Light

Random = np.random.Generator
_BARKS: tuple[Colour, ...] = ((112, 90, 70), (124, 114, 102), (92, 80, 70), (138, 112, 84))
_LEAVES: tuple[Colour, ...] = (
    (92, 120, 58), (122, 142, 72), (78, 106, 74), (150, 150, 78), (196, 156, 62), (186, 104, 50),
)  # fmt: skip
_STONES: tuple[Colour, ...] = ((140, 136, 130), (156, 146, 128), (118, 120, 122))
_VEIN: Colour = (236, 230, 180)


def paint_perch(pixels: Pixels, frame: Frame, light: Light, rng: Random) -> None:
    """Paint a branch or a stone whose top passes through the frame's origin, with the bird's soft shadow."""
    if rng.random() < 0.84:
        _paint_branch(pixels, frame, light, rng)
    else:
        _paint_stone(pixels, frame, light, rng)
    shadow = frame(ellipse((-4 - 8 * light.direction[0], 4.0), (34, 5.5)))
    over(pixels, cover([shadow], _size(pixels), soft=3.5 * frame.scale), (22, 20, 22), 0.3)


def _size(pixels: Pixels) -> tuple[int, int]:
    return pixels.shape[1], pixels.shape[2]


def _paint_branch(pixels: Pixels, frame: Frame, light: Light, rng: Random) -> None:
    """Paint a branch, straight and level under the feet, round by strips from dark to light."""
    bark, thick = _BARKS[int(rng.integers(len(_BARKS)))], rng.uniform(11, 18)
    xs = np.linspace(-430, 430, 15)
    bend = rng.normal(0, 4.5, 15) + rng.normal(0, 1.2e-4) * xs**2
    widths = thick * (1 + rng.uniform(-0.12, 0.12, 15)) * np.clip(1 - np.sign(rng.normal()) * xs / 1100, 0.4, 1.4)
    bend[6:9], widths[6:9] = 0, thick
    middle = np.stack([xs, bend + thick / 2], axis=1)
    _paint_twigs(pixels, frame, middle, bark, rng)
    line, width = spline(middle, per=5, closed=False), np.interp(np.arange(71) / 5, np.arange(15), widths)
    whole = cover([frame(ribbon(line, width))], _size(pixels))
    height, breadth = whole.alpha.shape
    image = Image.new("RGB", (breadth, height), rgb(shade(bark, 0.5)))
    draw = ImageDraw.Draw(image)
    for offset, share, tone in ((-0.07, 0.78, 0.74), (-0.13, 0.56, 0.95), (-0.19, 0.34, 1.12), (-0.25, 0.14, 1.36)):
        strip = line + np.stack([0.3 * light.direction[0] * width, offset * width], axis=1)
        outline = frame(ribbon(strip, width * share)) - (whole.x, whole.y)
        draw.polygon(outline.ravel().tolist(), fill=rgb(shade(bark, tone)))
    image = image.filter(ImageFilter.BoxBlur(1.4 * frame.scale))
    _draw_bark(ImageDraw.Draw(image), frame, line, width, (whole.x, whole.y), bark, rng)
    ink = planes(image.filter(ImageFilter.BoxBlur(0.4))) * whole.alpha
    over(pixels, Patch(whole.x, whole.y, whole.alpha, ink))


def _draw_bark(
    draw: ImageDraw.ImageDraw,
    frame: Frame,
    line: Points,
    widths: Points,
    at: tuple[int, int],
    bark: Colour,
    rng: Random,
) -> None:
    """Draw the short cracks and pale flecks of the bark."""
    count = 90
    spots = rng.integers(10, len(line) - 10, count)
    across = rng.uniform(-0.42, 0.42, count)
    starts = line[spots] + np.stack([rng.uniform(-6, 6, count), across * widths[spots]], axis=1)
    ends = starts + np.stack([rng.uniform(2, 9, count), rng.normal(0, 0.5, count)], axis=1)
    flat = np.concatenate([frame(starts) - at, frame(ends) - at], axis=1)
    for crack, dark, high in zip(flat.tolist(), (rng.random(count) < 0.6).tolist(), across.tolist(), strict=True):
        tone = (0.45 if dark else 1.3) * (1 - 0.55 * high)
        draw.line(crack, fill=rgb(shade(bark, tone)), width=1)


def _paint_twigs(pixels: Pixels, frame: Frame, middle: Points, bark: Colour, rng: Random) -> None:
    """Paint side twigs with leaves, and berries or blossoms in the marks' colours."""
    shown, size_hw = frame(middle), _size(pixels)
    inside = np.flatnonzero((shown[:, 0] > -30) & (shown[:, 0] < size_hw[1] + 30))
    accent, green = ACCENTS[int(rng.integers(len(ACCENTS)))], int(rng.integers(len(_LEAVES)))
    for at in rng.choice(inside, int(rng.integers(2, 5))):
        side, lean, long = (1 if rng.random() < 0.4 else -1), rng.choice((-1, 1)), rng.uniform(34, 84)
        root = middle[at] + np.array([rng.uniform(-15, 15), 0.0])
        tip = root + np.array([lean * long * rng.uniform(0.5, 1), side * long * 0.75])
        path = spline([root, (root + tip) / 2 + rng.normal(0, 6, 2), tip], per=5, closed=False)
        ink = Ink([frame(path + np.array([dx, dy])) for dx in (-38, 38) for dy in (-38, 38)], size_hw)
        ink.fill(frame(ribbon(path, np.linspace(3.4, 1.4, 11))), shade(bark, 0.75))
        for spot in (4, 6, 8, 10):
            if rng.random() < 0.3:
                _draw_berry(ink, frame, path[spot], accent, rng)
                continue
            tone = mix(_LEAVES[green], _LEAVES[int(rng.integers(len(_LEAVES)))], 0.3)
            _draw_leaf(ink, frame.sub(path[spot], rng.uniform(0, 360)), tone, rng)
        over(pixels, ink.patch())


def _draw_leaf(ink: Ink, leaf: Frame, colour: Colour, rng: Random) -> None:
    long, wide = rng.uniform(18, 34), rng.uniform(3.8, 6.8)
    colour = shade(colour, rng.uniform(0.72, 1.15))
    blade = smooth(((0, 0), (0.2, 0.7), (0.5, 1), (0.8, 0.55), (1, 0), (0.8, -0.5), (0.5, -0.92), (0.2, -0.65)))
    outline, half = leaf(blade * (long, wide)), len(blade) // 2
    ink.fill(outline, shade(colour, 0.86))
    ink.fill(outline[: half + 1], shade(colour, 1.12))
    ink.line(leaf([(-4, 0), (0.96 * long, 0)]), mix(colour, _VEIN, 0.4), 0.8 * leaf.scale)
    for share in (0.2, 0.4, 0.6):
        veins = [(share * long + 5, wide * 0.6), (share * long, 0), (share * long + 5, -wide * 0.6)]
        ink.line(leaf(veins), mix(colour, _VEIN, 0.2), 0.4 * leaf.scale)


def _draw_berry(ink: Ink, frame: Frame, stem: Points, colour: Colour, rng: Random) -> None:
    colour, radius = shade(colour, rng.uniform(0.88, 1.04)), rng.uniform(3.6, 5.8)
    disc = ellipse((0.0, 0.0), (radius, radius), 14)
    middle, towards = stem + np.array([0.0, radius]), np.array([-0.32, -0.42]) * radius
    for share, tone in ((1.0, 0.66), (0.84, 0.82), (0.64, 0.96), (0.42, 1.08)):
        ink.fill(frame(disc * share + middle + towards * (1 - share)), shade(colour, tone))
    ink.fill(frame(disc * 0.17 + middle + towards), mix(colour, (255, 255, 250), 0.75))


def _paint_stone(pixels: Pixels, frame: Frame, light: Light, rng: Random) -> None:
    """Paint a boulder: a lit crown that turns into a dark foot, with specks and lichen."""
    size_hw, unit = _size(pixels), frame.scale
    stone, width = _STONES[int(rng.integers(len(_STONES)))], rng.uniform(110, 210)
    xs = np.linspace(-1, 1, 13)
    drop = rng.uniform(60, 110) * (1 - np.sqrt(np.maximum(1 - np.abs(xs) ** 2.6, 0)))
    ridge = spline(
        np.stack([xs * width, 0.5 + drop + (np.abs(xs) > 0.3) * rng.uniform(0, 5, 13)], axis=1), closed=False
    )
    foot = np.array([(width * 1.12, 430.0), (-width * 1.12, 430.0)])
    whole = cover([frame(np.concatenate([ridge, foot]))], size_hw)
    field = np.empty((3, *whole.alpha.shape), np.float32)
    field[:] = np.asarray(stone, dtype=np.float32)[:, None, None]
    local = Frame(frame.matrix, frame.origin - (whole.x, whole.y))
    for depth, tone, soft in ((14, 0.84, 8), (40, 0.66, 12), (85, 0.5, 16)):
        inner = np.concatenate([ridge * (0.97, 1) + (-12 * light.direction[0], depth), foot])
        over(field, cover([local(inner)], whole.alpha.shape, soft=soft * unit), shade(stone, tone))
    over(
        field,
        cover([local(ribbon(ridge, np.full(len(ridge), 7.0)))], whole.alpha.shape, soft=2.5),
        shade(stone, 1.3),
        0.7,
    )
    for tone, colour in ((0.5, stone), (1.3, stone), (1.0, mix(stone, ACCENTS[int(rng.integers(4))], 0.5))):
        where = np.stack([rng.uniform(-width, width, 24), rng.uniform(4, 130, 24), rng.uniform(0.5, 2.4, 24)], axis=1)
        spots = [local(ellipse((x, y), (r * 1.4, r), 9)) for x, y, r in where.tolist()]
        over(field, cover(spots, whole.alpha.shape, soft=0.5), shade(colour, tone), 0.5)
    over(pixels, Patch(whole.x, whole.y, whole.alpha, field * whole.alpha))
