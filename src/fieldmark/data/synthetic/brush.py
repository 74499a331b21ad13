"""Brushes: smooth curves, antialiased coverage and paint, on float pictures.

Legend: H, W picture height and width; h, w a patch's; N points. Points are x, y in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Points = NDArray[np.float64]  # [N, 2]
Grey = NDArray[np.float32]  # [H, W]
Pixels = NDArray[np.float32]  # [3, H, W], 0 to 255: planes, since painting them is three times as fast
Colour = tuple[float, float, float]

OVERSAMPLING = 3


@dataclass(frozen=True)
class Patch:
    """A piece of paint: its place, how much of every pixel it covers, and, if it has many colours, its ink."""

    x: int
    y: int
    alpha: Grey  # [h, w], 0 to 1
    ink: Pixels | None = None  # [3, h, w], multiplied by alpha already

    @property
    def window(self) -> tuple[slice, slice]:
        """Return the rows and columns that the patch covers."""
        height, width = self.alpha.shape
        return slice(self.y, self.y + height), slice(self.x, self.x + width)


@dataclass(frozen=True)
class Frame:
    """An affine frame: a 2x2 matrix and an origin, from local units to pixels."""

    matrix: NDArray[np.float64]
    origin: NDArray[np.float64]

    def __call__(self, points: object) -> Points:
        """Map local points [N, 2] to pixels [N, 2]."""
        return np.asarray(np.asarray(points, dtype=np.float64) @ self.matrix.T + self.origin)

    def sub(self, origin: object, degrees: float = 0.0, stretch: tuple[float, float] = (1.0, 1.0)) -> Frame:
        """Return a frame at a local origin, turned anticlockwise on screen (y points down) and stretched."""
        angle = np.deg2rad(degrees)
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.array([[cos, sin], [-sin, cos]])
        return Frame(self.matrix @ turn @ np.diag(stretch), self(np.asarray(origin, dtype=np.float64)))

    def moved(self, by: object) -> Frame:
        """Return the frame moved by pixels x, y."""
        return Frame(self.matrix, self.origin + np.asarray(by, dtype=np.float64))

    @cached_property
    def scale(self) -> float:
        """Return pixels a local unit."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix))))


@lru_cache(maxsize=32)
def _catmull_rom(per: int) -> NDArray[np.float64]:
    t = np.arange(per)[:, None] / per
    return np.asarray(
        0.5 * np.hstack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2])
    )


def spline(points: object, per: int = 6, closed: bool = True) -> Points:
    """Return a smooth curve through points (Catmull-Rom, `per` points a segment)."""
    knots = np.asarray(points, dtype=np.float64)
    if closed:
        ring = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        ring = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    quads = np.stack([ring[:-3], ring[1:-2], ring[2:-1], ring[3:]], axis=1)  # [segments, 4, 2]
    curve = np.einsum("pk,skd->spd", _catmull_rom(per), quads).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, knots[-1:]])


@lru_cache(maxsize=512)
def smooth(points: tuple[tuple[float, float], ...], per: int = 4) -> Points:
    """Return the closed spline through points that never change, computed once; do not write into it."""
    return spline(points, per)


def ribbon(points: object, widths: object) -> Points:
    """Return the outline of a stroke along points [N, 2] with a width at each of them."""
    line = np.asarray(points, dtype=np.float64)
    along = np.empty_like(line)
    along[1:-1] = line[2:] - line[:-2]
    along[0], along[-1] = line[1] - line[0], line[-1] - line[-2]
    along /= np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)[:, None]
    side = np.stack([-along[:, 1], along[:, 0]], axis=1) * (np.asarray(widths, dtype=np.float64) / 2)[:, None]
    return np.concatenate([line + side, (line - side)[::-1]])


@lru_cache(maxsize=32)
def _circle(count: int) -> Points:
    angle = np.arange(count) * (2 * np.pi / count)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def ellipse(centre: tuple[float, float], radii: tuple[float, float], count: int = 28) -> Points:
    """Return the outline of an ellipse."""
    return np.asarray(_circle(count) * radii + centre)


def _bounds(shapes: Sequence[Points], size_hw: tuple[int, int], pad: float) -> tuple[int, int, int, int]:
    every = shapes[0] if len(shapes) == 1 else np.concatenate(shapes)
    (left, top), (right, bottom) = every.min(axis=0).tolist(), every.max(axis=0).tolist()
    x0, y0 = min(max(floor(left - pad), 0), size_hw[1]), min(max(floor(top - pad), 0), size_hw[0])
    x1, y1 = min(max(ceil(right + pad), x0), size_hw[1]), min(max(ceil(bottom + pad), y0), size_hw[0])
    return x0, y0, x1, y1


