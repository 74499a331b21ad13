"""The shape of the bird, the same for all species: frames, outlines and feathers, facing right, y down.

Units: the head is about 46 units across. Body frame: the body's axis is x, its middle the origin.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .brush import Frame, Points, smooth, spline
from .pose import Pose

HEAD_AT = (49.0, -27.0)
TAIL_AT = (-57.0, -1.0)
SHOULDER, WING_TIP = np.array([31.0, -9.0]), np.array([-63.0, 10.0])
EYE_AT, EYE_RADIUS = (7.5, -4.5), 5.0
BILL_LENGTH, BILL_TIP_LENGTH = 24.0, 15.4
TAIL_LENGTH = 60.0
TAIL_TIP_LENGTH = 19.0

_BACK = ((23, -32), (1, -35), (-26, -28), (-49, -15), (-60, -7))
_BELOW = ((-58, 7), (-46, 18), (-24, 31), (4, 37), (31, 31), (48, 14))
_CROWN = ((21, -3.5), (19.5, -10), (13, -18), (1, -23), (-11.5, -20.5), (-18.5, -13))
_CHIN = ((14, 19), (19.5, 9), (21.5, 4.5))
LOWER_BACK = ((-33, -27), (-43, -22), (-58, -9), (-55, -1), (-44, -7), (-36, -15))


@dataclass(frozen=True)
class Anatomy:
    """The frames of one posed bird, in pixels, and the outline of its head and body."""

    root: Frame
    body: Frame
    head: Frame
    wing: Frame  # x from the shoulder to the wing's tip, y towards the belly
    tail: Frame  # x from the base to the tip of the tail, y towards the belly's side
    outline: Points
    feet: Points  # [2, 2]
    hips: Points  # [2, 2]
    perch: Frame  # x along the perch, origin below the bird

    def moved(self, by: tuple[float, float]) -> Anatomy:
        """Return the same bird elsewhere, moved by pixels x, y."""
        root, body, head, wing, tail, perch = (
            frame.moved(by) for frame in (self.root, self.body, self.head, self.wing, self.tail, self.perch)
        )
        return Anatomy(root, body, head, wing, tail, self.outline + by, self.feet + by, self.hips + by, perch)


def posed(pose: Pose, pixels_per_unit: float) -> Anatomy:
    """Return the bird's frames for a pose, with the body's middle at pixel 0, 0."""
    size = pixels_per_unit * pose.scale
    root = Frame(np.diag([size * pose.facing, size]), np.zeros(2))
    body = root.sub((0, 0), pose.lean)
    # An upright bird draws its head in: without this its neck would grow thin.
    neck = (HEAD_AT[0] + 0.12 * pose.lean + pose.head_shift[0], HEAD_AT[1] + 0.3 * pose.lean + pose.head_shift[1])
    head_at = _within(root, body(neck))
    head = root.sub(head_at, pose.head_tilt, (pose.head_turn, 1.0))
    axis = WING_TIP - SHOULDER
    wing = Frame(body.matrix @ _basis(axis), body(SHOULDER))
    tail_turn = body.sub(TAIL_AT, -pose.tail_angle)
    tail = Frame(tail_turn.matrix @ np.diag([-1.0, 1.0]), tail_turn.origin)
    outline = _outline(body, head, pose.plump)
    feet, hips, perch = _stance(root, body, outline, pose)
    return Anatomy(root, body, head, wing, tail, outline, feet, hips, perch)


def _within(frame: Frame, pixels: Points) -> Points:
    return np.asarray(np.linalg.solve(frame.matrix, pixels - frame.origin))


def _basis(axis: Points) -> Points:
    along = axis / np.hypot(*axis)
    return np.stack([along, [along[1], -along[0]]], axis=1)


def _outline(body: Frame, head: Frame, plump: float) -> Points:
    below = np.asarray(_BELOW, dtype=np.float64) * (1, plump)
    nape = 0.52 * head((-19.5, -10)) + 0.48 * body((26, -31)) + 0.06 * (head((-40, -20)) - head((0, 0)))
    return spline(np.concatenate([head(_CROWN), nape[None], body(_BACK), body(below), head(_CHIN)]), per=7)


def _stance(root: Frame, body: Frame, outline: Points, pose: Pose) -> tuple[Points, Points, Frame]:
    local = np.asarray((outline - root.origin) @ np.linalg.inv(root.matrix).T)
    middle = float(_within(root, body((-5, 26)))[0]) + pose.leg_shift
    xs = np.array([middle - pose.leg_spread / 2, middle + pose.leg_spread / 2])
    bottom = max(float(local[np.abs(local[:, 0] - x) < 7, 1].max()) for x in xs)
    slope = -np.tan(np.deg2rad(pose.perch_slope))
    ground = bottom + pose.leg_length + (xs - middle) * slope
    feet = root(np.stack([xs + 3.0, ground], axis=1))
    hips = root(np.stack([xs * 0.8 + middle * 0.2 - 3, np.full(2, bottom - 10)], axis=1))
    return feet, hips, root.sub((middle, bottom + pose.leg_length), pose.perch_slope)


_FEATHER_T = np.array([0.0, 0.25, 0.55, 0.8, 0.93, 0.99])


@lru_cache(maxsize=256)
def feather(base: tuple[float, float], tip: tuple[float, float], width: float, blunt: float = 0.5) -> Points:
    """Return the outline [12, 2] of a feather; `blunt` from 0 (pointed) to 1 (square). Do not write into it."""
    start, end = np.asarray(base, dtype=np.float64), np.asarray(tip, dtype=np.float64)
    along = end - start
    side = np.array([-along[1], along[0]]) / np.hypot(*along) * width / 2
    half = np.array([0.55, 0.85, 1.0, 0.92, 0.4 + 0.45 * blunt, 0.05 + 0.6 * blunt])
    shaft, vane = start + _FEATHER_T[:, None] * along, half[:, None] * side
    return np.concatenate([shaft + vane, (shaft - vane)[::-1]])


def wing_outline() -> Points:
    """Return the folded wing's outline in its own frame."""
    return smooth(
        ((-4, 2), (2, -11), (22, -16), (52, -13.5), (78, -7), (97, -2), (80, 8), (50, 17), (22, 18), (3, 12)), 6
    )


