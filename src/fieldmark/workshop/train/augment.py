"""Augmented views of a picture, decided by seed, view and content alone.

Geometry first (which part, mirrored, turned), then colour, blur and noise, then a rectangle erased. The geometry can
be asked for alone, so that what is known of places in the picture goes with its pixels.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from fieldmark import geometry, pictures
from fieldmark.geometry import Box, Geometry
from fieldmark.types import Picture, Preprocess
from fieldmark.workshop.recipe import AugmentRecipe

Place = tuple[float, float]  # x, y, in shares of what is seen at prediction
PLAIN = 0
LEAST_SCALED = 128  # smaller inputs have views of their own size
SIDE_STEP = 32
ASPECT = (3 / 4, 4 / 3)
GUIDED = 0.5  # of the views around a place, where the recipe leaves it open
CLOSE = (0.4, 0.8)  # of the picture's sides: what a view around a place is a crop of (docs/experiments.md)
LARGEST_WINDOW = 1.5  # area, of the padded picture: things look smaller there than at prediction as well as larger
ERASED_AREA = (0.02, 0.2)
NOISE = 12.0  # largest standard deviation, of 255
BLUR = (0.3, 1.5)  # radius, pixels
RAND_OPS, RAND_STRENGTH = 2, 0.3


def view(
    data: bytes,
    digest: bytes,
    number: int,
    seed: int,
    preprocess: Preprocess,
    recipe: AugmentRecipe,
    around: Place | None = None,
) -> Picture:
    """View `number` of a picture's bytes as uint8 [H, W, 3]; view 0 is the picture as it is at prediction.

    Others are a random resized crop (Szegedy et al. 2015) and what the recipe asks for; `recipe.guided` of those of a
    picture with a place `around` show its surroundings (attention cropping, Hu et al. 2019), unless it is padded or
    seen in parts.
    """
    if number == PLAIN:
        return pictures.load(data, preprocess)
    rng = _generator(digest, number, seed)
    image = pictures.decode(data, None if preprocess.tile else preprocess.size_wh)
    box, mirrored, upside_down, degrees = _draw(image.size, rng, preprocess, recipe, around)
    beyond = preprocess.fit == "pad" or preprocess.tiles(image.size)
    picture = (pictures.resize_window if beyond else pictures.resize)(image, preprocess, box)
    if mirrored:
        picture = picture[:, ::-1]
    if upside_down:
        picture = picture[::-1]
    picture = np.ascontiguousarray(picture)
    if degrees is not None:
        picture = np.asarray(_turn(Image.fromarray(picture), degrees))
    return np.ascontiguousarray(_change(picture, rng, recipe))


def view_geometry(
    size_wh: tuple[int, int], digest: bytes, number: int, seed: int, preprocess: Preprocess, recipe: AugmentRecipe
) -> Geometry:
    """Where view `number` shows the pixels of an upright picture of this size. The operations of `recipe.policy`, of
    which some move pixels, are not in it."""
    if number == PLAIN:
        return geometry.plain(size_wh, preprocess)
    box, mirrored, upside_down, degrees = _draw(size_wh, _generator(digest, number, seed), preprocess, recipe)
    view_wh = preprocess.size_wh
    found = Geometry.of_box(size_wh, view_wh, box)
    found = found.then(geometry.mirrored(view_wh)) if mirrored else found
    found = found.then(geometry.upside_down(view_wh)) if upside_down else found
    return found if degrees is None else found.then(geometry.turned(view_wh, degrees))


class _Drawn(NamedTuple):
    """The part of the picture that a view shows, in its pixels, and what is done with it."""

    box: Box
    mirrored: bool
    upside_down: bool
    degrees: float | None


def _generator(digest: bytes, number: int, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, number, int.from_bytes(digest[:8], "little")])


def _draw(
    size_wh: tuple[int, int],
    rng: np.random.Generator,
    preprocess: Preprocess,
    recipe: AugmentRecipe,
    around: Place | None = None,
) -> _Drawn:
    if preprocess.tiles(size_wh):
        box = random_tile(size_wh, preprocess.tile, rng, recipe.crop)
    elif preprocess.fit == "pad":
        box = random_window(size_wh, preprocess, rng, recipe.crop)
    elif around is not None and rng.random() < (recipe.guided if recipe.guided >= 0 else GUIDED):
        left, top, right, bottom = geometry.seen_box(size_wh, preprocess)
        centre = left + around[0] * (right - left), top + around[1] * (bottom - top)
        box = close_crop(size_wh, centre, rng, recipe.crop)
    else:
        box = random_crop(size_wh, rng, recipe.crop)
    mirrored = recipe.flip and rng.random() < 0.5
    upside_down = recipe.flip_vertical and rng.random() < 0.5
    degrees = float(rng.uniform(-recipe.rotate, recipe.rotate)) if recipe.rotate else None
    return _Drawn(box, mirrored, upside_down, degrees)


def view_side(side: int, recipe: AugmentRecipe, done: float) -> int:
    """The side of views, in pixels, for an input of `side`, when so much of the training (0..1) is done."""
    first = recipe.size or 1.0
    share = first + ((recipe.size_end or first) - first) * done
    return side if side < LEAST_SCALED else min(side, max(SIDE_STEP, SIDE_STEP * round(share * side / SIDE_STEP)))


def random_crop(
    size_wh: tuple[float, float], rng: np.random.Generator, least_area: float
) -> tuple[float, float, float, float]:
    """A box (xyxy, pixels) of random area, aspect ratio and place inside a picture of this size."""
    width, height = size_wh
    area = rng.uniform(least_area, 1.0) * width * height
    aspect = width / height * np.exp(rng.uniform(*np.log(ASPECT)))
    w, h = min(width, (area * aspect) ** 0.5), min(height, (area / aspect) ** 0.5)
    left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
    return float(left), float(top), float(left + w), float(top + h)


def close_crop(
    size_wh: tuple[int, int], centre: tuple[float, float], rng: np.random.Generator, least_area: float
) -> Box:
    """A random crop (xyxy, pixels) of a part of the picture, `CLOSE` of its sides, with `centre` (x, y, pixels) in the
    middle of that part or, near an edge, in it."""
    share = float(rng.uniform(*CLOSE))
    part = share * size_wh[0], share * size_wh[1]
    x, y = (min(max(c - p / 2, 0.0), s - p) for c, p, s in zip(centre, part, size_wh, strict=True))
    left, top, right, bottom = random_crop(part, rng, least_area)
    return x + left, y + top, x + right, y + bottom


def random_tile(size_wh: tuple[int, int], tile: int, rng: np.random.Generator, least_area: float) -> Box:
    """A square box (xyxy, pixels) of a random part of a tile's area, anywhere in the picture; where the picture is
    narrower, all across it."""
    side = tile * float(rng.uniform(least_area, 1.0)) ** 0.5
    left, top = (float(rng.uniform(0, s - side)) if s > side else (s - side) / 2 for s in size_wh)
    return left, top, left + side, top + side


def random_window(size_wh: tuple[int, int], preprocess: Preprocess, rng: np.random.Generator, least_area: float) -> Box:
    """A box (xyxy, pixels) of random area, from `least_area` of the padded picture to more than all of it, and place,
    in nearly the shape of the view: as a padded picture is not stretched, its views are but a little. Where it is wider
    or higher than the picture it holds all of it."""
    whole = np.array(geometry.seen_box(size_wh, preprocess))
    stretch = float(np.exp(rng.uniform(*np.log(ASPECT)) / 2))
    area = float(np.exp(rng.uniform(np.log(least_area), np.log(LARGEST_WINDOW)) / 2))
    sides = area * (whole[2:] - whole[:2]) * (stretch, 1 / stretch)
    spare = np.array(size_wh) - sides
    left, top = (float(rng.uniform(min(0.0, s), max(0.0, s))) for s in spare)
    return left, top, left + float(sides[0]), top + float(sides[1])


def _change(picture: Picture, rng: np.random.Generator, recipe: AugmentRecipe) -> Picture:
    """The view coloured, blurred, made noisy and partly erased as the recipe asks for."""
    if recipe.colour or recipe.blur or recipe.policy != "none":
        image = Image.fromarray(np.ascontiguousarray(picture))
        if recipe.colour:
            for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
                image = enhance(image).enhance(float(rng.uniform(1 - recipe.colour, 1 + recipe.colour)))
        image = _policy(image, rng, recipe.policy)
        if rng.random() < recipe.blur:
            image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(*BLUR))))
        picture = np.asarray(image)
    if rng.random() < recipe.noise:
        noisy = picture + rng.normal(0, rng.uniform(0, NOISE), picture.shape)
        picture = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    if rng.random() < recipe.erase:
        picture = _erase(picture, rng)
    return picture


def _turn(image: Image.Image, degrees: float) -> Image.Image:
    return image.rotate(float(degrees), Image.Resampling.BILINEAR, fillcolor=pictures.GREY)


def _erase(picture: Picture, rng: np.random.Generator) -> Picture:
    """A rectangle of noise (random erasing, Zhong et al. 2020)."""
    height, width = picture.shape[:2]
    left, top, right, bottom = (int(v) for v in random_crop((width, height), rng, 0.0))
    shrink = np.sqrt(rng.uniform(*ERASED_AREA))
    w, h = max(1, int((right - left) * shrink)), max(1, int((bottom - top) * shrink))
    erased = np.array(picture)
    erased[top : top + h, left : left + w] = rng.integers(0, 256, (*erased[top : top + h, left : left + w].shape,))
    return erased


def _affine(image: Image.Image, *six: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, six, Image.Resampling.BILINEAR, fillcolor=pictures.GREY)


# The operations of TrivialAugment and RandAugment; a strength is in -1..1.
OPERATIONS: Mapping[str, Callable[[Image.Image, float], Image.Image]] = {
    "identity": lambda image, s: image,
    "shear x": lambda image, s: _affine(image, 1, 0.5 * s, -0.25 * s * image.height, 0, 1, 0),
    "shear y": lambda image, s: _affine(image, 1, 0, 0, 0.5 * s, 1, -0.25 * s * image.width),
    "shift x": lambda image, s: _affine(image, 1, 0, 0.2 * s * image.width, 0, 1, 0),
    "shift y": lambda image, s: _affine(image, 1, 0, 0, 0, 1, 0.2 * s * image.height),
    "turn": lambda image, s: _turn(image, 45 * s),
    "brightness": lambda image, s: ImageEnhance.Brightness(image).enhance(1 + 0.8 * s),
    "colour": lambda image, s: ImageEnhance.Color(image).enhance(1 + 0.9 * s),
    "contrast": lambda image, s: ImageEnhance.Contrast(image).enhance(1 + 0.8 * s),
    "sharpness": lambda image, s: ImageEnhance.Sharpness(image).enhance(1 + 0.9 * s),
    "posterise": lambda image, s: ImageOps.posterize(image, 8 - round(5 * abs(s))),
    "solarise": lambda image, s: ImageOps.solarize(image, 255 - round(200 * abs(s))),
    "autocontrast": lambda image, s: ImageOps.autocontrast(image),
    "equalise": lambda image, s: ImageOps.equalize(image),
}


def _policy(image: Image.Image, rng: np.random.Generator, policy: str) -> Image.Image:
    """TrivialAugment (Mueller and Hutter 2021): one operation of any strength; RandAugment (Cubuk et al. 2020): two of
    a moderate one."""
    names = list(OPERATIONS)
    if policy == "trivial":
        return OPERATIONS[names[rng.integers(len(names))]](image, float(rng.uniform(-1, 1)))
    if policy == "rand":
        for _ in range(RAND_OPS):
            image = OPERATIONS[names[rng.integers(len(names))]](image, float(rng.choice((-1, 1)) * RAND_STRENGTH))
    return image
