"""The bird: soft plumage, wing, face and shading, with the field marks painted in their places."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from .anatomy import EYE_AT, EYE_RADIUS, Anatomy, covert_rows, feather, wing_outline
from .brush import Frame, Grey, Ink, Patch, Points, Sheet, cover, ellipse, mix, over, planes, ribbon, shade, smooth
from .marks import PAINTERS, bill_outlines
from .pose import Light, Look
from .species import Species

Roll = Callable[[str], np.random.Generator]


def paint_bird(
    species: Species, anatomy: Anatomy, look: Look, light: Light, size_hw: tuple[int, int], roll: Roll
) -> Sheet:
    """Paint one bird on a transparent sheet; only its marks depend on the species."""
    values, sheet = species.marks.as_dict(), Sheet(size_hw)

    def paint_marks(*kinds: str) -> None:
        for kind in kinds:
            if values[kind] != "none":
                PAINTERS[kind](sheet, anatomy, look, values[kind], roll(kind))

    paint_marks("tail", "legs", "crest")
    body = cover([anatomy.outline], size_hw, soft=0.45 * anatomy.root.scale)
    silhouette = np.zeros(size_hw, np.float32)
    silhouette[body.window] = body.alpha
    _paint_thighs(sheet, anatomy, look)
    _paint_plumage(sheet, anatomy, look, silhouette)
    paint_marks("rump")
    _paint_wing(sheet, anatomy, look, silhouette, roll("wing"))
    paint_marks("wing_bars")
    _paint_face(sheet, anatomy, look, silhouette)
    paint_marks("cap", "throat", "eyebrow", "eye_ring")
    _paint_bill(sheet, anatomy, look)
    paint_marks("bill_tip")
    _shade(sheet, anatomy, look, light, silhouette, roll("plumage"))
    _paint_bill_light(sheet, anatomy)
    _paint_eye(sheet, anatomy, look, light)
    return sheet


def _paint_thighs(sheet: Sheet, anatomy: Anatomy, look: Look) -> None:
    unit = anatomy.root.scale
    for foot, hip, tone in zip(anatomy.feet, anatomy.hips, (0.8, 0.92), strict=True):
        knee = hip + (foot - hip) * 0.42
        tuft = ribbon(np.stack([hip, (hip + knee) / 2, knee]), np.array([15.0, 11.0, 4.0]) * unit)
        sheet.paint(cover([tuft], sheet.size_hw, soft=0.8 * unit), shade(mix(look.belly, look.breast, 0.5), tone))


def _paint_plumage(sheet: Sheet, anatomy: Anatomy, look: Look, silhouette: Grey) -> None:
    """Paint back, breast, belly and flanks, melting into each other."""
    # At half the resolution: it is all soft, and four times as fast.
    half = np.full(2, 0.5)
    body, head = (Frame(frame.matrix / 2, frame.origin * half) for frame in (anatomy.body, anatomy.head))
    unit, size_hw = body.scale, ((sheet.size_hw[0] + 1) // 2, (sheet.size_hw[1] + 1) // 2)
    field = np.empty((3, *size_hw), np.float32)
    field[:] = np.asarray(look.back, dtype=np.float32)[:, None, None]
    under = smooth(((-70, 8), (-20, 9), (20, 4), (44, -8), (62, -20), (80, 0), (55, 50), (0, 55), (-60, 40)))
    over(field, cover([body(under)], size_hw, soft=6 * unit), look.breast)
    belly = smooth(((-70, 16), (-25, 21), (10, 20), (34, 14), (40, 30), (15, 50), (-40, 46)))
    over(field, cover([body(belly)], size_hw, soft=6 * unit), look.belly)
    flank = smooth(((-30, 12), (0, 14), (14, 18), (0, 28), (-28, 26)))
    over(field, cover([body(flank)], size_hw, soft=5 * unit), look.flank, look.flank_wash * 0.55)
    crown = smooth(((24, -6), (10, -10), (-8, -8), (-24, 2), (-34, -12), (-14, -32), (16, -28)))
    over(field, cover([head(crown)], size_hw, soft=4 * unit), shade(look.back, 0.88), 0.8)
    cheek = smooth(((16, 4), (4, 1), (-8, 2), (-12, 8), (-4, 14), (8, 13)))
    over(field, cover([head(cheek)], size_hw, soft=3.2 * unit), mix(look.back, look.breast, 0.28), 0.75)
    chin = smooth(((22, 6), (8, 12), (4, 20), (14, 24), (24, 14)))
    over(field, cover([head(chin)], size_hw, soft=3 * unit), mix(look.breast, look.belly, 0.7), 0.7)
    image = Image.fromarray(np.clip(field, 0, 255).astype(np.uint8).transpose(1, 2, 0))
    large = image.resize((2 * size_hw[1], 2 * size_hw[0]), Image.Resampling.BILINEAR)
    ink = planes(large)[:, : sheet.size_hw[0], : sheet.size_hw[1]] * silhouette
    sheet.paint(Patch(0, 0, silhouette, ink))


def _paint_wing(sheet: Sheet, anatomy: Anatomy, look: Look, silhouette: Grey, rng: np.random.Generator) -> None:
    """Paint the folded wing: its shadow, the long feathers, and rows of coverts with pale edges."""
    frame, unit = anatomy.wing, anatomy.root.scale
    outline = wing_outline()
    below = cover([frame(outline) + np.array([0.0, 4.0 * unit])], sheet.size_hw, soft=3 * unit)
    sheet.paint(below, shade(look.wing, 0.5), 0.42, inside=silhouette)
    ink = Ink([frame(outline), frame([(106, 4), (60, 22), (60, -18)])], sheet.size_hw)
    _draw_flight_feathers(ink, frame, look, rng)
    ink.fill(frame(smooth(((-4, 2), (2, -11), (22, -15), (32, -12), (33, 14), (20, 17), (3, 12)))), look.wing)
    for name in ("greater", "median"):
        for base, tip, width in covert_rows()[name]:
            shape = frame(feather(base, tip, width * 1.1, 0.6))
            ink.fill(shape, shade(look.wing, float(rng.uniform(0.86, 1.0))))
            ink.line(shape[2:10], mix(look.wing, look.edge, 0.5), 0.55 * unit)
    sheet.paint(ink.patch())
    lesser = smooth(((-6, 2), (0, -12), (15, -15), (16, 0), (14, 14), (2, 12)))
    sheet.paint(cover([frame(lesser)], sheet.size_hw, soft=2.4 * unit), mix(look.back, look.wing, 0.25), 0.9)
    mantle = smooth(((-8, -6), (2, -14), (24, -19), (50, -17.5), (38, -12), (14, -9)))
    sheet.paint(cover([frame(mantle)], sheet.size_hw, soft=2 * unit), look.back, 0.85, inside=silhouette)


def _draw_flight_feathers(ink: Ink, frame: Frame, look: Look, rng: np.random.Generator) -> None:
    unit = frame.scale
    rows: list[tuple[tuple[float, float], tuple[float, float], float]] = []
    rows += [((36.0, 10.0 - i), (70.0 + 6.6 * i, 15.5 - 2.9 * i), 7.0) for i in range(6)]  # primaries
    rows += [((30.0, 13.0 - 3.2 * i), (62.0 + 3.4 * i, 14.5 - 4.2 * i), 8.4) for i in range(6)]  # secondaries
    rows += [((26.0, -6.0 - i), (76.0 - 10.0 * i, -7.5 - 1.9 * i), 9.0) for i in range(3)]  # tertials
    for base, tip, width in rows:
        shape = frame(feather(base, tip, width, 0.35))
        ink.fill(shape, shade(look.wing, float(rng.uniform(0.74, 0.9))))
        ink.line(shape[:6], mix(look.wing, look.edge, 0.8), 0.75 * unit)
        ink.line(frame([base, (tip[0] - 3, tip[1])]), shade(look.wing, 0.62), 0.5 * unit)


def _paint_face(sheet: Sheet, anatomy: Anatomy, look: Look, silhouette: Grey) -> None:
    head, unit = anatomy.head, anatomy.root.scale
    lore = cover([head(ribbon([(21, 1), (14, -1.5), (8, -3)], (3.4, 3.2, 2.5)))], sheet.size_hw, soft=1.1 * unit)
    sheet.paint(lore, shade(look.back, 0.5), 0.6, inside=silhouette)
    line = cover([head(ribbon([(4, -3), (-5, -2), (-12, 1.5)], (3.0, 3.0, 1.4)))], sheet.size_hw, soft=1.2 * unit)
    sheet.paint(line, shade(look.back, 0.58), 0.4, inside=silhouette)


def _paint_bill(sheet: Sheet, anatomy: Anatomy, look: Look) -> None:
    upper, lower = bill_outlines(anatomy.head)
    sheet.paint(cover([lower], sheet.size_hw), shade(look.bill, 1.16))
    sheet.paint(cover([upper], sheet.size_hw), look.bill)


def _paint_bill_light(sheet: Sheet, anatomy: Anatomy) -> None:
    head, unit = anatomy.head, anatomy.root.scale
    gape = ribbon([(17.5, 2.2), (24, 2.1), (32, 2.3), (42, 2.6)], np.array([1.3, 1.1, 0.9, 0.5]))
    sheet.paint(cover([head(gape)], sheet.size_hw), (24, 20, 20), 0.75)
    gleam = ribbon([(21, -2.3), (28, -1.5), (36, 0.2)], np.array([0.6, 1.5, 0.5]))
    sheet.paint(cover([head(gleam)], sheet.size_hw, soft=0.5 * unit), (255, 252, 244), 0.42)
    nostril = ellipse((23.0, -0.9), (1.5, 0.7), 10)
    sheet.paint(cover([head(nostril)], sheet.size_hw), (20, 18, 18), 0.6)


def _paint_eye(sheet: Sheet, anatomy: Anatomy, look: Look, light: Light) -> None:
    head, size_hw, unit = anatomy.head, sheet.size_hw, anatomy.root.scale
    x, y = EYE_AT
    lid = head(ellipse(EYE_AT, (EYE_RADIUS + 0.9, EYE_RADIUS + 0.7)))
    ink = Ink([lid], size_hw)
    ink.fill(lid, (30, 24, 21))
    ink.fill(head(ellipse(EYE_AT, (EYE_RADIUS, EYE_RADIUS))), look.iris)
    ink.fill(head(ellipse((x, y + 2.0), (3.4, 2.2), 16)), mix(look.iris, (214, 140, 70), 0.4))
    ink.fill(head(ellipse((x, y - 0.2), (3.2, 3.2), 20)), (12, 10, 12))
    sheet.paint(ink.patch())
    spark = head(EYE_AT) + np.array([light.direction[0] * 1.9, -2.1]) * unit
    sheet.paint(cover([_disc(spark, 1.45 * unit)], size_hw), (255, 255, 255), 0.95)
    sheet.paint(cover([_disc(2 * head(EYE_AT) - spark, 0.7 * unit)], size_hw), (200, 214, 230), 0.55)


def _disc(centre: Points, radius: float) -> Points:
    return ellipse((float(centre[0]), float(centre[1])), (radius, radius), 14)


def _shade(
    sheet: Sheet, anatomy: Anatomy, look: Look, light: Light, silhouette: Grey, rng: np.random.Generator
) -> None:
    """Round the body: light by the slope of its blurred outline, feather texture and breast streaks on top."""
    tone = 1 + light.hardness * _relief(anatomy, silhouette, light)
    tone += _texture(anatomy, sheet.size_hw, look, rng) * silhouette
    sheet.pixels *= np.clip(tone, 0.45, 1.3)
    np.minimum(sheet.pixels, 255 * sheet.alpha, out=sheet.pixels)


def _relief(anatomy: Anatomy, silhouette: Grey, light: Light) -> Grey:
    """Return how much lighter (> 0) or darker each pixel of the body is by its slope towards the light."""
    unit, (height, width) = anatomy.root.scale, silhouette.shape
    small = np.asarray(Image.fromarray(silhouette).resize((width // 4, height // 4), Image.Resampling.BOX))
    rise = 0.62 * blurred(small, 5.2 * unit) + 0.38 * blurred(small, 2.0 * unit)
    down, right = np.gradient(rise)
    lit = -(right * light.direction[0] + down * light.direction[1]) * 3.9 * unit
    relief = np.where(lit < 0, 1.05 * lit, 0.5 * lit) - 0.55 * (1 - rise) + 0.17
    image = Image.fromarray((relief * small).astype(np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def blurred(grey: Grey, sigma: float) -> Grey:
    """Return a float picture blurred by three running means, close to a Gaussian."""
    radius = max(1, round(float(np.sqrt(sigma * sigma / 3 * 3 + 0.25) - 0.5)))
    for _ in range(3):
        for axis in (0, 1):
            pad = [(0, 0), (0, 0)]
            pad[axis] = (radius + 1, radius)
            total = np.cumsum(np.pad(grey, pad, mode="edge"), axis=axis, dtype=np.float64)
            ahead, behind = np.split(total, [2 * radius + 1], axis=axis)[1], total
            count = ahead.shape[axis]
            behind = behind[:count] if axis == 0 else behind[:, :count]
            grey = ((ahead - behind) / (2 * radius + 1)).astype(np.float32)
    return grey


def _texture(anatomy: Anatomy, size_hw: tuple[int, int], look: Look, rng: np.random.Generator) -> Grey:
    """Return the fine barbs of the plumage and the streaks of the breast, about -0.3 to 0.1."""
    image = Image.new("L", (size_hw[1] * 2, size_hw[0] * 2), 128)
    draw, body, unit = ImageDraw.Draw(image), anatomy.body, anatomy.root.scale
    count = 220
    starts = np.stack([rng.uniform(-62, 74, count), rng.uniform(-52, 40, count)], axis=1)
    lengths, turns = rng.uniform(3, 7, count), rng.normal(0, 0.3, count) + 0.012 * starts[:, 1]
    ends = starts - np.stack([lengths * np.cos(turns), -lengths * np.sin(turns)], axis=1)
    lines = np.concatenate([body(starts), body(ends)], axis=1) * 2
    for line, tone in zip(lines.tolist(), rng.integers(104, 152, count).tolist(), strict=True):
        draw.line(line, fill=tone, width=max(1, round(1.4 * unit)))
    if look.streaks > 0:
        _draw_streaks(draw, body, look.streaks, rng)
    return (np.asarray(image.reduce(2), dtype=np.float32) - 128) * np.float32(1 / 255)


def _draw_streaks(draw: ImageDraw.ImageDraw, body: Frame, strength: float, rng: np.random.Generator) -> None:
    spots = np.stack([rng.uniform(4, 48, 34), rng.uniform(8, 32, 34)], axis=1)
    for x, y in spots[spots[:, 0] * 0.55 + 8 > (spots[:, 1] - 20)]:
        length = float(rng.uniform(3.5, 6.5))
        mark = ribbon([(x, y), (x - length / 2, y + 0.8), (x - length, y + 2)], (0.8, 2.2, 0.6))
        draw.polygon((body(mark) * 2).ravel().tolist(), fill=int(128 - 110 * strength))
