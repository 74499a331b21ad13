"""The values that cross rooms.

Arrays are numpy; pictures are uint8 [H, W, 3] RGB; boxes are xyxy in pixels of the upright picture: the left edge of
the first pixel is 0, the right edge of the last one W.
"""

import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .errors import DataError, UsageError, unknown_name

Picture = NDArray[np.uint8]  # [H, W, 3] RGB
MIN_TILE = 32
MAX_SIDE = 4096  # of a network's input, in pixels: a picture of it takes 50 MB

Fit = Literal["squash", "crop", "pad"]
Resample = Literal["bilinear", "bicubic", "lanczos", "box"]


@dataclass(frozen=True)
class Preprocess:
    """How an upright picture becomes the network's input; normalisation is inside the network.

    `fit`: "squash" changes the aspect ratio, "crop" cuts the centre, "pad" adds grey borders. `tile`: of a larger
    picture the network sees parts of so many pixels squared; 0 = all at once.
    """

    size_wh: tuple[int, int]
    fit: Fit = "squash"
    resample: Resample = "bilinear"
    tile: int = 0

    def __post_init__(self) -> None:
        if self.fit not in get_args(Fit):
            raise UsageError(unknown_name("fit", self.fit, get_args(Fit)))
        if self.resample not in get_args(Resample):
            raise UsageError(unknown_name("resample", self.resample, get_args(Resample)))
        if min(self.size_wh) < 1 or max(self.size_wh) > MAX_SIDE:
            width, height = self.size_wh
            raise UsageError(f"a side of the input must have 1 to {MAX_SIDE} pixels, not {width} x {height}")
        if self.tile and not MIN_TILE <= self.tile <= MAX_SIDE:
            raise UsageError(f"a tile must have {MIN_TILE} to {MAX_SIDE} pixels a side, or 0 for none, not {self.tile}")

    def to_json(self) -> dict[str, Any]:
        tile = {"tile": self.tile} if self.tile else {}
        return {"size_wh": list(self.size_wh), "fit": self.fit, "resample": self.resample, **tile}

    def tiles(self, size_wh: tuple[int, int]) -> bool:
        """Whether a picture of this size is seen in parts."""
        return 0 < self.tile < max(size_wh)

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> "Preprocess":
        return cls(
            (int(facts["size_wh"][0]), int(facts["size_wh"][1])),
            facts["fit"],
            facts["resample"],
            int(facts.get("tile", 0)),
        )


@dataclass(frozen=True)
class Boxes:
    """Boxes of one picture: `xyxy` float32 [B, 4] in pixels, `labels` one name a box."""

    xyxy: NDArray[np.float32]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class MaskFile:
    """A picture of class numbers: value v stands for `names[v]`; values beyond the names, 255 above all, are ignored.

    `binary`: the file holds two values only, 0 and 255 or 0 and 1, and `names` the two classes.
    """

    path: Path
    names: tuple[str, ...]
    binary: bool = False


@dataclass(frozen=True)
class Region:
    """The pixels of one thing: within polygons (float32 [P, 2], xy), or by run lengths as COCO writes them."""

    label: str
    polygons: tuple[NDArray[np.float32], ...] = ()
    runs: str | tuple[int, ...] | None = None


@dataclass(frozen=True)
class Outlines:
    """Regions on a background, the later over the earlier ones, drawn when asked for; without any all is background.

    `size_wh` is the pixel grid that they are written in.
    """

    size_wh: tuple[int, int] = (0, 0)
    regions: tuple[Region, ...] = ()


Mask = MaskFile | Outlines


@dataclass(frozen=True)
class Sample:
    """One labelled picture of a data set: where its bytes are and what is known of it.

    `labels` holds one name for single-label classification, any number for multi-label, none when unlabelled; with
    boxes or outlines, each of their names once. `mask` is None where it is not known what is where.
    `name` is the path as the data set writes it (relative, forward slashes): it is what fingerprints and splits use.
    """

    path: Path
    name: str
    labels: tuple[str, ...] = ()
    split: str | None = None
    group: str | None = None
    coarse: str | None = None
    target: float | None = None
    mask: Mask | None = None
    boxes: Boxes | None = None

    @property
    def label(self) -> str:
        """The first label; DataError when there is none."""
        if not self.labels:
            raise DataError(f"{self.name} has no label; give data in which every picture has one")
        return self.labels[0]

    @property
    def truth(self) -> str:
        """What is known of it, as tables write it: labels between semicolons, or its number."""
        return ";".join(self.labels) if self.labels or self.target is None else f"{self.target:g}"


def pack(numbers: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Class numbers [H, W] in little room, uint8 [B]: what `unpack` reads."""
    sides = np.array(numbers.shape, "<u4").tobytes()
    return np.frombuffer(sides + zlib.compress(np.ascontiguousarray(numbers).tobytes(), 1), np.uint8)


def unpack(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The class numbers [H, W] that were packed."""
    data = packed.tobytes()
    height, width = np.frombuffer(data[:8], "<u4").tolist()
    return np.frombuffer(zlib.decompress(data[8:]), np.uint8).reshape(height, width)


def run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """A mask [H, W] as COCO writes run lengths: columns one after the other, pixels outside and inside by turns."""
    flat = mask.T.ravel()
    ends = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0], ends, [flat.size]])
    lengths = np.diff(edges).tolist()
    return [0, *lengths] if flat.size and flat[0] else lengths


@dataclass(frozen=True)
class Score:
    """A label and its probability."""

    label: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """What the recogniser says of one picture; `error` is a sentence when the picture could not be used. `numbers` are
    the class numbers of its pixels, packed, where every pixel was asked for."""

    path: str
    labels: tuple[Score, ...] = ()
    unsure: bool | None = None
    error: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    numbers: NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)

    @property
    def mask(self) -> NDArray[np.uint8] | None:
        """The class number of every pixel, uint8 [H, W], of a segmentation."""
        return None if self.numbers is None else unpack(self.numbers)

    @property
    def boxes(self) -> list[dict[str, Any]]:
        """The boxes shown, of a detection: `label`, `probability` and `xyxy` in pixels each."""
        return list(self.extra.get("boxes", ()))

    @property
    def label(self) -> str | None:
        """The most probable label, or None when the picture could not be used."""
        return self.labels[0].label if self.labels else None

    def to_json(self, top: int | None = None) -> dict[str, Any]:
        """The row that `predict --format jsonl` prints and the server answers; the `top` most probable labels."""
        rows = [{"label": s.label, "probability": round(s.probability, 6)} for s in self.labels[:top]]
        return {"path": self.path, "labels": rows, "unsure": self.unsure, "error": self.error, **self.extra}
