"""Whether a map shows what matters: deletion and insertion curves (Petsiuk et al. 2018) and the pointing game (Zhang
et al. 2018).

The picture's cells are taken away, or given back, in the order of the map, and the probability of the predicted class
is watched. Orders that know nothing, random and from the centre outwards, are measured beside it. h x w cells.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from fieldmark.data.frame import read_frame
from fieldmark.errors import PictureError
from fieldmark.field.evaluate.intervals import mean_interval, paired_interval
from fieldmark.field.explain.evidence import Question, explain_picture
from fieldmark.field.runtime.evidence import OUTPUTS
from fieldmark.field.runtime.recogniser import Recogniser
from fieldmark.field.runtime.source import Source, load_source
from fieldmark.field.tasks import OnLogits
from fieldmark.geometry import plain
from fieldmark.pictures import read_bytes
from fieldmark.types import Picture, Sample

STEPS = 6
UNIFORM = 1e-6  # spread of a map that looks everywhere alike
BLUR = 0.08  # radius, of the picture's longer side: what is taken away leaves only large, vague colours
ORDERS = ("map", "random", "centre")
GAMES = ("deletion", "insertion")
FRAMES = 1 + len(ORDERS) * len(GAMES) * (STEPS + 1)  # that one picture costs: as it is, and each step
Array = NDArray[np.float32]
T = TypeVar("T")
Tick = Callable[[int, int], None]


def orders(values: Array, seed: int) -> dict[str, NDArray[np.int64]]:
    """Cells, flat, most important first: by the map [h, w], at random, and from the centre outwards."""
    h, w = values.shape
    rows, columns = np.mgrid[:h, :w]
    far = np.hypot((rows - (h - 1) / 2) / h, (columns - (w - 1) / 2) / w)
    return {
        "map": np.argsort(-values.ravel(), kind="stable"),
        "random": np.random.default_rng(seed).permutation(h * w),
        "centre": np.argsort(far.ravel(), kind="stable"),
    }


def blurred(picture: Picture) -> Picture:
    """The picture with all detail gone."""
    image = Image.fromarray(picture)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(BLUR * max(image.size))))


def hidden(picture: Picture, cells: int) -> list[Picture]:
    """The picture cells * cells times, each with another cell blurred away, row by row."""
    vague = blurred(picture)
    downs, acrosses = (np.linspace(0, side, cells + 1).round().astype(int) for side in picture.shape[:2])
    found = []
    for top, bottom in pairwise(downs):
        for left, right in pairwise(acrosses):
            one = picture.copy()
            one[top:bottom, left:right] = vague[top:bottom, left:right]
            found.append(one)
    return found


def steps_of(
    picture: Picture, vague: Picture, order: NDArray[np.int64], grid_hw: tuple[int, int], insert: bool
) -> Picture:
    """Pictures [STEPS + 1, H, W, 3] from which more and more cells, in this order, are taken away, or to whose blurred
    form `vague` they are given back."""
    h, w = grid_hw
    height, width = picture.shape[:2]
    cell_of = (np.arange(height) * h // height)[:, None] * w + (np.arange(width) * w // width)[None]
    rank = np.empty(h * w, np.int64)
    rank[order] = np.arange(h * w)
    there, otherwise = (picture, vague) if insert else (vague, picture)
    counts = np.rint(np.linspace(0, h * w, STEPS + 1)).astype(np.int64)
    return np.stack([np.where((rank[cell_of] < count)[:, :, None], there, otherwise) for count in counts])


def area(curve: Sequence[float]) -> float:
    """The area below a curve over evenly spaced shares 0..1 of the cells."""
    return float(np.trapezoid(curve, dx=1 / (len(curve) - 1)))


@dataclass(frozen=True)
class Faithfulness:
    """Mean areas over pictures: `deletion` (lower is better) and `insertion` (higher is better) by order, with the
    paired differences to both baselines; `curves`, mean probabilities [STEPS + 1]."""

    n: int
    areas: Mapping[str, Mapping[str, Array]]  # [N] by game and order
    curves: Mapping[str, Mapping[str, Array]]

    def to_json(self) -> dict[str, Any]:
        return {"n": self.n, **{game: self._game(game) for game in GAMES}}

    def _game(self, game: str) -> dict[str, Any]:
        by_order = self.areas[game]
        found: dict[str, Any] = {order: float(by_order[order].mean()) for order in ORDERS}
        found["map_ci"] = mean_interval(by_order["map"])
        for other in ORDERS[1:]:
            found[f"map_minus_{other}_ci"] = paired_interval(by_order["map"], by_order[other])
        found["curves"] = {order: [round(float(v), 4) for v in self.curves[game][order]] for order in ORDERS}
        return found


def faithfulness(
    recogniser: Recogniser, sources: Sequence[Source], tick: Tick = lambda done, total: None
) -> Faithfulness | None:
    """Deletion and insertion on these pictures, for the map that is drawn of the predicted class; pictures that cannot
    be used are passed by. None when there is none, or the network does not give what evidence needs."""
    seen: dict[str, dict[str, list[Array]]] = {game: {order: [] for order in ORDERS} for game in GAMES}
    for done, source in enumerate(sources):
        tick(done, len(sources))
        try:
            picture = load_source(source, recogniser.preprocess)
            found = explain_picture(recogniser, picture, Question())
        except PictureError:
            continue
        played = [(g, o, cells) for o, cells in orders(found.telling, done).items() for g in GAMES]
        vague, grid_hw = blurred(picture), found.telling.shape
        frames = [steps_of(picture, vague, cells, grid_hw, game == "insertion") for game, _, cells in played]
        chances = _probabilities(recogniser, np.concatenate(frames), recogniser.classes.index(found.label))
        for (game, order, _), curve in zip(played, chances.reshape(len(played), -1), strict=True):
            seen[game][order].append(curve)
    n = len(seen["deletion"]["map"])
    if not n:
        return None
    areas = {
        g: {o: np.array([area(c.tolist()) for c in cs], np.float32) for o, cs in s.items()} for g, s in seen.items()
    }
    curves = {g: {o: np.mean(cs, 0) for o, cs in s.items()} for g, s in seen.items()}
    return Faithfulness(n, areas, curves)


def check_maps(
    recogniser: Recogniser,
    samples: Sequence[Sample],
    most: int = 24,
    most_pointed: int = 1_000,
    tick: Tick = lambda done, total: None,
) -> dict[str, Any] | None:
    """What a report says of the maps: `faithfulness` and `pointing`, each on at most so many samples, drawn by chance;
    None for a network that does not give what evidence needs."""
    if not set(OUTPUTS) <= set(recogniser.bundle.facts["outputs"]) or not samples or not most:
        return None
    if not isinstance(recogniser.task, OnLogits) or recogniser.task.name == "regress":  # no probability that could fall
        return None
    measured = faithfulness(recogniser, [s.path for s in some_of(samples, most)], tick)
    pointing = pointing_game(recogniser, some_of([s for s in samples if s.boxes is not None], most_pointed))
    found = {"faithfulness": measured and measured.to_json(), "pointing": pointing}
    return {key: value for key, value in found.items() if value is not None} or None


def some_of(items: Sequence[T], most: int, seed: int = 0) -> list[T]:
    """At most so many of the items, drawn by chance, in their order: every n-th would miss whole classes where these
    come in turn."""
    n = len(items)
    return [items[i] for i in np.sort(np.random.default_rng([seed, n]).permutation(n)[:most])]


def _probabilities(recogniser: Recogniser, frames: Picture, label: int) -> Array:
    """The probability of a class on each picture [N, H, W, 3], as `predict` states it."""
    assert isinstance(recogniser.task, OnLogits)
    logits = np.stack([seen.outputs["logits"] for seen in recogniser.run(list(frames), ("logits",))])
    return np.asarray(recogniser.task.strength({"logits": logits}, recogniser.facts)[:, label], np.float32)


def overlapped(
    grid_hw: tuple[int, int], boxes_xyxy: NDArray[np.floating], size_wh: tuple[int, int]
) -> NDArray[np.bool_]:
    """Which cells [h, w] of a picture of this size overlap one of the boxes [B, 4]."""
    h, w = grid_hw
    rows, columns = np.mgrid[:h, :w]
    cell_w, cell_h = size_wh[0] / w, size_wh[1] / h
    found = np.zeros((h, w), bool)
    for x0, y0, x1, y1 in np.asarray(boxes_xyxy, np.float64):
        across = (x0 < (columns + 1) * cell_w) & (x1 > columns * cell_w)
        found |= across & (y0 < (rows + 1) * cell_h) & (y1 > rows * cell_h)
    return found


def pointing_game(recogniser: Recogniser, samples: Sequence[Sample]) -> dict[str, Any] | None:
    """How often the peak cell of a map overlaps a box of its picture: `occlusion`, `evidence` for the predicted class,
    `attention` of the first map that is not uniform, and `chance`, the share of all cells that do. None where no sample
    has boxes or no picture can be used."""
    hits: dict[str, list[float]] = {"evidence": [], "occlusion": [], "attention": [], "chance": []}
    for sample in samples:
        if sample.boxes is None or not len(sample.boxes.xyxy):
            continue
        try:
            data = read_bytes(sample.path)
            found = explain_picture(recogniser, data, Question())
            boxes = plain(read_frame(data).size_wh, recogniser.preprocess).boxes(sample.boxes.xyxy)
        except PictureError:
            continue
        touched = overlapped(found.evidence.shape, boxes, recogniser.preprocess.size_wh).ravel()
        hits["evidence"].append(touched[found.evidence.argmax()])
        hits["chance"].append(touched.mean())
        if found.occlusion is not None:
            hits["occlusion"].append(touched[found.occlusion.argmax()])
        attending = [a for a in found.attention if np.ptp(a) > UNIFORM]
        if attending:
            hits["attention"].append(touched[attending[0].argmax()])
    if not hits["evidence"]:
        return None
    shares = {name: float(np.mean(values)) for name, values in hits.items() if values}
    bounds = {f"{name}_ci": mean_interval(np.array(hits[name], bool)) for name in shares if name != "chance"}
    return {"n": len(hits["evidence"]), **shares, **bounds}
