"""The field marks, each painted by one function from the species' value of it; a table joins kinds and painters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .anatomy import (
    BILL_LENGTH,
    BILL_TIP_LENGTH,
    EYE_AT,
    LOWER_BACK,
    TAIL_FEATHERS,
    TAIL_LENGTH,
    TAIL_TIP_LENGTH,
    Anatomy,
    covert_rows,
    feather,
    tail_outline,
)
from .brush import (
    Colour,
    Frame,
    Grey,
    Ink,
    Patch,
    Points,
    Sheet,
    cover,
    ellipse,
    mix,
    ribbon,
    shade,
    smooth,
    spline,
)
from .pose import Look

WHITE: Colour = (250, 246, 234)
CREAM: Colour = (248, 238, 206)
BLACK: Colour = (44, 37, 37)
RUFOUS: Colour = (150, 64, 34)
ORANGE: Colour = (222, 118, 46)
YELLOW: Colour = (240, 200, 76)
DARK_LEG: Colour = (66, 58, 58)

THROAT_COLOURS: dict[str, Colour] = {"black": BLACK, "rufous": RUFOUS}


def _ragged(outline: Points, rng: np.random.Generator, amount: float) -> Points:
    """Return an outline with the small unevenness of feathers."""
    return np.asarray(outline + rng.normal(0, amount, outline.shape))


def paint_tail(sheet: Sheet, anatomy: Anatomy, look: Look, value: str, rng: np.random.Generator) -> None:
    """Paint the tail, square or notched; the mark is its end."""
    frame = anatomy.tail
    outlines = [frame(feather(base, tip, 7.8, 0.75)) for base, tip in TAIL_FEATHERS]
    ink = Ink(outlines, sheet.size_hw)
    for rank, (outline, (base, tip)) in enumerate(zip(outlines, TAIL_FEATHERS, strict=True)):
        ink.fill(outline, shade(look.wing, 0.8 + 0.07 * rank + rng.uniform(-0.04, 0.04)))
        ink.line(outline[: len(outline) // 2], mix(look.wing, look.edge, 0.55), 0.7 * frame.scale)
        ink.line(frame([base, tip]), shade(look.wing, 0.66), 0.6 * frame.scale)
    whole = np.zeros(sheet.size_hw, np.float32)
    left = cover([frame(tail_outline(value))], sheet.size_hw)
    whole[left.window] = left.alpha
    patch = ink.patch()
    sheet.paint(patch, inside=whole)
    end = TAIL_LENGTH - TAIL_TIP_LENGTH
    tip_area = cover([frame([(end, -15), (end, 15), (end + 30, 15), (end + 30, -15)])], sheet.size_hw)
    sheet.marks["tail"] = _product(sheet.alpha, tip_area)


def _product(seen: Grey, patch: Patch) -> Grey:
    result = np.zeros_like(seen)
    result[patch.window] = seen[patch.window] * patch.alpha
    return result


def paint_legs(sheet: Sheet, anatomy: Anatomy, look: Look, value: str, _rng: np.random.Generator) -> None:
    """Paint both legs and their toes; the far leg first and a little darker."""
    colour = ORANGE if value == "orange" else DARK_LEG
    unit = anatomy.root.scale
    ahead = np.sign(anatomy.root.matrix[0, 0]) * unit
    gleams: list[Points] = []
    for foot, hip, tone in zip(anatomy.feet, anatomy.hips, (0.78, 1.0), strict=True):
        ankle = foot - np.array([1.5 * ahead, 2.2 * unit])
        knee = hip + 0.3 * (ankle - hip)  # all above it is in the feathers
        shin = ribbon(
            np.stack([knee, (knee + ankle) / 2 + np.array([0.8 * ahead, 0.0]), ankle]), np.array([4.6, 4.0, 3.8]) * unit
        )
        toes = [_toe(foot, reach * ahead, drop * unit, unit) for reach, drop in ((7.5, 3.2), (5.0, 5.0), (-5.5, 3.6))]
        patch = cover([shin, *toes], sheet.size_hw)
        sheet.paint(patch, shade(colour, tone * look.mark_tone), mark="legs")
        gleams.append(ribbon(np.stack([knee, ankle]) - np.array([0.9 * ahead, 0.0]), np.array([1.1, 1.1]) * unit))
    sheet.paint(cover(gleams, sheet.size_hw), mix(colour, WHITE, 0.35), 0.5)


def _toe(foot: Points, reach: float, drop: float, unit: float) -> Points:
    path = foot + np.array([[0, -2.6 * unit], [reach * 0.55, -1.6 * unit], [reach * 0.95, 0.2 * drop], [reach, drop]])
    return ribbon(spline(path, per=3, closed=False), np.linspace(3.6, 2.0, 10) * unit)


def paint_crest(sheet: Sheet, anatomy: Anatomy, look: Look, value: str, rng: np.random.Generator) -> None:
    """Paint the raised feathers of the hind crown."""
    plumes = []
    for start, lift in ((-2.0, 0.92), (-6.0, 1.0), (-10.0, 0.82), (-13.0, 0.6)):
        length = 17.0 * lift + rng.uniform(-1, 1)
        tip = (start - length * 0.86, -19.5 - length * 0.88 + (1 - lift) * 9)
        bend = ((start + tip[0]) / 2 + 0.5, (-19.5 + tip[1]) / 2 - 2.6)
        path = spline([(start + 5, -16.5), bend, tip], per=6, closed=False)
        plumes.append(anatomy.head(ribbon(path, np.linspace(9.0, 1.0, len(path)))))
    sheet.paint(cover(plumes, sheet.size_hw), shade(look.back, 0.72), mark="crest")
    edges = [ribbon(plume[2 : len(plume) // 2], np.full(len(plume) // 2 - 2, 1.0)) for plume in plumes]
    sheet.paint(cover(edges, sheet.size_hw), shade(look.back, 1.06), 0.7)


def paint_rump(sheet: Sheet, anatomy: Anatomy, look: Look, value: str, rng: np.random.Generator) -> None:
    """Paint the bright patch above the base of the tail."""
    outline = anatomy.body(_ragged(smooth(LOWER_BACK, 5), rng, 0.35))
    inside = sheet.alpha.copy()
    patch = cover([outline], sheet.size_hw, soft=0.9 * anatomy.root.scale)
    sheet.paint(patch, shade(YELLOW, 0.97 * look.mark_tone), 0.95, inside=inside, mark="rump")
    lower = cover([anatomy.body(smooth(((-32, -17), (-56, -4), (-54, 1), (-40, -3))))], sheet.size_hw, soft=2)
    sheet.paint(lower, (206, 150, 40), 0.6, inside=sheet.marks["rump"].copy())


def paint_wing_bars(sheet: Sheet, anatomy: Anatomy, look: Look, value: str, rng: np.random.Generator) -> None:
    """Paint the pale tips of the wing coverts: the greater ones make the first bar, the median ones the second."""
    for name in ("greater", "median") if value == "two" else ("greater",):
        tips = []
        for base, tip, width in covert_rows()[name][1:]:
            (bx, by), (tx, ty) = base, tip
            length = 4.1 + float(rng.uniform(-0.4, 0.4))
            share = length / float(np.hypot(tx - bx, ty - by))
            start = (tx + (bx - tx) * share, ty + (by - ty) * share)
            tips.append(anatomy.wing(feather(start, (tx + 0.8, ty), width * 1.1, 0.6)))
        patch = cover(tips, sheet.size_hw, soft=0.35 * anatomy.root.scale)
        sheet.paint(patch, shade(CREAM, look.mark_tone), 0.92, mark="wing_bars")


def paint_cap(sheet: Sheet, anatomy: Anatomy, look: Look, value: str, rng: np.random.Generator) -> None:
    """Paint the black crown."""
    points = ((20.5, -8), (16, -19), (3, -27), (-11, -24), (-13.5, -16), (-6, -12.5), (4, -13), (12, -11))
    patch = cover([anatomy.head(_ragged(smooth(points, 5), rng, 0.3))], sheet.size_hw, soft=0.5)
    sheet.paint(patch, BLACK, 0.95, inside=sheet.alpha.copy(), mark="cap")
    sheen = cover([anatomy.head(ribbon([(15, -15), (5, -19.5), (-5, -19)], (1.5, 4.0, 1.5)))], sheet.size_hw, soft=1.5)
    sheet.paint(sheen, (118, 116, 128), 0.4)


def paint_eyebrow(sheet: Sheet, anatomy: Anatomy, look: Look, value: str, rng: np.random.Generator) -> None:
    """Paint the pale stripe above the eye (the supercilium)."""
    path = spline([(18.5, -7.0), (10, -12.0), (0, -12.6), (-8, -9.6), (-13, -5.5)], per=4, closed=False)
    widths = np.interp(np.arange(len(path)), [0, 4, 10, len(path) - 1], [2.6, 4.4, 4.8, 1.6])
    outline = anatomy.head(_ragged(ribbon(path, widths), rng, 0.15))
    sheet.paint(
        cover([outline], sheet.size_hw), shade(CREAM, look.mark_tone), inside=sheet.alpha.copy(), mark="eyebrow"
    )


def paint_throat(sheet: Sheet, anatomy: Anatomy, look: Look, value: str, rng: np.random.Generator) -> None:
    """Paint the bib below the bill."""
    points = ((23, 5), (13, 6), (7, 10), (4.5, 16), (6.5, 22), (12, 24), (18, 22), (22, 14))
    patch = cover([anatomy.head(_ragged(smooth(points, 5), rng, 0.35))], sheet.size_hw, soft=0.6)
    sheet.paint(patch, THROAT_COLOURS[value], 0.95, inside=sheet.alpha.copy(), mark="throat")


def paint_eye_ring(sheet: Sheet, anatomy: Anatomy, look: Look, value: str, _rng: np.random.Generator) -> None:
    """Paint the ring that the eye is then painted in."""
    ring = anatomy.head(ellipse(EYE_AT, (8.1, 7.9)))
    sheet.paint(cover([ring], sheet.size_hw), shade(WHITE, look.mark_tone), mark="eye_ring")


def bill_outlines(frame: Frame, beyond: float = 0.0) -> tuple[Points, Points]:
    """Return the upper and the lower mandible from `beyond` units outside the bill's base to its tip."""
    x0, length = 18.5, BILL_LENGTH + 1.5
    t = np.linspace(beyond / length, 1, 9)
    top = np.stack([x0 + t * length, -4.2 + 6.4 * t**2.2], axis=1)
    gape = np.stack([x0 + t * length, 2.0 + 0.6 * t], axis=1)
    low = np.stack([x0 + t * length * 0.965, 6.0 - 3.4 * t**1.5], axis=1)
    return frame(np.concatenate([top, gape[::-1]])), frame(np.concatenate([gape, low[::-1]]))


def paint_bill_tip(sheet: Sheet, anatomy: Anatomy, look: Look, value: str, _rng: np.random.Generator) -> None:
    """Paint the outer half of the bill, dark as the rest or yellow."""
    upper, lower = bill_outlines(anatomy.head, BILL_LENGTH + 1.5 - BILL_TIP_LENGTH)
    colour = YELLOW if value == "yellow" else look.bill
    sheet.paint(cover([upper, lower], sheet.size_hw), colour, mark="bill_tip")
    sheet.paint(cover([lower], sheet.size_hw), shade(colour, 0.86))


Painter = Callable[[Sheet, Anatomy, Look, str, np.random.Generator], None]
PAINTERS: dict[str, Painter] = {
    "eye_ring": paint_eye_ring,
    "wing_bars": paint_wing_bars,
    "throat": paint_throat,
    "crest": paint_crest,
    "tail": paint_tail,
    "legs": paint_legs,
    "bill_tip": paint_bill_tip,
    "eyebrow": paint_eyebrow,
    "rump": paint_rump,
    "cap": paint_cap,
}
