"""What a mask says of every pixel: class numbers of the upright picture. Letters in shapes: H and W pixels."""

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fieldmark.errors import DataError, MissingExtraError, PictureError, first_line
from fieldmark.pictures import FORMATS, MAX_PIXELS, read_bytes
from fieldmark.types import Mask, MaskFile, Outlines, Region, Sample

from .frame import read_frame, turn_upright
from .index import distinct

BACKGROUND = "background"
FOREGROUND = "foreground"  # what a binary mask marks when nothing names it
IGNORE = 255  # pixels that count neither in training nor in scores
UNKNOWN = 254  # pixels of a class that the recogniser does not have: never right
MAX_CLASSES = UNKNOWN
MAX_OUTLINE = 5_000_000  # pixels of length: drawing takes memory for each
MAX_DRAWN = 2_000_000_000  # pixels of all regions of a picture, some seconds: those around each, and
LENGTH_COST = 40  # as many for one of length
Numbers = NDArray[np.uint8]


def load_mask(sample: Sample, classes: Sequence[str]) -> Numbers:
    """The class number of every pixel [H, W] of the upright picture: its place in `classes`, IGNORE or UNKNOWN.

    Raises PictureError when the picture has no mask, or one that cannot be used.
    """
    if sample.mask is None:
        raise PictureError("it is not known what is where in it: there is no mask")
    frame = read_frame(sample.path)
    if isinstance(sample.mask, Outlines) and not sample.mask.regions:
        values: Numbers = np.zeros(frame.size_wh[::-1], np.uint8)
    else:
        values = turn_upright(mask_values(sample.mask), frame)
    number = {name: i for i, name in enumerate(classes)}
    table = np.full(256, IGNORE, np.uint8)
    names = mask_names(sample.mask)
    table[: len(names)] = [number.get(name, UNKNOWN) for name in names]
    return table[values]


def mask_names(mask: Mask) -> tuple[str, ...]:
    """The classes that the values of a mask stand for, from 0."""
    if isinstance(mask, MaskFile):
        return mask.names
    return (BACKGROUND, *sorted({region.label for region in mask.regions} - {BACKGROUND}))


def mask_classes(samples: Sequence[Sample]) -> tuple[str, ...]:
    """The classes of these samples' masks: the background first, then by name.

    The class of a binary file counts once a pixel of it is found: pictures of sound parts, named so in the table, have
    masks without any. Raises DataError when there are too many, or two that differ only in case.
    """
    names: set[str] = set()
    for mask in (s.mask for s in samples if s.mask is not None):
        said = mask_names(mask)
        if not (isinstance(mask, MaskFile) and mask.binary):
            names.update(said)
        elif said[1] not in names:
            names.update(said if _has_any(mask) else said[:1])
    found = distinct(names)
    if len(found) > MAX_CLASSES:
        raise DataError(f"the masks have {len(found)} classes; at most {MAX_CLASSES} can be told apart")
    return tuple(sorted(found, key=lambda name: name != BACKGROUND))


def _has_any(mask: MaskFile) -> bool:
    try:
        return bool(mask_values(mask).any())
    except PictureError:
        return False  # said by whoever needs this very mask


