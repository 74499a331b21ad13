"""Augmented views of a picture, decided by seed, view and content alone.

Geometry first (which part, mirrored, turned), then colour, blur and noise, then a rectangle erased.
"""

from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from fieldmark import pictures
from fieldmark.types import Picture, Preprocess
from fieldmark.workshop.recipe import AugmentRecipe

PLAIN = 0
LEAST_SCALED = 128  # smaller inputs have views of their own size
SIDE_STEP = 32
ASPECT = (3 / 4, 4 / 3)
ERASED_AREA = (0.02, 0.2)
NOISE = 12.0  # largest standard deviation, of 255
BLUR = (0.3, 1.5)  # radius, pixels
RAND_OPS, RAND_STRENGTH = 2, 0.3


def view(data: bytes, digest: bytes, number: int, seed: int, preprocess: Preprocess, recipe: AugmentRecipe) -> Picture:
    """View `number` of a picture's bytes as uint8 [H, W, 3]; view 0 is the picture as it is at prediction.

    Others are a random resized crop (Szegedy et al. 2015) and what the recipe asks for.
    """
    if number == PLAIN:
        return pictures.load(data, preprocess)
    rng = np.random.default_rng([seed, number, int.from_bytes(digest[:8], "little")])
    image = pictures.decode(data, preprocess.size_wh)
    picture = pictures.resize(image, preprocess, random_crop(image.size, rng, recipe.crop))
    if recipe.flip and rng.random() < 0.5:
        picture = picture[:, ::-1]
    if recipe.flip_vertical and rng.random() < 0.5:
        picture = picture[::-1]
    return np.ascontiguousarray(_change(picture, rng, recipe))


def view_side(side: int, recipe: AugmentRecipe, done: float) -> int:
    """The side of views, in pixels, for an input of `side`, when so much of the training (0..1) is done."""
    first = recipe.size or 1.0
    share = first + ((recipe.size_end or first) - first) * done
    return side if side < LEAST_SCALED else min(side, max(SIDE_STEP, SIDE_STEP * round(share * side / SIDE_STEP)))


def random_crop(
    size_wh: tuple[int, int], rng: np.random.Generator, least_area: float
) -> tuple[float, float, float, float]:
    """A box (xyxy, pixels) of random area, aspect ratio and place inside a picture of this size."""
    width, height = size_wh
    area = rng.uniform(least_area, 1.0) * width * height
    aspect = width / height * np.exp(rng.uniform(*np.log(ASPECT)))
    w, h = min(width, (area * aspect) ** 0.5), min(height, (area / aspect) ** 0.5)
    left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
    return float(left), float(top), float(left + w), float(top + h)


def _change(picture: Picture, rng: np.random.Generator, recipe: AugmentRecipe) -> Picture:
    """The resized picture turned, coloured, blurred, made noisy and partly erased as the recipe asks for."""
    if recipe.rotate or recipe.colour or recipe.blur or recipe.policy != "none":
        image = Image.fromarray(np.ascontiguousarray(picture))
        if recipe.rotate:
            image = _turn(image, rng.uniform(-recipe.rotate, recipe.rotate))
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
