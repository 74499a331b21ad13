"""Bytes to upright RGB to the network's input: the one implementation for training, evaluation and serving.

Pillow decodes and resizes (see docs/experiments.md for the measurements behind the choice). A JPEG much larger than
needed is decoded at a half, quarter or eighth of its size, never below twice the size asked for.
"""

import io
import logging
import stat
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from .errors import PictureError, UsageError
from .files import is_folder
from .geometry import Box, padded_wh, seen_box
from .types import Picture, Preprocess

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif"})
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "AVIF")  # an MPO opens as JPEG
MAX_PIXELS = 100_000_000
MAX_BYTES = 256_000_000
TOO_LARGE = f"more than {MAX_PIXELS // 1_000_000} million pixels; make it smaller"
GREY = (127, 127, 127)
TINY = 1e-6  # of a pixel
TURNS = {  # what makes a picture upright, by its EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_RESAMPLE = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}
# A PictureError says what makes a picture unusable; Pillow's own words tell of what does not, and would fill stderr.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())  # without any handler, errors go to stderr


@dataclass(frozen=True)
class Unusable:
    """A folder among the inputs that gives no pictures, and why, in one sentence."""

    path: Path
    reason: str


def find_pictures(folder: Path) -> Iterator[Path]:
    """The pictures below `folder` by suffix, sorted by name; hidden ones and folders already seen are passed by.

    Raises UsageError for a folder that cannot be read.
    """
    for found in walk_pictures(folder):
        if isinstance(found, Unusable):
            raise UsageError(f"{found.path} {found.reason}; allow it or choose another folder")
        yield found


def walk_pictures(folder: Path) -> Iterator[Path | Unusable]:
    """As `find_pictures`, but a folder that cannot be read is Unusable and does not stop the others."""
    seen: set[tuple[int, int]] = set()
    waiting = [iter([folder])]  # not a recursion: folders can be nested deeper than Python's calls
    while waiting:
        entry = next(waiting[-1], None)
        if entry is None:
            waiting.pop()
        elif entry.name.startswith(".") and entry != folder:
            continue
        elif entry == folder or is_folder(entry):
            try:
                state = entry.stat()
                if (state.st_dev, state.st_ino) not in seen:
                    seen.add((state.st_dev, state.st_ino))
                    waiting.append(iter(_entries(entry)))
            except OSError as error:
                yield Unusable(entry, f"cannot be read: {error.strerror}")
        elif entry.suffix.lower() in SUFFIXES:
            yield entry


def expand(paths: Sequence[str]) -> Iterator[str | Path | Unusable]:
    """Files as given, the pictures of folders sorted by name; a folder that gives none is Unusable.

    Raises UsageError when such a folder is all that was named.
    """
    for path in paths:
        if not path or not is_folder(Path(path)):
            yield path
            continue
        found = walk_pictures(Path(path))
        first = next(found, None) or Unusable(Path(path), "holds no pictures")
        if len(paths) == 1 and isinstance(first, Unusable) and first.path == Path(path):
            raise UsageError(f"{path} {first.reason}; name a folder of pictures or the files themselves")
        yield first
        yield from found


def list_folder(folder: Path) -> list[Path]:
    """What a folder holds, sorted by name; UsageError when it cannot be read."""
    try:
        return _entries(folder)
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror}; allow it or choose another folder") from error


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir(), key=lambda p: p.name)


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """The file's bytes; PictureError when it is missing, unreadable, empty or over `most` (MAX_BYTES) bytes."""
    most = MAX_BYTES if most is None else most
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):  # to open a pipe would wait for ever
            raise PictureError("not a file")
        if state.st_size > most:
            raise PictureError(f"the file is larger than {most // 1_000_000} MB")
        data = path.read_bytes()
    except (FileNotFoundError, ValueError):  # ValueError: a name with a NUL
        raise PictureError("no such file") from None
    except OSError as error:
        raise PictureError(f"cannot be read: {error.strerror}") from error
    if not data:
        raise PictureError("the file is empty")
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
            return to_rgb(_upright(image))
    except PictureError:
        raise
    except UnidentifiedImageError:
        raise PictureError("not a picture in a known format (JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF)") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PictureError(TOO_LARGE) from None
    except Exception as error:
        raise PictureError(f"broken or truncated picture ({_short(error)})") from error


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 when the EXIF is missing, or broken, which viewers forgive too."""
    try:
        found = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)  # a PNG's own would decode the picture
        return int(found) if found in TURNS else 1
    except Exception:  # noqa: BLE001  (Pillow's parser raises whatever the damage leads to)
        return 1


def _upright(image: Image.Image) -> Image.Image:
    image.load()  # a TIFF turns itself by this
    turn = TURNS.get(orientation(image))
    return image if turn is None else image.transpose(turn)


def _check_size(size_wh: tuple[int, int]) -> None:
    if size_wh[0] * size_wh[1] > MAX_PIXELS:
        raise PictureError(TOO_LARGE)


def _short(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:100]


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode as RGB: alpha over white, 16-bit and float scaled by their range."""
    if image.mode == "RGB" and "transparency" not in image.info:
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
    values = np.maximum(np.nan_to_num(np.asarray(image).astype(np.float32)), 0)
    top = float(values.max(initial=0.0))
    if image.mode.startswith("I"):
        scale = 255 / 65535 if top > 255 or image.mode.startswith("I;16") else 1.0
    else:
        scale = 255.0 if top <= 1.0 else 255 / 65535 if top > 255 else 1.0
    return np.asarray(np.clip(np.rint(values * scale), 0, 255), np.uint8)


