"""Bytes to upright RGB to the network's input: the one implementation for training, evaluation and serving.

Pillow decodes and resizes (see docs/experiments.md for the measurements behind the choice). A JPEG much larger than
needed is decoded at a half, quarter or eighth of its size, never below twice the size asked for.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import PictureError
from .types import Picture, Preprocess

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif"})
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "AVIF")
MAX_PIXELS = 100_000_000
MAX_BYTES = 256_000_000
GREY = (127, 127, 127)
_RESAMPLE = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}


def find_pictures(folder: Path) -> Iterator[Path]:
    """The pictures below `folder` by suffix, sorted by name; hidden ones and folders already seen are passed by."""
    seen: set[Path] = set()

    def walk(place: Path) -> Iterator[Path]:
        real = place.resolve()
        if real in seen:
            return
        seen.add(real)
        for entry in sorted(place.iterdir(), key=lambda p: p.name):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from walk(entry)
            elif entry.suffix.lower() in SUFFIXES:
                yield entry

    yield from walk(folder)


def read_bytes(path: Path) -> bytes:
    """The file's bytes; PictureError when it is missing, unreadable, empty or over MAX_BYTES."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise PictureError("no such file") from None
    except OSError as error:
        raise PictureError(f"cannot be read: {error.strerror}") from error
    if not data:
        raise PictureError("the file is empty")
    if len(data) > MAX_BYTES:
        raise PictureError(f"the file is larger than {MAX_BYTES // 1_000_000} MB")
    return data


def decode(data: bytes, enough_wh: tuple[int, int] | None = None) -> Image.Image:
    """The first frame as an upright RGB picture.

    `enough_wh`: a size that the caller will reduce the picture to; a larger JPEG may come at 1/2, 1/4 or 1/8 scale,
    at least twice that size on both sides. Raises PictureError when the bytes are no usable picture.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image.size)
            if enough_wh is not None and image.format in ("JPEG", "MPO"):
                long = 2 * max(enough_wh)
                image.draft(None, (long, long))
            image.load()
            upright = ImageOps.exif_transpose(image)
            return to_rgb(upright if upright is not None else image)
    except PictureError:
        raise
    except UnidentifiedImageError:
        raise PictureError("not a picture in a known format (JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF)") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PictureError(_too_large()) from None
    except Exception as error:
        raise PictureError(f"broken or truncated picture ({_short(error)})") from error


def _check_size(size_wh: tuple[int, int]) -> None:
    width, height = size_wh
    if width * height > MAX_PIXELS:
        raise PictureError(_too_large())


def _too_large() -> str:
    return f"more than {MAX_PIXELS // 1_000_000} million pixels; make it smaller"


def _short(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:100]


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode as RGB: alpha over white, 16-bit and float scaled by their range."""
    if image.mode == "RGB":
        return image
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_deep_to_uint8(image)).convert("RGB")
    if image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _deep_to_uint8(image: Image.Image) -> Picture:
    """Single-channel 16-bit, 32-bit or float values as uint8 [H, W]: integers over 65535, floats over 1 or 255."""
    values = np.nan_to_num(np.asarray(image).astype(np.float32))
    top = float(values.max(initial=0.0))
    if image.mode.startswith("I"):
        scale = 255 / 65535 if top > 255 or image.mode.startswith("I;16") else 1.0
    else:
        scale = 255.0 if top <= 1.0 else 255 / 65535 if top > 255 else 1.0
    return np.asarray(np.clip(np.rint(values * scale), 0, 255), np.uint8)


def resize(image: Image.Image, preprocess: Preprocess, box: tuple[float, float, float, float] | None = None) -> Picture:
    """The RGB picture (or its part `box`, xyxy in pixels) as the network's input, uint8 [H, W, 3]."""
    size_wh, resample = preprocess.size_wh, _RESAMPLE[preprocess.resample]
    if box is not None or preprocess.fit == "squash":
        out = image.resize(size_wh, resample, box=box)
    elif preprocess.fit == "crop":
        out = ImageOps.fit(image, size_wh, resample)
    else:
        out = ImageOps.pad(image, size_wh, resample, color=GREY)
    return np.asarray(out)


def load(source: Path | bytes, preprocess: Preprocess) -> Picture:
    """A file or its bytes as the network's input, uint8 [H, W, 3]; PictureError when it cannot be used."""
    data = source if isinstance(source, bytes) else read_bytes(source)
    return resize(decode(data, preprocess.size_wh), preprocess)


def from_array(array: NDArray[np.generic], preprocess: Preprocess) -> Picture:
    """A picture already in memory (uint8 [H, W], [H, W, 3] or [H, W, 4]) as the network's input."""
    return resize(array_to_image(array), preprocess)


def array_to_image(array: NDArray[np.generic]) -> Image.Image:
    """uint8 [H, W], [H, W, 3] or [H, W, 4] as an RGB Pillow picture; PictureError for other shapes or types."""
    shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not shaped or array.size == 0:
        raise PictureError(f"an array must be uint8 [H, W], [H, W, 3] or [H, W, 4], not {array.dtype} {array.shape}")
    _check_size((array.shape[1], array.shape[0]))
    return to_rgb(Image.fromarray(array))
