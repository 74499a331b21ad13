"""Augmented views of a picture: which part, mirrored or not, decided by seed, view and content alone."""

import numpy as np
from PIL import Image

from fieldmark import pictures
from fieldmark.types import Picture, Preprocess
from fieldmark.workshop.recipe import AugmentRecipe

PLAIN = 0
ASPECT = (3 / 4, 4 / 3)


def view(data: bytes, digest: bytes, number: int, seed: int, preprocess: Preprocess, recipe: AugmentRecipe) -> Picture:
    """View `number` of a picture's bytes as uint8 [H, W, 3]; view 0 is the picture as it is at prediction.

    Others are a random resized crop (Szegedy et al. 2015), mirrored half of the time.
    """
    if number == PLAIN:
        return pictures.load(data, preprocess)
    rng = np.random.default_rng([seed, number, int.from_bytes(digest[:8], "little")])
    image = pictures.decode(data, preprocess.size_wh)
    picture = pictures.resize(image, preprocess, random_crop(image.size, rng, recipe.crop))
    if recipe.flip and rng.random() < 0.5:
        picture = np.ascontiguousarray(np.asarray(Image.fromarray(picture).transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
    return picture


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
