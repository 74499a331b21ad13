"""Backgrounds out of focus: foliage, meadow, sky, water, sand and bark, in colours close to the marks' too."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from .brush import Colour, Pixels, mix, planes, rgb, shade

Random = np.random.Generator
_FAR = 96  # the far layer's side: it is so blurred that more pixels would only cost time
_NEAR = 160
ACCENTS: tuple[Colour, ...] = (  # the marks' colours, so that colour alone tells nothing
    (240, 200, 62), (228, 124, 44), (172, 78, 40), (246, 240, 218), (48, 42, 44),
)  # fmt: skip
_GREENS: tuple[Colour, ...] = ((74, 98, 54), (104, 124, 66), (134, 148, 84), (84, 110, 84), (150, 152, 92))
_AUTUMN: tuple[Colour, ...] = ((150, 108, 56), (176, 132, 66), (128, 96, 60), (112, 116, 66), (190, 158, 96))


def _pick(rng: Random, colours: tuple[Colour, ...]) -> Colour:
    return colours[int(rng.integers(len(colours)))]


def noise(rng: Random, cells: int, size: int) -> NDArray[np.float32]:
    """Return smooth noise [size, size], mean 0, deviation about 0.6."""
    grid = Image.fromarray(rng.standard_normal((cells, cells)).astype(np.float32))
    return np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC))


def _ramp(rng: Random, colours: tuple[Colour, ...], rough: float) -> Image.Image:
    """Return a vertical ramp through colours, made uneven by noise."""
    stops = np.linspace(0, 1, len(colours))
    t = np.clip(np.linspace(0, 1, _FAR)[:, None] + rough * noise(rng, 5, _FAR), 0, 1)
    table = np.asarray(colours, dtype=np.float64)
    tone = 1 + 0.05 * noise(rng, 7, _FAR)
    ramp = np.stack([np.interp(t, stops, table[:, c]) * tone for c in range(3)], axis=-1)
    return Image.fromarray(np.clip(ramp, 0, 255).astype(np.uint8))


def _leaf(draw: ImageDraw.ImageDraw, rng: Random, side: int, length: tuple[float, float], colour: Colour) -> None:
    x, y, angle = rng.uniform(0, side), rng.uniform(0, side), rng.uniform(0, 2 * np.pi)
    reach = rng.uniform(*length) * side
    t = np.array([0.0, 0.3, 0.6, 1.0, 0.6, 0.3])
    bulge = np.array([0.0, 0.2, 0.17, 0.0, -0.17, -0.2])
    xs = x + reach * (t * np.cos(angle) - bulge * np.sin(angle))
    ys = y + reach * (t * np.sin(angle) + bulge * np.cos(angle))
    draw.polygon(np.stack([xs, ys], axis=1).ravel().tolist(), fill=rgb(colour))


def _leaves(image: Image.Image, rng: Random, colours: tuple[Colour, ...], count: int, length: float) -> None:
    draw = ImageDraw.Draw(image)
    for _ in range(count):
        colour = shade(_pick(rng, colours), rng.uniform(0.75, 1.2))
        _leaf(draw, rng, image.size[0], (0.6 * length, 1.4 * length), colour)


def _bokeh(image: Image.Image, rng: Random, colours: tuple[Colour, ...], count: int) -> None:
    """Draw translucent discs of light with a slightly brighter rim."""
    draw, side = ImageDraw.Draw(image, "RGBA"), image.size[0]
    for _ in range(count):
        x, y, radius = rng.uniform(0, side), rng.uniform(0, side), rng.uniform(0.015, 0.055) * side
        red, green, blue = rgb(shade(_pick(rng, colours), 1.1))
        alpha = int(rng.uniform(35, 105))
        box = (x - radius, y - radius, x + radius, y + radius)
        draw.ellipse(box, fill=(red, green, blue, alpha), outline=(red, green, blue, alpha + 30))


def _blur(image: Image.Image, radius: float) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(radius))


def _near(image: Image.Image) -> Image.Image:
    return image.resize((_NEAR, _NEAR), Image.Resampling.BICUBIC)


def _foliage(rng: Random) -> Image.Image:
    greens = _GREENS if rng.random() < 0.7 else _AUTUMN
    far = _ramp(rng, (shade(_pick(rng, greens), 1.2), _pick(rng, greens), shade(_pick(rng, greens), 0.7)), 0.25)
    _leaves(far, rng, greens, 45, 0.2)
    image = _near(_blur(far, 3.2))
    _leaves(image, rng, (*greens, _pick(rng, ACCENTS)), 16, 0.15)
    image = _blur(image, 2.2)
    _bokeh(image, rng, (*greens, (236, 238, 190), *ACCENTS), 14)
    return _blur(image, 1.3)


def _meadow(rng: Random) -> Image.Image:
    greens = _GREENS if rng.random() < 0.6 else _AUTUMN
    far = _ramp(rng, ((196, 204, 176), _pick(rng, greens), shade(_pick(rng, greens), 0.85)), 0.12)
    image = _near(_blur(far, 2.5))
    draw = ImageDraw.Draw(image)
    for _ in range(42):
        x, y, sway = rng.uniform(0, _NEAR), rng.uniform(0.25, 1.05) * _NEAR, rng.normal(0, 14)
        tone = shade(_pick(rng, greens), rng.uniform(0.8, 1.25))
        draw.line((x, y + 60, x + sway * 0.4, y + 25, x + sway, y), fill=rgb(tone), width=int(rng.integers(1, 4)))
    image = _blur(image, 2.0)
    _bokeh(image, rng, (*ACCENTS, (236, 232, 190)), 24)
    return _blur(image, 1.2)


def _sky(rng: Random) -> Image.Image:
    top, low = mix((112, 152, 190), (168, 182, 192), rng.random()), mix((206, 218, 222), (232, 214, 190), rng.random())
    far = _ramp(rng, (top, mix(top, low, 0.6), low), 0.1)
    cloud = np.clip(noise(rng, 6, _FAR) + 0.5 * noise(rng, 12, _FAR) - rng.uniform(0, 0.5), 0, 1)[..., None]
    pixels = np.asarray(far, dtype=np.float32) * (1 - 0.7 * cloud) + 0.7 * cloud * np.array((246, 244, 240), np.float32)
    far = Image.fromarray(pixels.astype(np.uint8))
    draw = ImageDraw.Draw(far)
    for tone, level in ((0.55, 0.86), (0.8, 0.93)):
        ridge = np.interp(np.arange(_FAR), np.linspace(0, _FAR, 9), rng.normal(level, 0.035, 9)) * _FAR
        outline = [*np.stack([np.arange(_FAR), ridge], axis=1).ravel().tolist(), _FAR, _FAR, 0, _FAR]
        draw.polygon(outline, fill=rgb(mix(low, _pick(rng, _GREENS), tone)))
    image = _near(_blur(far, 2.0))
    _leaves(image, rng, (*_GREENS, _pick(rng, ACCENTS)), int(rng.integers(0, 9)), 0.14)
    return _blur(image, 2.6)


def _water(rng: Random) -> Image.Image:
    tone = mix((96, 128, 140), (128, 140, 122), rng.random())
    far = _ramp(rng, (shade(tone, 1.3), tone, shade(tone, 0.72)), 0.1)
    image = _near(_blur(far, 2.0))
    draw = ImageDraw.Draw(image)
    for _ in range(90):
        y = rng.uniform(0, 1) ** 0.8 * _NEAR
        x, half = rng.uniform(0, _NEAR), (4 + 16 * y / _NEAR) * rng.uniform(0.6, 1.6)
        glint = shade(tone, rng.uniform(0.7, 1.5)) if rng.random() < 0.85 else mix(tone, _pick(rng, ACCENTS), 0.5)
        draw.ellipse((x - half, y - 0.8, x + half, y + 0.8 + 1.6 * y / _NEAR), fill=rgb(glint))
    for _ in range(int(rng.integers(0, 12))):
        x, y = rng.uniform(0, _NEAR), rng.uniform(-0.2, 0.5) * _NEAR
        reed = shade(_pick(rng, _GREENS + _AUTUMN), rng.uniform(0.7, 1.1))
        draw.line((x, y, x + rng.normal(0, 10), _NEAR), fill=rgb(reed), width=int(rng.integers(2, 5)))
    return _blur(image, 2.0)


def _sand(rng: Random) -> Image.Image:
    sand = mix((206, 186, 148), (190, 176, 156), rng.random())
    sea = mix((146, 172, 178), (176, 182, 170), rng.random())
    far = _ramp(rng, (shade(sea, 1.1), sea, sand, shade(sand, 0.95), shade(sand, 0.85)), 0.06)
    image = _near(_blur(far, 1.5))
    draw = ImageDraw.Draw(image)
    for _ in range(60):
        y = rng.uniform(0.5, 1) * _NEAR
        x, size = rng.uniform(0, _NEAR), rng.uniform(0.6, 5) * (y / _NEAR) ** 2
        stone = mix(shade(sand, rng.uniform(0.55, 1.15)), _pick(rng, ACCENTS), 0.35 * float(rng.random()))
        draw.ellipse((x - size * 1.5, y - size, x + size * 1.5, y + size), fill=rgb(stone))
    return _blur(image, 1.7)


def _bark(rng: Random) -> Image.Image:
    bark = mix((122, 102, 82), (132, 128, 118), rng.random())
    far = _ramp(rng, (shade(bark, 1.05), bark, shade(bark, 0.85)), 0.2)
    image = _near(far)
    draw, lean = ImageDraw.Draw(image), rng.normal(0, 10)
    for _ in range(110):
        x, y, long = rng.uniform(-10, _NEAR + 10), rng.uniform(-20, _NEAR), rng.uniform(12, 60)
        path = (x, y, x + rng.normal(0, 3), y + long / 2, x + lean * long / 100, y + long)
        draw.line(path, fill=rgb(shade(bark, rng.uniform(0.55, 1.3))), width=int(rng.integers(1, 6)), joint="curve")
    for _ in range(int(rng.integers(3, 14))):
        x, y, size = rng.uniform(0, _NEAR), rng.uniform(0, _NEAR), rng.uniform(3, 11)
        lichen = mix(_pick(rng, (*ACCENTS, (168, 180, 140))), bark, 0.45)
        draw.ellipse((x - size, y - size * 0.8, x + size, y + size * 0.8), fill=rgb(lichen))
    return _blur(image, 2.4)


BACKDROPS: dict[str, Callable[[Random], Image.Image]] = {
    "foliage": _foliage,
    "meadow": _meadow,
    "sky": _sky,
    "water": _water,
    "sand": _sand,
    "bark": _bark,
}


def paint_backdrop(rng: Random, size: int) -> Pixels:
    """Paint one background, all of it behind the bird and out of focus."""
    kind = str(rng.choice(list(BACKDROPS), p=(0.3, 0.22, 0.15, 0.12, 0.1, 0.11)))
    image = BACKDROPS[kind](rng).resize((size, size), Image.Resampling.BILINEAR)
    return planes(image)