def resize(image: Image.Image, preprocess: Preprocess, box: Box | None = None) -> Picture:
    """The RGB picture (or its part `box`, xyxy in pixels) as the network's input, uint8 [H, W, 3]."""
    size_wh, resample = preprocess.size_wh, _RESAMPLE[preprocess.resample]
    if box is None and preprocess.tiles(image.size):
        return resize_window(image, preprocess, seen_box(image.size, preprocess))
    if box is not None or preprocess.fit == "squash":
        out = image.resize(size_wh, resample, box=box)
    elif preprocess.fit == "crop":
        out = ImageOps.fit(image, size_wh, resample)
    else:
        out = _pad(image, size_wh, resample)
    return np.array(out)


def _pad(image: Image.Image, size_wh: tuple[int, int], resample: Image.Resampling) -> Image.Image:
    """The whole picture in the middle of a grey one."""
    inner = padded_wh(image.size, size_wh)
    canvas = Image.new("RGB", size_wh, GREY)
    canvas.paste(image.resize(inner, resample), ((size_wh[0] - inner[0]) // 2, (size_wh[1] - inner[1]) // 2))
    return canvas


def resize_window(image: Image.Image, preprocess: Preprocess, box: Box) -> Picture:
    """The part `box` (xyxy, pixels) of the picture, of which it may reach out, as the network's input: grey beyond."""
    (in_w, in_h), size_wh = preprocess.size_wh, np.array(image.size, np.float64)
    low, high = np.array(box[:2]), np.array(box[2:])
    scale = (in_w, in_h) / (high - low)
    first = np.ceil(np.maximum(0, -low * scale) - TINY).astype(int)  # whole pixels of the view that the picture covers
    last = np.floor(np.minimum((in_w, in_h), (size_wh - low) * scale) + TINY).astype(int)
    last = np.maximum(last, first + 1)
    part = np.clip(np.concatenate([first / scale + low, last / scale + low]), 0, np.tile(size_wh, 2))
    canvas = Image.new("RGB", (in_w, in_h), GREY)
    inner_wh, (left, top, right, bottom) = tuple((last - first).tolist()), part.tolist()
    seen = image.resize(inner_wh, _RESAMPLE[preprocess.resample], box=(left, top, right, bottom))
    canvas.paste(seen, (int(first[0]), int(first[1])))
    return np.array(canvas)


def resize_region(image: Image.Image, preprocess: Preprocess, region: Box | None) -> Picture:
    """The picture, or a region of it (xyxy, shares of what the network sees of it), as the network's input."""
    if region is None:
        return resize(image, preprocess)
    box = np.array(seen_box(image.size, preprocess)).reshape(2, 2)
    corners = box[0] + np.array(region).reshape(2, 2) * (box[1] - box[0])
    low = np.clip(np.minimum(corners[0], np.array(image.size) - 1.0), 0, None)  # a padded border has nothing to see
    high = np.clip(np.maximum(corners[1], low + 1.0), None, image.size)
    return resize(image, preprocess, (float(low[0]), float(low[1]), float(high[0]), float(high[1])))


def load(source: Path | bytes, preprocess: Preprocess, region: Box | None = None) -> Picture:
    """A file or its bytes, or a region of it, as the network's input, uint8 [H, W, 3]; PictureError when it cannot be
    used."""
    data = source if isinstance(source, bytes) else read_bytes(source)
    return resize_region(decode(data, _enough(preprocess, region)), preprocess, region)


def _enough(preprocess: Preprocess, region: Box | None) -> tuple[int, int] | None:
    """The size that a whole picture must be decoded at for a region of it to be sharp; None for its own."""
    width, height = preprocess.size_wh
    if region is None:
        return None if preprocess.tile else (width, height)
    return round(width / (region[2] - region[0])), round(height / (region[3] - region[1]))


def from_array(array: NDArray[np.generic], preprocess: Preprocess, region: Box | None = None) -> Picture:
    """A picture already in memory (uint8 [H, W], [H, W, 3] or [H, W, 4]) as the network's input."""
    return resize_region(array_to_image(array), preprocess, region)


def from_image(image: Image.Image, preprocess: Preprocess, region: Box | None = None) -> Picture:
    """A Pillow picture as the network's input; turned as its EXIF says, like a file."""
    return resize_region(upright_rgb(image), preprocess, region)


def upright_rgb(image: Image.Image) -> Image.Image:
    """A Pillow picture in RGB, turned as its EXIF says; PictureError when it cannot be used."""
    _check_size(image.size)
    try:
        return to_rgb(_upright(image))
    except (OSError, SyntaxError, ValueError) as error:
        raise PictureError(f"broken or truncated picture ({_short(error)})") from error


def array_to_image(array: NDArray[np.generic]) -> Image.Image:
    """uint8 [H, W], [H, W, 3] or [H, W, 4] as an RGB Pillow picture; PictureError for other shapes or types."""
    shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not shaped or array.size == 0:
        raise PictureError(f"an array must be uint8 [H, W], [H, W, 3] or [H, W, 4], not {array.dtype} {array.shape}")
    _check_size((array.shape[1], array.shape[0]))
    return to_rgb(Image.fromarray(array))