@lru_cache(maxsize=1)
def covert_rows() -> dict[str, list[tuple[tuple[float, float], tuple[float, float], float]]]:
    """Return the feathers whose tips make the wing bars: base, tip and width, in the wing's frame."""
    rows = {}
    for name, reach, length, lows in (("greater", 45.0, 24.0, (-11.0, 14.5)), ("median", 28.3, 16.0, (-11.0, 13.0))):
        ys = np.linspace(*lows, 7 if name == "greater" else 6)
        rows[name] = [
            ((reach - length - 0.02 * y * y, float(y) * 0.92), (reach - 0.028 * float(y) ** 2, float(y)), 6.2)
            for y in ys
        ]
    return rows


TAIL_FEATHERS: tuple[tuple[tuple[float, float], tuple[float, float]], ...] = tuple(  # base and tip, outer ones first
    ((-6.0, spread * 4.5), (TAIL_LENGTH + 8, spread * 9.8)) for spread in (-1.0, 1.0, -0.6, 0.6, -0.2, 0.2)
)
# Only the end differs, so the feathers are drawn too long and cut: x past which nothing is left, by y.
_TAIL_ENDS: dict[str, tuple[tuple[float, float], ...]] = {
    "square": ((58.5, -16), (59.5, -11), (59, -7.5), (60, -4), (59.6, 0), (60, 4), (59, 7.5), (59.5, 11), (58.5, 16)),
    "notched": (
        (62, -16),
        (63, -11.5),
        (59, -6.5),
        (57, -6),
        (53, -2.5),
        (50, 0),
        (53, 2.5),
        (57, 6),
        (59, 6.5),
        (63, 11.5),
        (62, 16),
    ),
}


def tail_outline(end: str) -> Points:
    """Return what is left of the tail's feathers, square or notched, in the tail's frame."""
    return np.array([(-30.0, 16.0), (-30.0, -16.0), *_TAIL_ENDS[end]])


def extent(anatomy: Anatomy) -> Points:
    """Return points that span the whole bird, with room for every species' marks."""
    head = anatomy.head([(20 + BILL_LENGTH, 3), (-30, -40), (10, -30)])
    tail = anatomy.tail([(TAIL_LENGTH + 4, -15), (TAIL_LENGTH + 4, 15)])
    feet = np.concatenate([anatomy.feet + np.array([dx, dy]) for dx in (-12, 12) for dy in (0, 8)])
    return np.concatenate([anatomy.outline, head, tail, feet])
