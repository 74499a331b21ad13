"""The pixel grid of a picture, and which grid an annotation was written in.

Most tools show a picture upright and write what they show; some write in pixels as they are stored. An annotation
that names the picture's size tells which, wherever the EXIF turns the picture by a quarter. Without such evidence it is
taken as upright.

Letters in shapes: B boxes, H and W pixels.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fieldmark.errors import PictureError
from fieldmark.files import is_file
from fieldmark.pictures import FORMATS, MAX_PIXELS, TURNS, orientation

SAME_SHAPE = 0.01  # by how much two ratios of width to height may differ


@dataclass(frozen=True)
class Frame:
    """The size of an upright picture, and the EXIF orientation (1 to 8) that made it so."""

    size_wh: tuple[int, int]
    orientation: int = 1

    @property
    def stored_wh(self) -> tuple[int, int]:
        """The size of the pixels as they are stored."""
        width, height = self.size_wh
        return (height, width) if self.orientation >= 5 else (width, height)


def read_frame(source: Path | bytes) -> Frame:
    """The frame of a picture, a file or its bytes, from its header alone; PictureError when it is no picture."""
    if isinstance(source, Path) and not is_file(source):
        raise PictureError("no such file")
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
            return frame_of(image)
    except Image.DecompressionBombError:
        raise PictureError(f"more than {MAX_PIXELS // 1_000_000} million pixels; make it smaller") from None
    except Exception as error:
        raise PictureError("not a picture in a known format, or broken") from error


def frame_of(image: Image.Image) -> Frame:
    """The frame of an opened picture."""
    turn = 1 if image.format == "TIFF" else orientation(image)  # a TIFF tells its upright size
    width, height = image.size
    return Frame((height, width) if turn >= 5 else (width, height), turn)


def has_shape(a_wh: tuple[int, int], b_wh: tuple[int, int]) -> bool:
    """Whether two sizes have the same ratio of width to height."""
    one, other = a_wh[0] * b_wh[1], b_wh[0] * a_wh[1]
    return abs(one - other) <= SAME_SHAPE * max(one, other)


def settle(
    xyxy: NDArray[np.float64], given_wh: tuple[int, int] | None, frame: Frame
) -> tuple[NDArray[np.float64], tuple[int, int], str]:
    """Boxes [B, 4] of an annotation in pixels of the upright picture, the size of the grid they were written in, and
    what had to be done for it, in words.

    `given_wh` is the size that the annotation names. PictureError when it is the size of another picture.
    """
    size_wh = frame.size_wh
    if given_wh is None or given_wh == size_wh:
        return xyxy, size_wh, ""
    if given_wh == frame.stored_wh:
        return _turned(xyxy, frame), given_wh, ""
    said = f"the annotation is of {given_wh[0]} x {given_wh[1]} pixels, the picture has {size_wh[0]} x {size_wh[1]}"
    if _within(xyxy, size_wh) and not _within(xyxy, given_wh):
        return xyxy, size_wh, f"{said}, in which the boxes lie; taken as pixels of it"
    if has_shape(given_wh, size_wh):
        return xyxy * np.tile(np.divide(size_wh, given_wh), 2), given_wh, f"{said}; scaled to it"
    raise PictureError(f"{said}; annotate this picture, or leave the size out")


def _within(xyxy: NDArray[np.float64], size_wh: tuple[int, int]) -> bool:
    known = xyxy[np.isfinite(xyxy).all(1)]
    return bool((known >= -1).all() and (known <= np.tile(size_wh, 2) + 1).all())


def _turned(xyxy: NDArray[np.float64], frame: Frame) -> NDArray[np.float64]:
    """Boxes of the stored pixels in the upright picture, for the orientations 5 to 8."""
    width, height = frame.stored_wh
    x0, y0, x1, y1 = xyxy.T
    if frame.orientation in (6, 7):
        y0, y1 = height - y1, height - y0
    if frame.orientation in (7, 8):
        x0, x1 = width - x1, width - x0
    return np.stack([y0, x0, y1, x1], 1)


def turn_upright(values: NDArray[np.uint8], frame: Frame) -> NDArray[np.uint8]:
    """Numbers of the stored or the upright pixels [H, W], or of fewer or more in the same shape, as upright ones."""
    height, width = values.shape
    if (width, height) == frame.size_wh:
        return values
    image = Image.fromarray(values)
    if (width, height) == frame.stored_wh:
        return np.array(image.transpose(TURNS[frame.orientation]))
    if not has_shape((width, height), frame.size_wh):
        wanted = f"{frame.size_wh[0]} x {frame.size_wh[1]}"
        raise PictureError(f"the mask has {width} x {height} pixels, the picture {wanted}")
    return np.array(image.resize(frame.size_wh, Image.Resampling.NEAREST))
