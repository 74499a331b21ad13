"""A picture as it is handed over, a path, bytes, an array or a Pillow picture, and what the network takes of it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fieldmark import pictures
from fieldmark.data.frame import frame_of, read_frame
from fieldmark.errors import PictureError
from fieldmark.pictures import Unusable
from fieldmark.types import Picture, Preprocess

from .glance import Region

Source = str | Path | bytes | bytearray | memoryview | NDArray[np.uint8] | Image.Image | Unusable

ONE_PICTURE = (str, Path, bytes, bytearray, memoryview, np.ndarray, Image.Image, Unusable)
TAKEN = "a path, bytes, a uint8 array [H, W, 3] or a Pillow picture"


def size_of(source: Source) -> tuple[tuple[int, int], Source]:
    """Width and height of an upright picture, and the source, read where it is a file; PictureError when it cannot be
    used."""
    if isinstance(source, np.ndarray) and source.ndim >= 2:
        return (source.shape[1], source.shape[0]), source
    if isinstance(source, Image.Image):
        return frame_of(source).size_wh, source
    if isinstance(source, (str, Path)) and source != "":
        source = pictures.read_bytes(Path(source))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return read_frame(bytes(source)).size_wh, source
    return (1, 1), source  # no picture, as the loader will say


def whole_image(source: Source) -> Image.Image:
    """A source as an upright RGB picture of its own size; PictureError when it cannot be used."""
    if isinstance(source, np.ndarray):
        return pictures.array_to_image(source)
    if isinstance(source, Image.Image):
        return pictures.upright_rgb(source)
    data = size_of(source)[1]
    if not isinstance(data, (bytes, bytearray, memoryview)):
        load_source(source, Preprocess((1, 1)))  # says what is wrong with it
        raise PictureError(f"{type(source).__name__} is no picture; give {TAKEN}")
    return pictures.decode(bytes(data))


def load_source(source: Source, preprocess: Preprocess, region: Region | None = None) -> Picture:
    """Any source, or a region of what the network sees of it, as the network's input, uint8 [H, W, 3]; PictureError
    when it cannot be used."""
    if isinstance(source, np.ndarray):
        return pictures.from_array(source, preprocess, region)
    if isinstance(source, Image.Image):
        return pictures.from_image(source, preprocess, region)
    if isinstance(source, Unusable):
        raise PictureError(source.reason)
    if isinstance(source, (bytearray, memoryview)):
        source = bytes(source)
    if not isinstance(source, (str, Path, bytes)):
        raise PictureError(f"{type(source).__name__} is no picture; give {TAKEN}")
    if source == "":
        raise PictureError("the name is empty")
    return pictures.load(Path(source) if isinstance(source, str) else source, preprocess, region)


def name_of(source: Source) -> str:
    """The path of a source; "" for a picture in memory."""
    if isinstance(source, Unusable):
        return str(source.path)
    return str(source) if isinstance(source, (str, Path)) else ""