def mask_values(mask: Mask) -> Numbers:
    """The values [H, W] of a mask as it is written, turned by no EXIF."""
    if isinstance(mask, Outlines):
        return _drawn(mask)
    values = _file_values(mask.path, mask.binary)
    if not mask.binary:
        return np.where((values >= 0) & (values < IGNORE), values, IGNORE).astype(np.uint8)
    top = int(values.max(initial=0))
    if 1 < top < 128:
        raise PictureError(
            f"the mask {mask.path.name} holds values up to {top}, and nothing says what they are: name the classes of "
            "0, 1, ... in classes.txt, one a line"
        )
    return (values > top // 2).astype(np.uint8)


def _file_values(path: Path, binary: bool) -> NDArray[np.integer]:
    """Numbers [H, W] of a mask file: grey values, places in a palette, or colours of the VOC palette."""
    try:
        data = read_bytes(path)
    except PictureError as error:
        raise PictureError(f"the mask {path.name}: {error}") from None
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise PictureError(f"the mask {path.name} has more than {MAX_PIXELS // 1_000_000} million pixels")
            plain = image.mode in ("1", "L", "P") or image.mode.startswith("I")
            values = np.asarray(image if plain else image.convert("L" if binary else "RGB"))
    except PictureError:
        raise
    except Exception as error:
        raise PictureError(f"the mask {path.name} is not a picture in a known format, or broken") from error
    return _from_colours(path, values) if values.ndim == 3 else values.astype(np.int64)


def _from_colours(path: Path, rgb: Numbers) -> NDArray[np.integer]:
    if (rgb == rgb[..., :1]).all() and not np.isin(rgb, [64, 128, 192]).any():
        return rgb[..., 0].astype(np.int64)
    codes = rgb.astype(np.int64) @ [1 << 16, 1 << 8, 1]
    known = palette().astype(np.int64) @ [1 << 16, 1 << 8, 1]
    order = np.argsort(known)
    place = np.searchsorted(known[order], codes).clip(max=255)
    values: NDArray[np.integer] = order[place]
    if (known[values] != codes).any():
        raise PictureError(f"the mask {path.name} has colours beyond the VOC palette; save class numbers, not colours")
    return values


def picture_of(numbers: Numbers) -> Image.Image:
    """Class numbers [H, W] as a picture with the VOC palette."""
    image = Image.frombytes("P", (numbers.shape[1], numbers.shape[0]), np.ascontiguousarray(numbers).tobytes())
    image.putpalette(palette().tobytes())
    return image


@cache
def palette() -> Numbers:
    """The colours [256, 3] of class numbers as Pascal VOC draws them: the bits of a number, dealt out to R, G and B."""
    number = np.arange(256)
    colours = np.zeros((256, 3), np.int64)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (number >> (3 * bit + channel) & 1) << (7 - bit)
    return colours.astype(np.uint8)


def _drawn(outlines: Outlines) -> Numbers:
    width, height = outlines.size_wh
    if width * height > MAX_PIXELS:
        raise PictureError(f"outlines in more than {MAX_PIXELS // 1_000_000} million pixels")
    names = mask_names(outlines)
    if len(names) > MAX_CLASSES:
        raise PictureError(f"it has things of {len(names)} classes; at most {MAX_CLASSES} can be told apart")
    number = {name: i for i, name in enumerate(names)}
    parts = [_Part.of(region, width, height) for region in outlines.regions]
    if sum(part.cost for part in parts) > MAX_DRAWN:
        raise PictureError(f"its {len(parts):,} outlines in {width} x {height} pixels take too long to draw")
    values = np.zeros((height, width), np.uint8, order="F")  # as regions are
    for part in parts:
        if part.width and part.height:
            grid = values[part.top : part.top + part.height, part.left : part.left + part.width]
            np.copyto(grid, number[part.region.label], where=_inside(part.region, part.width, part.height))
    return np.ascontiguousarray(values)


class _Part(NamedTuple):
    """A region within a grid of its own, and where that grid lies in the picture."""

    region: Region
    width: int
    height: int
    left: int = 0
    top: int = 0

    @classmethod
    def of(cls, region: Region, width: int, height: int) -> "_Part":
        """Of polygons the grid around them; run lengths are of the whole picture.

        Points further out than the picture is large are moved in. Grids begin at whole pixels within the picture: what
        is drawn in one is what would be drawn in the whole.
        """
        if region.runs is not None or not region.polygons:
            return cls(region, width, height)
        reach = np.array([width, height], np.float32)
        polygons = [np.clip(p, -reach, 2 * reach) for p in region.polygons]
        points = np.concatenate(polygons)
        low = np.clip(np.floor(points.min(0)) - 1, 0, reach)
        columns, rows = np.maximum(np.clip(np.ceil(points.max(0)) + 1, 0, reach) - low, 0).astype(int).tolist()
        left, top = low.astype(int).tolist()
        return cls(Region(region.label, tuple(p - low for p in polygons)), columns, rows, left, top)

    @property
    def cost(self) -> float:
        return self.width * self.height + LENGTH_COST * sum(map(_length, self.region.polygons))


def _length(polygon: NDArray[np.floating]) -> float:
    """Pixels of an outline, each counted once."""
    return float(np.abs(polygon - np.roll(polygon, 1, 0)).max(1).sum())


def _inside(region: Region, width: int, height: int) -> NDArray[np.bool_]:
    """Which pixels [H, W] belong to a region, drawn as COCO's own tools do."""
    try:
        from faster_coco_eval.core import mask as coco
    except ImportError:
        raise MissingExtraError("drawing outlines", "detect") from None
    try:
        if isinstance(region.runs, str):
            runs = {"size": [height, width], "counts": region.runs}
        elif region.runs is not None:
            runs = coco.frPyObjects({"size": [height, width], "counts": list(region.runs)}, height, width)
        elif max(map(_length, region.polygons)) > MAX_OUTLINE:
            raise ValueError("it is longer than any outline of a thing")
        else:
            runs = coco.merge(coco.frPyObjects([p.ravel().tolist() for p in region.polygons], height, width))
        return np.asarray(coco.decode(runs)).view(np.bool_).reshape(height, width)
    except (RuntimeError, ValueError, TypeError, MemoryError) as error:
        raise PictureError(f"an outline of {region.label!r} cannot be drawn: {first_line(error)}") from error