def cover(shapes: Sequence[Points], size_hw: tuple[int, int], soft: float = 0.0) -> Patch:
    """Return the antialiased union of polygons, blurred by `soft` pixels, clipped to the picture."""
    x0, y0, x1, y1 = _bounds(shapes, size_hw, 1 + 2.5 * soft)
    if x1 == x0 or y1 == y0:
        return Patch(x0, y0, np.zeros((y1 - y0, x1 - x0), np.float32))
    over = OVERSAMPLING if soft < 2 else 1
    sheet = Image.new("L", ((x1 - x0) * over, (y1 - y0) * over))
    draw = ImageDraw.Draw(sheet)
    for shape in shapes:
        draw.polygon(((shape - (x0, y0)) * over - 0.5).ravel().tolist(), fill=255)
    if over > 1:
        sheet = sheet.reduce(over)
    if soft > 0:
        sheet = sheet.filter(ImageFilter.GaussianBlur(soft))
    return Patch(x0, y0, np.asarray(sheet, dtype=np.float32) * np.float32(1 / 255))


class Ink:
    """Hard-edged drawing in many colours that becomes one antialiased patch."""

    def __init__(self, bounds: Sequence[Points], size_hw: tuple[int, int], pad: float = 2.0) -> None:
        self.box = _bounds(bounds, size_hw, pad)
        x0, y0, x1, y1 = self.box
        extent = (max(x1 - x0, 1) * OVERSAMPLING, max(y1 - y0, 1) * OVERSAMPLING)
        self.colours, self.mask = Image.new("RGB", extent), Image.new("L", extent)
        self._draw, self._draw_mask = ImageDraw.Draw(self.colours), ImageDraw.Draw(self.mask)

    def _local(self, points: Points) -> list[float]:
        flat: list[float] = ((points - self.box[:2]) * OVERSAMPLING - 0.5).ravel().tolist()
        return flat

    def fill(self, outline: Points, colour: Colour) -> None:
        """Fill a polygon."""
        flat = self._local(outline)
        self._draw.polygon(flat, fill=rgb(colour))
        self._draw_mask.polygon(flat, fill=255)

    def line(self, points: Points, colour: Colour, width: float) -> None:
        """Draw a line, `width` in pixels."""
        flat, thick = self._local(points), max(1, round(width * OVERSAMPLING))
        self._draw.line(flat, fill=rgb(colour), width=thick)
        self._draw_mask.line(flat, fill=255, width=thick)

    def patch(self) -> Patch:
        """Return what was drawn, reduced to picture pixels."""
        x0, y0, x1, y1 = self.box
        alpha = np.asarray(self.mask.reduce(OVERSAMPLING), dtype=np.float32) * np.float32(1 / 255)
        ink = planes(self.colours.reduce(OVERSAMPLING))
        return Patch(x0, y0, alpha[: y1 - y0, : x1 - x0], ink[:, : y1 - y0, : x1 - x0])


def planes(image: Image.Image) -> Pixels:
    """Return an RGB image as float planes [3, H, W]."""
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1), dtype=np.float32)


def rgb(colour: Colour) -> tuple[int, int, int]:
    """Return a colour in whole numbers, 0 to 255."""
    red, green, blue = colour
    return min(255, max(0, round(red))), min(255, max(0, round(green))), min(255, max(0, round(blue)))


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """Return `one` with a share of `other`."""
    keep = 1 - share
    return keep * one[0] + share * other[0], keep * one[1] + share * other[1], keep * one[2] + share * other[2]


def shade(colour: Colour, factor: float) -> Colour:
    """Return a darker (< 1) or lighter (> 1) colour."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def over(pixels: Pixels, patch: Patch, colour: Colour | None = None, opacity: float = 1.0) -> None:
    """Paint a patch on a picture, in place, in one colour or in its own ink."""
    alpha = patch.alpha * np.float32(opacity)
    target = pixels[(slice(None), *patch.window)]
    target *= 1 - alpha
    if colour is not None:
        target += alpha * np.asarray(colour, dtype=np.float32)[:, None, None]
    elif patch.ink is not None:
        target += patch.ink * np.float32(opacity)


@dataclass
class Sheet:
    """A transparent sheet: colours already multiplied by alpha, and the visible part of every mark on it."""

    size_hw: tuple[int, int]
    pixels: Pixels = field(init=False)
    alpha: Grey = field(init=False)
    marks: dict[str, Grey] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.pixels = np.zeros((3, *self.size_hw), np.float32)
        self.alpha = np.zeros(self.size_hw, np.float32)

    def paint(
        self,
        patch: Patch,
        colour: Colour | None = None,
        opacity: float = 1.0,
        *,
        inside: Grey | None = None,
        mark: str | None = None,
    ) -> None:
        """Paint a patch, only `inside` a mask if given; whatever it hides of earlier marks is no longer visible."""
        if inside is not None:
            limit = inside[patch.window]
            ink = None if patch.ink is None else patch.ink * limit
            patch = Patch(patch.x, patch.y, patch.alpha * limit, ink)
        over(self.pixels, patch, colour, opacity)
        gain = patch.alpha * np.float32(opacity)
        for seen in (self.alpha, *self.marks.values()):
            seen[patch.window] *= 1 - gain
        self.alpha[patch.window] += gain
        if mark is not None:
            self.marks.setdefault(mark, np.zeros(self.size_hw, np.float32))[patch.window] += gain
