"""Charts as SVG text: small pure functions, numbers in, a well-formed element out; colours come from the page's style.

A chart is about 420 units wide so that its text stays readable on a phone. Exact values stand in `<title>` elements.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape as xml_escape
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from .words import clean, percent, seconds, shorten, width

CHART_WH = (420, 330)
MARGINS = (52, 14, 14, 46)  # left, top, right, bottom
COLUMN_UNITS = 6.4  # width of one text column at 11 units
LABEL_COLUMNS = 22
STEP_COLOURS = 6
AXIS_STARTS = (0.9, 0.75, 0.5, 0.0)  # five even steps of 2, 5, 10 or 20 % up to 100 %


@dataclass(frozen=True)
class Frame:
    """The plotting area: maps x in [0, 1] and y in [`y_low`, 1] to units of the chart."""

    y_low: float = 0.0

    def x(self, value: float) -> float:
        left, _, right, _ = MARGINS
        return round(left + value * (CHART_WH[0] - left - right), 2)

    def y(self, value: float) -> float:
        _, top, _, bottom = MARGINS
        height = CHART_WH[1] - top - bottom
        return round(top + (1 - (value - self.y_low) / (1 - self.y_low)) * height, 2)


def escape(text: object) -> str:
    """`text` for the inside of an element."""
    return xml_escape(clean(text))


def svg(size_wh: tuple[float, float], label: str, body: str, kind: str = "chart") -> str:
    """An SVG element of this size in units; `label` is what a screen reader says of it."""
    w, h = (f"{v:g}" for v in size_wh)
    return (
        f'<svg class="{kind}" role="img" aria-label={quoteattr(clean(label))} '
        f'viewBox="0 0 {w} {h}" width="{w}" height="{h}">{body}</svg>'
    )


def text(x: float, y: float, words: object, anchor: str = "middle", more: str = "") -> str:
    """A piece of text at a point; `more` is further attributes."""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{more}>{escape(words)}</text>'


def axes(frame: Frame, x_name: str, y_name: str) -> str:
    """Grid lines with percentages, and the names of both axes."""
    parts: list[str] = []
    for tick in np.linspace(0, 1, 6):
        x = frame.x(float(tick))
        parts.append(f'<line class="grid" x1="{x}" y1="{frame.y(1)}" x2="{x}" y2="{frame.y(frame.y_low)}"/>')
        parts.append(text(x, CHART_WH[1] - MARGINS[3] + 16, f"{100 * tick:.0f}"))
    for tick in np.linspace(frame.y_low, 1, 6):
        y = frame.y(float(tick))
        parts.append(f'<line class="grid" x1="{frame.x(0)}" y1="{y}" x2="{frame.x(1)}" y2="{y}"/>')
        parts.append(text(MARGINS[0] - 8, y + 4, f"{100 * tick:.0f}", "end"))
    middle = frame.y((1 + frame.y_low) / 2)
    parts.append(text(frame.x(0.5), CHART_WH[1] - 8, x_name, more=' class="axis"'))
    parts.append(text(14, middle, y_name, more=f' class="axis" transform="rotate(-90 14 {middle})"'))
    return "".join(parts)


def reliability_diagram(bins: Sequence[tuple[int, float, float]]) -> str:
    """Stated probability against truth, from (count, mean confidence, accuracy) a bin; a dot's area is its count."""
    frame = Frame()
    most = max((n for n, _, _ in bins), default=1)
    line = f'<line class="ideal" x1="{frame.x(0)}" y1="{frame.y(0)}" x2="{frame.x(1)}" y2="{frame.y(1)}"/>'
    parts = [axes(frame, "it says (%)", "it is right (%)"), line]
    for _, says, right in bins:
        x = frame.x(says)
        parts.append(f'<line class="gap" x1="{x}" y1="{frame.y(says)}" x2="{x}" y2="{frame.y(right)}"/>')
    for n, says, right in bins:
        radius = round(3 + 9 * float(np.sqrt(n / most)), 2)
        words = f"says {percent(says)}, right {percent(right)}, {n} pictures"
        dot = f'<circle class="dot" cx="{frame.x(says)}" cy="{frame.y(right)}" r="{radius}">'
        parts.append(f"{dot}<title>{escape(words)}</title></circle>")
    return svg(CHART_WH, f"Reliability diagram of {len(bins)} groups of pictures", "".join(parts))


