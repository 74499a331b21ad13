"""Where the pixels of an upright picture lie in the network's input: an affine map, there and back.

Coordinates are continuous: the left edge of the first pixel is 0, the right edge of the last one W. B boxes, P points.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .types import Preprocess

Array = NDArray[np.float64]
Box = tuple[float, float, float, float]  # xyxy
Matrix = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class Geometry:
    """A view of a picture: point (x, y) of the picture is at (a x + b y + c, d x + e y + f) of the view.

    `size_wh` of the upright picture, `view_wh` of the view, both in pixels; `matrix` is (a, b, c, d, e, f).
    """

    size_wh: tuple[int, int]
    view_wh: tuple[int, int]
    matrix: Matrix

    @classmethod
    def of_box(cls, size_wh: tuple[int, int], view_wh: tuple[int, int], box: Box) -> "Geometry":
        """The part `box` (xyxy, pixels of the picture), stretched over the whole view."""
        x0, y0, x1, y1 = box
        across, down = view_wh[0] / (x1 - x0), view_wh[1] / (y1 - y0)
        return cls(size_wh, view_wh, (across, 0.0, -x0 * across, 0.0, down, -y0 * down))

    def then(self, matrix: Matrix) -> "Geometry":
        """This one, and the view changed by a further map within it."""
        both = _three(matrix) @ _three(self.matrix)
        return Geometry(self.size_wh, self.view_wh, _six(both))

    @property
    def inverse(self) -> Matrix:
        """The matrix from the view to the picture, as `PIL.Image.transform` takes it."""
        return _six(np.linalg.inv(_three(self.matrix)))

    def points(self, xy: NDArray[np.floating]) -> Array:
        """Points [P, 2] of the picture in the view."""
        return _moved(xy, self.matrix)

    def boxes(self, xyxy: NDArray[np.floating]) -> Array:
        """Boxes [B, 4] of the picture in the view, not cut to it; of a turned one, what holds it upright."""
        return _moved_boxes(xyxy, self.matrix)

    def boxes_back(self, xyxy: NDArray[np.floating]) -> Array:
        """Boxes [B, 4] of the view in the picture, cut to it."""
        found = _moved_boxes(xyxy, self.inverse)
        return np.clip(found, 0, np.tile(self.size_wh, 2))


def plain(size_wh: tuple[int, int], preprocess: Preprocess) -> Geometry:
    """How `pictures.resize` places a whole picture of this size."""
    (width, height), (in_w, in_h) = size_wh, preprocess.size_wh
    if preprocess.fit != "pad" or preprocess.tiles(size_wh):
        return Geometry.of_box(size_wh, preprocess.size_wh, seen_box(size_wh, preprocess))
    inner_w, inner_h = padded_wh(size_wh, preprocess.size_wh)
    left, top = (in_w - inner_w) // 2, (in_h - inner_h) // 2
    matrix = (inner_w / width, 0.0, float(left), 0.0, inner_h / height, float(top))
    return Geometry(size_wh, preprocess.size_wh, matrix)


def seen_box(size_wh: tuple[int, int], preprocess: Preprocess) -> Box:
    """What the network sees of a picture of this size, xyxy in its pixels; beyond them where it is padded. Of one
    that is seen in parts, the one in the middle."""
    width, height = size_wh
    if preprocess.tiles(size_wh):
        left, top = (width - preprocess.tile) / 2, (height - preprocess.tile) / 2
        return left, top, left + preprocess.tile, top + preprocess.tile
    if preprocess.fit == "squash":
        return 0.0, 0.0, float(width), float(height)
    in_w, in_h = preprocess.size_wh
    scale = (max if preprocess.fit == "crop" else min)(in_w / width, in_h / height)
    left, top = (width - in_w / scale) / 2, (height - in_h / scale) / 2
    return left, top, width - left, height - top


def padded_wh(size_wh: tuple[int, int], view_wh: tuple[int, int]) -> tuple[int, int]:
    """The size of a whole picture within a view that pads it; a side never becomes less than one pixel."""
    scale = min(view_wh[0] / size_wh[0], view_wh[1] / size_wh[1])
    return max(1, round(size_wh[0] * scale)), max(1, round(size_wh[1] * scale))


def mirrored(view_wh: tuple[int, int]) -> Matrix:
    """Left and right exchanged."""
    return -1.0, 0.0, float(view_wh[0]), 0.0, 1.0, 0.0


def upside_down(view_wh: tuple[int, int]) -> Matrix:
    """Top and bottom exchanged."""
    return 1.0, 0.0, 0.0, 0.0, -1.0, float(view_wh[1])


def turned(view_wh: tuple[int, int], degrees: float) -> Matrix:
    """Turned anticlockwise around the middle, as `PIL.Image.rotate` does."""
    sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    x, y = view_wh[0] / 2, view_wh[1] / 2
    found = (cosine, sine, x - cosine * x - sine * y, -sine, cosine, y + sine * x - cosine * y)
    a, b, c, d, e, f = (float(v) for v in found)
    return a, b, c, d, e, f


def _three(matrix: Matrix) -> Array:
    return np.array([matrix[:3], matrix[3:], (0, 0, 1)], np.float64)


def _six(matrix: NDArray[np.floating]) -> Matrix:
    a, b, c, d, e, f = (float(v) for v in matrix[:2].ravel())
    return a, b, c, d, e, f


def _moved(xy: NDArray[np.floating], matrix: Matrix) -> Array:
    a, b, c, d, e, f = matrix
    x, y = np.asarray(xy, np.float64).reshape(-1, 2).T
    return np.stack([a * x + b * y + c, d * x + e * y + f], 1)


def _moved_boxes(xyxy: NDArray[np.floating], matrix: Matrix) -> Array:
    x0, y0, x1, y1 = np.asarray(xyxy, np.float64).reshape(-1, 4).T
    corners = _moved(np.stack([x0, y0, x1, y0, x0, y1, x1, y1], 1), matrix).reshape(-1, 4, 2)
    return np.concatenate([corners.min(1), corners.max(1)], 1)
