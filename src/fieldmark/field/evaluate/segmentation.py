"""Segmentation metrics, from class numbers of pixels. N pictures, L classes, H x W pixels.

Every picture is first measured by itself; scores, and their intervals, are of these small tables: IoU and Dice pool the
pixels of all pictures (Everingham et al. 2015), the boundary F is the mean over pictures (Csurka et al. 2013).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .intervals import CHUNK_VALUES, RESAMPLES

Numbers = NDArray[np.uint8]  # [H, W]
Table = NDArray[np.float64]
BOTH, SAID, THERE, MARKED = range(4)  # pixels of a class: named right, named, true, true and said to be no background
IGNORE = 255  # pixels that do not count
BOUNDARY_TOLERANCE = 0.008  # of the picture's diagonal (Perazzi et al. 2016)
BOUNDARY_SIDE = 2048  # pixels; boundaries of larger pictures are compared at this size
FOUND_FROM = 0.1  # of a class's pixels in a picture


@dataclass(frozen=True)
class Measured:
    """What is known of N pictures: `pixels` [N, 4, L] by class; `foreground` [N, 3], the same for all classes but the
    first together; `boundary` [N, L], F of each class's boundary, NaN where it is neither there nor said."""

    pixels: Table
    foreground: Table
    boundary: Table

    @classmethod
    def joined(cls, rows: Sequence["Measured"]) -> "Measured":
        return cls(*(np.concatenate([getattr(r, name) for r in rows]) for name in cls.__dataclass_fields__))


def measure(said: Numbers, truth: Numbers, classes: int, edges: bool = True) -> Measured:
    """One picture: class numbers [H, W] that were said, and the true ones, IGNORE or beyond `classes` (unknown: never
    right). Boundaries take nine tenths of the time; `edges` False leaves them out."""
    counts = truth != IGNORE
    a, b = said[counts].astype(np.int64), truth[counts].astype(np.int64)
    n = classes + 1  # the last for all unknown ones
    table = np.bincount(np.minimum(b, classes) * n + np.minimum(a, classes), minlength=n * n).reshape(n, n)
    true, named, right = table.sum(1), table.sum(0), table.diagonal()
    pixels = np.stack([right, named, true, true - table[:, 0]])[:, :classes]
    both = table[1:, 1:].sum()
    foreground = [both, named[1:].sum(), true[1:].sum()]
    ignored = np.where(counts, said, IGNORE)
    wanted = [edges and bool(pixels[SAID : THERE + 1, c].any()) for c in range(classes)]
    found = [boundary_f(ignored == c, truth == c) if asked else np.nan for c, asked in enumerate(wanted)]
    return Measured(pixels[None].astype(np.float64), np.array([foreground], np.float64), np.array([found], np.float64))


