"""One picture of the field guide: the bird in its scene, its mask and the boxes of its marks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .anatomy import Anatomy, extent, posed
from .backdrop import noise, paint_backdrop
from .bird import paint_bird
from .brush import Grey, Pixels
from .perch import paint_perch
from .pose import Light, Pose, dice, sample_light, sample_look, sample_pose
from .species import Species, telling_marks

SIZE = 384
SMALLEST = 128
_GRAIN_ROOM = 128
_MARGIN = 12  # pixels between bird and border, at `SIZE`

BoxXyxy = tuple[int, int, int, int]


@dataclass(frozen=True)
class Rendered:
    """One picture with everything that is known of it; boxes are in pixels, right and lower edge excluded."""

    picture: NDArray[np.uint8]  # [H, W, 3]
    mask: NDArray[np.bool_]  # [H, W], the bird
    box_xyxy: BoxXyxy
    marks: dict[str, BoxXyxy]  # every visible mark, by kind
    telling: frozenset[str]  # those that tell the species from its nearest twins


def render_picture(species: Species, seed: int, index: int, size: int = SIZE) -> Rendered:
    """Draw picture number `index`; the same seed and index give the same scene for every species."""
    if size < SMALLEST:
        raise ValueError(f"the smallest picture is {SMALLEST} pixels wide, not {size}: its marks would vanish")
    roll = partial(dice, seed, index)
    pose, look, light = sample_pose(roll("pose")), sample_look(roll("look")), sample_light(roll("light"))
    anatomy, (x0, y0, x1, y1) = _placed(pose, size, roll("place"))
    pixels = paint_backdrop(roll("backdrop"), size)
    paint_perch(pixels, anatomy.perch, light, roll("perch"))
    sheet = paint_bird(species, anatomy.moved((-x0, -y0)), look, light, (y1 - y0, x1 - x0), roll)
    target = pixels[:, y0:y1, x0:x1]
    target *= 1 - sheet.alpha
    target += sheet.pixels
    mask = np.zeros((size, size), np.bool_)
    mask[y0:y1, x0:x1] = sheet.alpha > 0.5
    marks = {kind: _shifted(_box(seen > 0.5), x0, y0) for kind, seen in sheet.marks.items()}
    return Rendered(lit(pixels, light, roll("grain")), mask, _box(mask), marks, telling_marks(species))


def _placed(pose: Pose, size: int, rng: np.random.Generator) -> tuple[Anatomy, BoxXyxy]:
    """Return the posed bird somewhere in the picture, all of it inside, and a window that holds it."""
    scale = size / SIZE
    anatomy = posed(pose, scale)
    reach = extent(anatomy)
    margin = _MARGIN * scale
    low, high = reach.min(axis=0) - margin, reach.max(axis=0) + margin
    share = 0.5 + 0.5 * rng.uniform(-0.85, 0.85, 2)
    # Whole pixels, so that the bird's own sheet lies exactly on the picture's pixels.
    centre = np.round(-low + (size - high + low) * share)
    x0, y0 = np.maximum(np.floor(centre + low), 0).astype(int).tolist()
    x1, y1 = np.minimum(np.ceil(centre + high), size).astype(int).tolist()
    return anatomy.moved((float(centre[0]), float(centre[1]))), (x0, y0, x1, y1)


def _box(mask: NDArray[np.bool_]) -> BoxXyxy:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _shifted(box: BoxXyxy, dx: int, dy: int) -> BoxXyxy:
    return box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy


@lru_cache(maxsize=4)
def _radius_squared(size: int) -> Grey:
    """Return the squared distance [size, size] from the middle; 1 at the middle of a side."""
    across = np.linspace(-1, 1, size, dtype=np.float32)
    return np.asarray(across[:, None] ** 2 + across[None, :] ** 2, dtype=np.float32)


@lru_cache(maxsize=4)
def _grain(size: int) -> Grey:
    """Return film grain for all pictures, which each take their own window of it."""
    side = size + _GRAIN_ROOM
    return np.random.default_rng(0).standard_normal((side, side), dtype=np.float32) * np.float32(1.8)


def _enlarged(grey: Grey, size: int) -> Grey:
    return np.asarray(Image.fromarray(grey).resize((size, size), Image.Resampling.BILINEAR))


def lit(pixels: Pixels, light: Light, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the picture under its light: leaf shadows, vignette, colour temperature, contrast and grain."""
    size = pixels.shape[1]
    field = 1 - np.float32(light.vignette * 0.5) * _radius_squared(size)
    if light.dapple > 0:
        field *= 1 - np.float32(light.dapple) * _enlarged(np.clip(noise(rng, 5, 48), 0, 1), size)
    field *= light.exposure
    field *= light.contrast
    x, y = rng.integers(0, _GRAIN_ROOM, 2)
    lift = _grain(size)[y : y + size, x : x + size] + np.float32(118 * (1 - light.contrast))
    result = np.empty((size, size, 3), np.uint8)
    for plane, gain in enumerate(light.gains):
        level = pixels[plane] * (field * np.float32(gain))
        level += lift
        result[..., plane] = np.clip(level, 0, 255, out=level)
    return result