def coverage_chart(points: Sequence[tuple[float, float]], mark: tuple[float, float] | None = None) -> str:
    """Accuracy over the share of pictures answered, most confident first; `mark` is the present "unsure" threshold."""
    lowest = min([a for _, a in points] + ([mark[1]] if mark else []), default=0.0)
    frame = Frame(y_low=next(low for low in AXIS_STARTS if low <= lowest))
    parts = [axes(frame, "share of pictures answered (%)", "right among them (%)")]
    line = " ".join(f"{frame.x(c)},{frame.y(a)}" for c, a in points)
    parts.append(f'<polyline class="curve" points="{line}"/>')
    ends = [("all pictures", points[-1], "dot")] if points else []
    ends += [("the sure ones", mark, "mark")] if mark else []
    for name, (coverage, accuracy), kind in ends:
        words = f"{name}: {percent(coverage)} answered, {percent(accuracy)} right"
        dot = f'<circle class="{kind}" cx="{frame.x(coverage)}" cy="{frame.y(accuracy)}" r="5">'
        parts.append(f"{dot}<title>{escape(words)}</title></circle>")
    return svg(CHART_WH, "Accuracy over the share of pictures answered", "".join(parts))


def learning_chart(
    stages: Sequence[tuple[str, Sequence[tuple[float, float]]]], before: float | None, drawn: str
) -> str:
    """A validation score, `drawn` in words, over the share of each stage that was done, the stages side by side;
    `before` is the linear head's, a dashed line."""
    known = [a for _, points in stages for _, a in points] + ([before] if before is not None else [])
    lowest = min(known, default=0.0)
    frame = Frame(y_low=next(low for low in AXIS_STARTS if low <= lowest))
    parts = [axes(frame, "of the training (%)", "in validation (%)")]
    if before is not None:
        ends = f'x1="{frame.x(0)}" y1="{frame.y(before)}" x2="{frame.x(1)}" y2="{frame.y(before)}"'
        words = escape(f"the linear head: {percent(before)}")
        parts.append(f'<line class="ideal" {ends}><title>{words}</title></line>')
    for i, (name, points) in enumerate(stages):
        placed = [((i + done) / len(stages), accuracy) for done, accuracy in points]
        line = " ".join(f"{frame.x(done)},{frame.y(accuracy)}" for done, accuracy in placed)
        parts.append(f'<polyline class="curve" points="{line}"/>')
        for done, accuracy in placed:
            words = escape(f"{name}, {percent(done)} done: {percent(accuracy)}")
            dot = f'<circle class="dot" cx="{frame.x(done)}" cy="{frame.y(accuracy)}" r="3">'
            parts.append(f"{dot}<title>{words}</title></circle>")
    return svg(CHART_WH, f"As training went on: {drawn}", "".join(parts))


def loss_chart(points: Sequence[tuple[float, float]], unit: str) -> str:
    """Validation loss over the share of the training that was done; the axis runs from the least loss to the most."""
    frame = Frame()
    low, high = min(loss for _, loss in points), max(loss for _, loss in points)
    places = [(frame.x(done), frame.y((loss - low) / (high - low or 1.0))) for done, loss in points]
    left, right, bottom = frame.x(0), frame.x(1), CHART_WH[1] - MARGINS[3] + 16
    parts = [text(frame.x(tick), bottom, f"{100 * tick:.0f}") for tick in (0, 0.2, 0.4, 0.6, 0.8, 1)]
    for tick in (0, 0.25, 0.5, 0.75, 1):
        y = frame.y(tick)
        parts.append(f'<line class="grid" x1="{left}" y1="{y}" x2="{right}" y2="{y}"/>')
        parts.append(text(MARGINS[0] - 8, y + 4, f"{low + tick * (high - low):.3g}", "end"))
    parts.append(text(frame.x(0.5), CHART_WH[1] - 8, "of the training (%)", more=' class="axis"'))
    parts.append(text(14, frame.y(0.5), unit, more=f' class="axis" transform="rotate(-90 14 {frame.y(0.5)})"'))
    line = " ".join(f"{x},{y}" for x, y in places)
    parts.append(f'<polyline class="curve" points="{line}"/>')
    for (x, y), (done, loss) in zip(places, points, strict=True):
        words = escape(f"{percent(done)} done: {loss:.4g}")
        parts.append(f'<circle class="dot" cx="{x}" cy="{y}" r="3"><title>{words}</title></circle>')
    return svg(CHART_WH, "Validation loss as training went on", "".join(parts))