def boundary_f(said: NDArray[np.bool_], truth: NDArray[np.bool_], tolerance: float = BOUNDARY_TOLERANCE) -> float:
    """The harmonic mean of the shares of either boundary that lie within `tolerance` (of the diagonal) of the other
    (Csurka et al. 2013, as Perazzi et al. 2016 draw boundaries); NaN where neither has one."""
    from scipy.ndimage import distance_transform_edt

    step = -(-max(truth.shape) // BOUNDARY_SIDE)
    a, b = (_boundary(mask[::step, ::step]) for mask in (said, truth))
    if not (a.any() or b.any()):
        return float("nan")
    if not (a.any() and b.any()):
        return 0.0
    reach = np.ceil(tolerance * np.hypot(*a.shape))
    precision = float((distance_transform_edt(~b)[a] <= reach).mean())
    recall = float((distance_transform_edt(~a)[b] <= reach).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _boundary(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels that differ from one to the right, below, or both."""
    wide = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    return np.asarray((mask ^ wide[:-1, 1:]) | (mask ^ wide[1:, :-1]) | (mask ^ wide[1:, 1:]), np.bool_)


def iou(pixels: Table) -> Table:
    """Intersection over union [..., L] of tables [..., 3 or 4, L]; NaN for a class neither there nor said."""
    both, said, there = (pixels[..., i, :] for i in (BOTH, SAID, THERE))
    return _ratio(both, said + there - both)


def dice(pixels: Table) -> Table:
    """Twice the intersection over the sum of both areas (Dice 1945), [..., L]; NaN as in `iou`."""
    both, said, there = (pixels[..., i, :] for i in (BOTH, SAID, THERE))
    return _ratio(2 * both, said + there)


def _ratio(a: Table, b: Table) -> Table:
    return np.asarray(np.divide(a, b, out=np.full(np.shape(b), np.nan), where=b > 0), np.float64)


def scores(measured: Measured, evidence: Table, classes: Sequence[str], background: bool) -> dict[str, Any]:
    """The contract's keys for `segment`; means are over classes that are there or were said.

    With `background`, the first class is no thing: scores of all others together are added, and how well `evidence`
    [N] for any of them tells pictures that show one from those that show none.
    """
    total, resampled = measured.pixels.sum(0), _resampled(measured.pixels)
    each, spread = iou(total), iou(resampled)
    pixel_accuracy = float(total[BOTH].sum() / max(1.0, total[THERE].sum()))
    result: dict[str, Any] = {
        "miou": _mean(each),
        "miou_ci": _interval(_means(spread)),
        "dice": _mean(dice(total)),
        "dice_ci": _interval(_means(dice(resampled))),
        "iou": {name: _number(value) for name, value in zip(classes, each, strict=True)},
        "iou_ci": {name: _interval(spread[:, c]) for c, name in enumerate(classes)},
        "boundary_f": _mean(_class_means(measured.boundary)),
        "pixel_accuracy": pixel_accuracy,
    }
    if background:
        together = _resampled(measured.foreground[:, :, None])
        result["foreground_iou"] = _mean(iou(measured.foreground.sum(0)[:, None]))
        result["foreground_iou_ci"] = _interval(iou(together)[:, 0])
        shows = measured.foreground[:, THERE] > 0
        result["foreground_roc_auc"] = _roc_auc(shows, evidence)
        result["foreground_roc_auc_ci"] = _roc_auc_interval(shows, evidence)
    result["per_class"] = {name: _class_row(measured, c, background) for c, name in enumerate(classes)}
    return result


def _class_row(measured: Measured, c: int, background: bool) -> dict[str, Any]:
    """One class: its pixels, and in how many of the pictures that show it a tenth of them was said to be something."""
    both, said, there, marked = measured.pixels[:, :, c].sum(0)
    shows = measured.pixels[:, THERE, c] > 0
    row = {
        "iou": _number(_ratio(both, said + there - both)),
        "dice": _number(_ratio(2 * both, said + there)),
        "precision": _number(_ratio(both, said)),
        "recall": _number(_ratio(both, there)),
        "boundary_f": _number(_class_means(measured.boundary[:, [c]])[0]),
        "n": int(shows.sum()),
    }
    if background and c:
        part = measured.pixels[shows, MARKED, c] / measured.pixels[shows, THERE, c]
        row["marked"] = _number(_ratio(marked, there))
        row["found"] = float((part >= FOUND_FROM).mean()) if shows.any() else None
    return row


def _resampled(tables: Table) -> Table:
    """Sums [R, K, L] of tables [N, K, L] over resamples of the pictures."""
    n, flat = len(tables), tables.reshape(len(tables), -1)
    rng, rows = np.random.default_rng(0), max(1, CHUNK_VALUES // max(1, n))
    found = []
    for start in range(0, RESAMPLES, rows):
        times = rng.multinomial(n, np.full(n, 1 / n), min(rows, RESAMPLES - start))
        found.append(times @ flat)
    return np.concatenate(found).reshape(RESAMPLES, *tables.shape[1:])


def _roc_auc(shows: NDArray[np.bool_], evidence: Table) -> float | None:
    """The share of pairs, one of either kind, that are in the right order; None where there is one kind alone."""
    n, m = int(shows.sum()), int((~shows).sum())
    if not n or not m:
        return None
    _, place, count = np.unique(evidence, return_inverse=True, return_counts=True)
    rank = (count.cumsum() - (count - 1) / 2)[place]
    return float((rank[shows].sum() - n * (n + 1) / 2) / (n * m))


def _roc_auc_interval(shows: NDArray[np.bool_], evidence: Table) -> list[float] | None:
    rng, n = np.random.default_rng(0), len(shows)
    drawn = (rng.integers(0, n, n) for _ in range(RESAMPLES))
    found = [value for chosen in drawn if (value := _roc_auc(shows[chosen], evidence[chosen])) is not None]
    return _interval(np.array(found)) if found else None


def _class_means(values: Table) -> Table:
    """Means [L] over the pictures where there is a value; NaN where there is none."""
    there = np.isfinite(values)
    return _ratio(np.where(there, values, 0.0).sum(0), there.sum(0).astype(np.float64))


def _means(values: Table) -> Table:
    """Means [R] over the classes where there is a value."""
    return _class_means(values.T)


def _mean(values: Table) -> float | None:
    return _number(_class_means(np.reshape(values, (-1, 1)))[0])


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _interval(values: Table) -> list[float] | None:
    known = values[np.isfinite(values)]
    return [float(v) for v in np.quantile(known, [0.025, 0.975])] if len(known) else None
