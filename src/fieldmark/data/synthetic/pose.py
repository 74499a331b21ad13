"""What varies from picture to picture and never with the species: pose, plumage colours and light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .brush import Colour, mix, shade

PARTS: tuple[str, ...] = (
    "pose", "look", "light", "backdrop", "perch", "plumage", "wing", "place", "grain",
    "eye_ring", "wing_bars", "throat", "crest", "tail", "legs", "bill_tip", "eyebrow", "rump", "cap",
)  # fmt: skip


def dice(seed: int, index: int, part: str) -> np.random.Generator:
    """Return the random numbers of one part of one picture, so that no part disturbs another."""
    return np.random.default_rng([seed, index, PARTS.index(part)])


@dataclass(frozen=True)
class Pose:
    """How the bird sits: angles in degrees, lengths in units of a bird whose head is 46 units across."""

    facing: int  # 1 right, -1 left
    scale: float
    lean: float
    head_tilt: float
    head_turn: float  # 1 is a pure profile; less is foreshortened
    head_shift: tuple[float, float]
    tail_angle: float
    leg_length: float
    leg_spread: float
    leg_shift: float
    perch_slope: float
    plump: float


def sample_pose(rng: np.random.Generator) -> Pose:
    """Draw a pose."""
    return Pose(
        facing=1 if rng.random() < 0.5 else -1,
        scale=rng.uniform(0.93, 1.1),
        lean=rng.uniform(6, 44),
        head_tilt=rng.uniform(-14, 18),
        head_turn=rng.uniform(0.93, 1.0),
        head_shift=(rng.uniform(-3, 4), rng.uniform(-4, 4)),
        tail_angle=rng.uniform(-16, 20),
        leg_length=rng.uniform(15, 20),
        leg_spread=rng.uniform(10, 15),
        leg_shift=rng.uniform(-6, 6),
        perch_slope=rng.uniform(-9, 9),
        plump=rng.uniform(0.92, 1.08),
    )


@dataclass(frozen=True)
class Look:
    """Colours of one bird; every species draws them from the same distribution."""

    back: Colour
    wing: Colour
    breast: Colour
    belly: Colour
    edge: Colour  # pale feather edges
    flank: Colour
    iris: Colour
    bill: Colour
    streaks: float
    flank_wash: float
    mark_tone: float  # how bright the marks of this bird are


PLUMAGES: tuple[tuple[Colour, Colour, Colour, Colour], ...] = (  # back, wing, breast, belly
    ((118, 118, 78), (78, 76, 58), (196, 182, 124), (230, 222, 190)),
    ((122, 127, 128), (76, 79, 84), (180, 181, 176), (231, 229, 221)),
    ((131, 107, 80), (86, 68, 52), (196, 171, 134), (233, 221, 198)),
    ((98, 115, 132), (62, 73, 88), (176, 183, 184), (230, 230, 223)),
    ((118, 128, 102), (74, 80, 66), (188, 188, 158), (230, 226, 205)),
    ((148, 124, 90), (97, 79, 58), (208, 181, 136), (238, 225, 197)),
    ((122, 109, 110), (80, 69, 70), (190, 174, 164), (232, 222, 212)),
    ((96, 120, 110), (62, 76, 72), (180, 186, 164), (229, 229, 212)),
)
_FLANKS: tuple[Colour, ...] = ((198, 158, 108), (176, 168, 112), (160, 158, 154), (204, 170, 140))


def sample_look(rng: np.random.Generator) -> Look:
    """Draw the colours of one bird: a mixture of two plumages, a little lighter or darker."""
    first, second = rng.choice(len(PLUMAGES), 2, replace=False)
    share, tone = rng.uniform(0, 0.5), rng.uniform(0.93, 1.07)
    jitter = rng.normal(0, 3, 3)
    colours = [
        _jittered(shade(mix(one, other, share), tone), jitter)
        for one, other in zip(PLUMAGES[first], PLUMAGES[second], strict=True)
    ]
    return Look(
        back=colours[0],
        wing=colours[1],
        breast=colours[2],
        belly=colours[3],
        edge=mix(colours[1], colours[2], rng.uniform(0.4, 0.65)),
        flank=_FLANKS[int(rng.integers(len(_FLANKS)))],
        iris=mix((58, 34, 20), (96, 56, 26), rng.random()),
        bill=mix((58, 54, 54), (84, 72, 60), rng.random()),
        streaks=max(0.0, rng.uniform(-0.5, 0.6)),
        flank_wash=rng.uniform(0.1, 0.75),
        mark_tone=rng.uniform(0.88, 1.0),
    )


def plumage(colours: tuple[Colour, Colour, Colour, Colour], streaks: float, flank_wash: float) -> Look:
    """Return a fixed look in four colours: back, wing, breast and belly."""
    edge = mix(colours[1], colours[2], 0.55)
    return Look(*colours, edge, _FLANKS[0], (78, 46, 24), (66, 58, 54), streaks, flank_wash, 1.0)


def _jittered(colour: Colour, jitter: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Colour:
    return colour[0] + float(jitter[0]), colour[1] + float(jitter[1]), colour[2] + float(jitter[2])


@dataclass(frozen=True)
class Light:
    """How the picture is lit."""

    direction: tuple[float, float]  # towards the light, x and y on screen
    gains: Colour  # of red, green, blue
    exposure: float
    contrast: float
    hardness: float  # of the shading of the body
    dapple: float  # of the soft shadows of leaves
    vignette: float


def sample_light(rng: np.random.Generator) -> Light:
    """Draw the light, from cool shade to a warm evening."""
    angle, warmth = rng.uniform(-65, 65), rng.uniform(-1, 1)
    return Light(
        direction=(float(np.sin(np.deg2rad(angle))), -float(np.cos(np.deg2rad(angle)))),
        gains=(1 + 0.075 * warmth, 1 + 0.012 * warmth, 1 - 0.095 * warmth),
        exposure=rng.uniform(0.78, 1.12),
        contrast=rng.uniform(0.82, 1.14),
        hardness=rng.uniform(0.6, 1.1),
        dapple=max(0.0, rng.uniform(-0.15, 0.3)),
        vignette=rng.uniform(0.1, 0.34),
    )