def share_chart(lines: Sequence[tuple[str, Sequence[float]]], label: str) -> str:
    """The probability of the answer over the share of cells, evenly spaced; one line each, the first the strongest."""
    frame = Frame()
    parts = [axes(frame, "Share of the cells, %", "Probability of the answer, %")]
    for number, (name, curve) in enumerate(lines):
        places = [(frame.x(i / (len(curve) - 1)), frame.y(v)) for i, v in enumerate(curve)]
        points = " ".join(f"{x},{y}" for x, y in places)
        kind = "curve" if number == 0 else f"curve other{number}"
        parts.append(f'<polyline class="{kind}" points="{points}"><title>{escape(name)}</title></polyline>')
        x, y = places[len(places) // 2]
        parts.append(text(x + 6, y - 6, name, "start"))
    return svg(CHART_WH, label, "".join(parts))


def heat_map(names: Sequence[str], counts: NDArray[np.int64], totals: NDArray[np.int64]) -> str:
    """Confusion matrix [L, L], row = truth, column = answer; a cell is as strong as its share of the total [L]."""
    cell = 34 if len(names) <= 12 else 24 if len(names) <= 25 else 18
    labels = [shorten(clean(name), LABEL_COLUMNS) for name in names]
    long = 14 + COLUMN_UNITS * max((width(label) for label in labels), default=0)
    left, top, side = long + 22, 0.87 * long + 26, cell * len(names)
    parts = [f'<rect class="field" x="{left:g}" y="{top:g}" width="{side}" height="{side}"/>']
    for i, (name, label) in enumerate(zip(names, labels, strict=True)):
        middle = (i + 0.5) * cell
        title = f"<title>{escape(name)}</title>"
        x, y = left + middle + 4, top - 6
        parts.append(f'<text x="{left - 7:g}" y="{top + middle + 4:g}" text-anchor="end">{title}{escape(label)}</text>')
        turned = f'<text x="{x:g}" y="{y:g}" text-anchor="start" transform="rotate(-60 {x:g} {y:g})">'
        parts.append(f"{turned}{title}{escape(label)}</text>")
    parts += _cells(names, counts / np.maximum(totals, 1)[:, None], counts, cell, (left, top))
    parts.append(text(left + side / 2, 12, "named as", more=' class="axis"'))
    y = top + side / 2
    parts.append(text(12, y, "truly", more=f' class="axis" transform="rotate(-90 12 {y:g})"'))
    size_wh = (round(left + side + 0.5 * long + 8), round(top + side + 6))
    return svg(size_wh, f"Confusion matrix of {len(names)} classes", "".join(parts), "chart matrix")


def _cells(
    names: Sequence[str],
    shares: NDArray[np.float64],
    counts: NDArray[np.int64],
    cell: int,
    corner: tuple[float, float],
) -> list[str]:
    parts: list[str] = []
    for row, column in np.argwhere(counts):
        n, share = int(counts[row, column]), float(shares[row, column])
        x, y = corner[0] + cell * column, corner[1] + cell * row
        kind = "right" if row == column else "wrong"
        words = f"{names[row]} named {names[column]}: {n}"
        parts.append(
            f'<rect class="{kind}" x="{x + 0.5:g}" y="{y + 0.5:g}" width="{cell - 1}" height="{cell - 1}" '
            f'fill-opacity="{0.12 + 0.88 * share:.2f}"><title>{escape(words)}</title></rect>'
        )
        if cell >= 24:
            strong = ' class="count strong"' if share > 0.45 else ' class="count"'
            parts.append(text(x + cell / 2, y + cell / 2 + 4, n, more=strong))
    return parts


def timeline(steps: Sequence[tuple[str, float]]) -> str:
    """One bar of the steps of a run, each as long as its share of the seconds; stretched to the page's width."""
    total = sum(s for _, s in steps) or 1.0
    parts: list[str] = []
    start = 0.0
    for i, (name, duration) in enumerate(steps):
        long = 1000 * duration / total
        title = f"<title>{escape(f'{name}: {seconds(duration)}')}</title>"
        place = f'x="{start:.2f}" y="0" width="{long:.2f}" height="26"'
        parts.append(f'<rect class="step{i % STEP_COLOURS}" {place}>{title}</rect>')
        start += long
    bar = svg((1000, 26), f"Timeline of {len(steps)} steps, {seconds(total)} in all", "".join(parts), "timeline")
    return bar.replace("<svg ", '<svg preserveAspectRatio="none" ', 1)


def whisker(value: float, low: float, high: float) -> str:
    """A score and its interval, all in [0, 1], on a bar from 0 to 1."""
    spot, start, end = (round(200 * min(1.0, max(0.0, v)), 2) for v in (value, low, high))
    body = (
        '<rect class="track" x="0" y="6" width="200" height="4" rx="2"/>'
        f'<rect class="range" x="{start}" y="3" width="{round(max(2.0, end - start), 2)}" height="10" rx="2"/>'
        f'<line class="spot" x1="{spot}" y1="0" x2="{spot}" y2="16"/>'
    )
    return svg((200, 16), f"{percent(value)}, between {percent(low)} and {percent(high)}", body, "whisker")


def meter(value: float) -> str:
    """A fraction as a small bar."""
    long = round(60 * min(1.0, max(0.0, value)), 2)
    body = f'<rect class="track" width="60" height="6" rx="3"/><rect class="full" width="{long}" height="6" rx="3"/>'
    return svg((60, 6), percent(value), body, "meter")
