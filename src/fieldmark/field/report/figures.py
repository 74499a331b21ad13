"""What is drawn of an evaluation beside class answers: rates of two classes, single labels, true and stated numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldmark.field.evaluate.classification import curves
from fieldmark.field.runtime.evaluation import Evaluation

from .charts import CHART_WH, MARGINS, Frame, axes, escape, svg, text
from .words import ERROR_WORDS, is_number, mapping, number, percent

Figure = tuple[str, str]  # SVG, and how to read it
MOST_POINTS = 500
CURVE_POINTS = 200


def figures(facts: Mapping[str, Any], evaluation: Evaluation) -> list[Figure]:
    """The figures of one part; none where there is nothing to draw."""
    task, scores = facts.get("task"), evaluation.scores
    if task == "regress":
        return _numbers(evaluation)
    if task == "classify" and is_number(scores.get("roc_auc")):
        return _rates(facts["classes"], evaluation)
    return []


def _rates(classes: Sequence[str], evaluation: Evaluation) -> list[Figure]:
    """The curves of pictures whose class is known, as their areas are."""
    scores, positive = evaluation.scores, evaluation.scores["positive"]
    known = np.array([s.label in classes for s in evaluation.samples])
    truth = np.array([s.label == positive for s in evaluation.samples])
    chances = [next(s.probability for s in p.labels if s.label == positive) for p in evaluation.predictions]
    drawn = curves(truth[known], np.array(chances)[known])
    rates = (1 - scores["specificity"], scores["sensitivity"])
    roc = curve_chart(drawn["roc"], "others called so (%)", "found (%)", f"ROC curve of {positive}", rates)
    name = f"Precision and recall of {positive}"
    recall = curve_chart(drawn["precision_recall"], "found (%)", "right among them (%)", name)
    return [
        (roc, f"ROC: how many “{positive}” are found, at how many others called so. The dot is the operating point."),
        (recall, f"Precision and recall: how many of those called “{positive}” are, at how many found."),
    ]


def _numbers(evaluation: Evaluation) -> list[Figure]:
    pairs = [
        (sample.target, prediction.extra["value"])
        for sample, prediction in zip(evaluation.samples, evaluation.predictions, strict=True)
        if sample.target is not None and "value" in prediction.extra
    ]
    step = max(1, -(-len(pairs) // MOST_POINTS))
    words = "True number across, stated one up; on the dashed line both are the same."
    return [(scatter(np.array(pairs[::step])), words)] if pairs else []


def curve_chart(
    points: Sequence[tuple[float, float]], x_name: str, y_name: str, label: str, mark: tuple[float, float] | None = None
) -> str:
    """One curve of shares over shares, `mark` a point on it."""
    frame = Frame()
    kept = [*points[:: max(1, len(points) // CURVE_POINTS)], *points[-1:]]
    line = " ".join(f"{frame.x(x)},{frame.y(y)}" for x, y in kept)
    parts = [axes(frame, x_name, y_name), f'<polyline class="curve" points="{line}"/>']
    if mark is not None:
        words = escape(f"{percent(mark[1])} found, {percent(mark[0])} of the others called so")
        dot = f'<circle class="mark" cx="{frame.x(mark[0])}" cy="{frame.y(mark[1])}" r="5">'
        parts.append(f"{dot}<title>{words}</title></circle>")
    return svg(CHART_WH, label, "".join(parts))


def scatter(pairs: NDArray[np.float64]) -> str:
    """True and stated numbers [N, 2] as points on two axes of one scale."""
    frame = Frame()
    low, high = (float(v) for v in (pairs.min(), pairs.max()))
    span = (high - low) or 1.0
    parts = [_number_axes(frame, low, span)]
    parts.append(f'<line class="ideal" x1="{frame.x(0)}" y1="{frame.y(0)}" x2="{frame.x(1)}" y2="{frame.y(1)}"/>')
    for true, stated in pairs.tolist():
        x, y = frame.x((true - low) / span), frame.y((stated - low) / span)
        words = escape(f"truly {number(true)}, stated {number(stated)}")
        parts.append(f'<circle class="dot" cx="{x}" cy="{y}" r="3"><title>{words}</title></circle>')
    return svg(CHART_WH, "True and stated numbers", "".join(parts))


def _number_axes(frame: Frame, low: float, span: float) -> str:
    parts = []
    for tick in np.linspace(0, 1, 6):
        x, y, words = frame.x(float(tick)), frame.y(float(tick)), f"{low + tick * span:.3g}"
        parts.append(f'<line class="grid" x1="{x}" y1="{frame.y(1)}" x2="{x}" y2="{frame.y(0)}"/>')
        parts.append(f'<line class="grid" x1="{frame.x(0)}" y1="{y}" x2="{frame.x(1)}" y2="{y}"/>')
        parts.append(text(x, CHART_WH[1] - MARGINS[3] + 16, words) + text(MARGINS[0] - 6, y + 4, words, "end"))
    parts.append(text(frame.x(0.5), CHART_WH[1] - 8, "true", more=' class="axis"'))
    return "".join(parts) + text(frame.x(0) + 6, frame.y(1) + 14, "stated", "start", ' class="axis"')


@dataclass(frozen=True)
class Table:
    """A table of the page: the first cell of each row is a name, the others are numbers in words."""

    caption: str
    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def tables(facts: Mapping[str, Any], scores: Mapping[str, Any]) -> list[Table]:
    """What is told class by class beside class answers; none where there is nothing."""
    make = TABLES.get(str(facts.get("task")))
    return make(facts, scores) if make is not None and scores.get("per_class") else []


def _groups(facts: Mapping[str, Any], scores: Mapping[str, Any]) -> list[Table]:
    rows = [
        (*_shares(name, row, "recall", "precision", "f1"), _n(row))
        for name, row in _sorted(scores, "recall", "per_coarse_class")
    ]
    caption = "Group by group, the lowest recall first: the group whose classes are together the most probable."
    return [Table(caption, ("Group", "Recall", "Precision", "F1", "Pictures"), rows)] if rows else []


def _labels(facts: Mapping[str, Any], scores: Mapping[str, Any]) -> list[Table]:
    bounds = dict(zip(facts.get("classes") or (), facts.get("label_thresholds") or (), strict=False))
    rows = [
        (*_shares(name, row, "average_precision", "recall", "precision", "f1"), percent(bounds.get(name), 0), _n(row))
        for name, row in _sorted(scores, "average_precision")
    ]
    caption = (
        "Label by label, the lowest average precision first. A label is said from its own threshold on, fitted on "
        "validation."
    )
    heads = ("Label", "Average precision", "Recall", "Precision", "F1", "Threshold", "Pictures")
    return [Table(caption, heads, rows)]


def _boxes(facts: Mapping[str, Any], scores: Mapping[str, Any]) -> list[Table]:
    rows = [
        (*_shares(name, row, "ap50", "ap", "recall", "precision"), _n(row)) for name, row in _sorted(scores, "ap50")
    ]
    from_on = percent(mapping(facts.get("thresholds")).get("shown_from"), 0)
    caption = (
        "Class by class, the lowest average precision first: at half overlap, and the mean over overlaps from 50 to "
        f"95 %. Recall and precision are those of the boxes shown, which are right with a chance of {from_on} or more: "
        "the best F1 on validation."
    )
    heads = ("Class", "AP 50", "AP", "Recall", "Precision", "True boxes")
    kinds = mapping(scores.get("errors"))
    errors = [(ERROR_WORDS[kind], number(kinds[kind])) for kind in ERROR_WORDS if kind in kinds]
    wrong = "Of the boxes shown, those that are wrong, and where they lie (half overlap is right, a tenth is beside)."
    return [Table(caption, heads, rows), Table(wrong, ("Boxes", "Times"), errors)]


def _masks(facts: Mapping[str, Any], scores: Mapping[str, Any]) -> list[Table]:
    keys = ("iou", "recall", "precision", "boundary_f", "marked", "found")
    rows = [(*_shares(name, row, *keys), _n(row)) for name, row in _sorted(scores, "iou")]
    caption = (
        "Class by class, the lowest IoU first. Recall and precision are of pixels; marked are those of a thing that "
        "are called any thing; found, pictures that show it of which a tenth or more is."
    )
    heads = ("Class", "IoU", "Recall", "Precision", "Boundary F", "Marked", "Found", "Pictures")
    return [Table(caption, heads, rows)]


def _sorted(scores: Mapping[str, Any], key: str, rows: str = "per_class") -> list[tuple[str, Mapping[str, Any]]]:
    return sorted(mapping(scores.get(rows)).items(), key=lambda row: row[1].get(key) or 0.0)


def _shares(name: str, row: Mapping[str, Any], *keys: str) -> tuple[str, ...]:
    return (name, *(percent(row.get(key), 0) for key in keys))


def _n(row: Mapping[str, Any]) -> str:
    return number(row.get("n"))


TABLES: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], list[Table]]] = {
    "classify": _groups,
    "multilabel": _labels,
    "detect": _boxes,
    "segment": _masks,
}
