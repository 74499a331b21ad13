"""The charts' numbers, recomputed from what is drawn, and their form."""

import itertools
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from fieldmark.field.report import charts, figures, findings, words


def points_of(svg, frame):
    """(x, y) values of the curve, from its units back to fractions."""
    x0, x1, y0, y1 = frame.x(0), frame.x(1), frame.y(frame.y_low), frame.y(1)
    line = ElementTree.fromstring(svg).find("polyline").get("points")
    pairs = [tuple(map(float, pair.split(","))) for pair in line.split()]
    return [((x - x0) / (x1 - x0), frame.y_low + (y - y0) / (y1 - y0) * (1 - frame.y_low)) for x, y in pairs]


def test_coverage_is_the_accuracy_among_the_most_confident():
    rng = np.random.default_rng(3)
    confidence = rng.permutation(np.linspace(0.2, 0.99, 50))
    correct = rng.random(50) < confidence
    curve = findings.coverage_curve(confidence, correct)
    ranked = sorted(zip(confidence, correct, strict=True), reverse=True)
    for k, (share, accuracy) in enumerate(curve, 1):
        assert share == pytest.approx(k / 50)
        assert accuracy == pytest.approx(sum(bool(right) for _, right in ranked[:k]) / k)
    frame = charts.Frame(y_low=next(low for low in charts.AXIS_STARTS if low <= min(a for _, a in curve)))
    assert np.allclose(points_of(charts.coverage_chart(curve), frame), curve, atol=2e-4)


def test_coverage_does_not_part_equal_confidences():
    curve = findings.coverage_curve(np.array([0.9, 0.5, 0.5, 0.5]), np.array([True, True, False, False]))
    assert curve == [(0.25, 1.0), (1.0, 0.5)]
    assert findings.coverage_curve(np.full(5, 0.7), np.ones(5, bool)) == [(1.0, 1.0)]
    assert findings.coverage_curve(np.array([]), np.array([], bool)) == []


def test_coverage_begins_at_least_pictures_and_keeps_its_end_when_thinned():
    confidence = np.linspace(1, 0.1, 5000)
    curve = findings.coverage_curve(confidence, np.arange(5000) % 3 > 0, at_least=10)
    assert len(curve) == findings.COVERAGE_POINTS
    assert curve[0][0] == 10 / 5000
    assert curve[-1] == (1.0, pytest.approx(3333 / 5000))


def test_reliability_dots_stand_where_the_numbers_say():
    bins = [(10, 0.25, 0.5), (40, 0.95, 0.9)]
    root = ElementTree.fromstring(charts.reliability_diagram(bins))
    frame = charts.Frame()
    dots = root.findall("circle")
    assert [(float(d.get("cx")), float(d.get("cy"))) for d in dots] == [(frame.x(s), frame.y(r)) for _, s, r in bins]
    areas = [(float(d.get("r")) - 3) ** 2 for d in dots]
    assert areas[1] / areas[0] == pytest.approx(4, rel=0.01)
    assert dots[1].find("title").text == "says 95.0 %, right 90.0 %, 40 pictures"


def test_two_classes_have_both_curves_and_the_operating_point(evaluation_of):
    evaluation = evaluation_of(("flaw", "good"), n=40, skill=1.0)
    facts = {"task": "classify", "classes": ["flaw", "good"]}
    (roc, _), (recall, _) = figures.figures(facts, evaluation)
    scores, frame = evaluation.scores, charts.Frame()
    truth = np.array([sample.label == scores["positive"] for sample in evaluation.samples])
    said = [{row.label: row.probability for row in prediction.labels} for prediction in evaluation.predictions]
    chances = np.array([row[scores["positive"]] for row in said])
    order = np.argsort(-chances)
    found = np.cumsum(truth[order]) / truth.sum()
    wrong, right = np.cumsum(~truth[order]) / (~truth).sum(), np.cumsum(truth[order]) / np.arange(1, 41)
    for across, up in points_of(roc, frame):
        assert np.min(np.abs(np.r_[0, wrong] - across) + np.abs(np.r_[0, found] - up)) < 2e-4
    drawn = np.array(points_of(recall, frame))
    for across, up in zip(found, right, strict=True):
        assert np.abs(drawn - [across, up]).sum(1).min() < 2e-4
    dot = ElementTree.fromstring(roc).find("circle")
    assert float(dot.get("cx")) == frame.x(1 - scores["specificity"])
    assert float(dot.get("cy")) == frame.y(scores["sensitivity"])


def test_pictures_of_unknown_classes_are_in_neither_curve(evaluation_of):
    facts = {"task": "classify", "classes": ["flaw", "good"]}
    known = evaluation_of(("flaw", "good"), n=40, skill=1.0)
    stranger = replace(known.samples[0], labels=("stranger",))
    more = replace(known, samples=(*known.samples, stranger), predictions=(*known.predictions, known.predictions[0]))
    assert figures.figures(facts, more)[0] == figures.figures(facts, known)[0]


def test_heat_map_shows_every_count_once_as_a_share_of_its_row():
    counts = np.array([[3, 1, 0], [0, 0, 0], [2, 0, 5]])
    svg = charts.heat_map(["a", "b", "c"], counts, np.array([5, 0, 7]))
    root = ElementTree.fromstring(svg)
    cells = {r.find("title").text: r for r in root.findall("rect") if r.find("title") is not None}
    assert set(cells) == {"a named a: 3", "a named b: 1", "c named a: 2", "c named c: 5"}
    assert {t: r.get("class") for t, r in cells.items()}["c named a: 2"] == "wrong"
    assert float(cells["a named a: 3"].get("fill-opacity")) == pytest.approx(0.12 + 0.88 * 3 / 5, abs=0.01)
    assert sorted(t.text for t in root.findall("text") if "count" in (t.get("class") or "")) == ["1", "2", "3", "5"]


def test_timeline_is_as_long_as_the_steps_and_in_their_order():
    root = ElementTree.fromstring(charts.timeline([("read", 1.0), ("train", 7.0), ("export", 2.0)]))
    bars = [(float(r.get("x")), float(r.get("width"))) for r in root.findall("rect")]
    assert bars == [(0, 100), (100, 700), (800, 200)]
    assert [t.text for t in root.iter("title")] == ["read: 1.0 s", "train: 7.0 s", "export: 2.0 s"]


def test_whisker_and_meter_keep_inside():
    root = ElementTree.fromstring(charts.whisker(0.75, 0.5, 1.2))
    spot, span = root.find("line"), root.findall("rect")[1]
    assert (float(spot.get("x1")), float(span.get("x")), float(span.get("width"))) == (150, 100, 100)
    assert ElementTree.fromstring(charts.meter(2.0)).findall("rect")[1].get("width") == "60.0"


def test_charts_of_nothing_are_well_formed():
    empty = np.zeros((0, 0), np.int64)
    for svg in (
        charts.reliability_diagram([]),
        charts.coverage_chart([]),
        charts.heat_map([], empty, np.zeros(0, np.int64)),
        charts.timeline([]),
        charts.timeline([("nothing", 0.0)]),
    ):
        assert ElementTree.fromstring(svg).get("role") == "img"


def test_hostile_names_stay_text(hostile):
    n = len(hostile)
    counts = np.ones((n, n), np.int64)
    root = ElementTree.fromstring(charts.heat_map(hostile, counts, counts.sum(1)))
    assert {e.tag for e in root.iter()} == {"svg", "rect", "text", "title"}
    assert f"{hostile[0]} named {hostile[3]}: 1" in {t.text for t in root.iter("title")}
    ElementTree.fromstring(charts.timeline([(name, 1.0) for name in hostile]))


def test_coverage_axis_reads_in_even_steps():
    for lowest, first in ((0.95, "90"), (0.8, "75"), (0.6, "50"), (0.2, "0")):
        texts = re.findall(r'text-anchor="end">(\d+)<', charts.coverage_chart([(1.0, lowest)]))
        assert texts[0] == first
        assert texts[-1] == "100"
        assert len({int(b) - int(a) for a, b in itertools.pairwise(texts)}) == 1


def test_shorten_counts_wide_characters_and_cuts_no_joined_ones():
    assert words.shorten("short", 10) == "short"
    assert words.shorten("杜鹃花科植物", 7) == "杜鹃花…"
    assert words.width(words.shorten("a" * 100, 22)) == 22
    assert not words.shorten("🧑\u200d🌾🧑\u200d🌾", 6).rstrip("…").endswith("\u200d")


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.84, "0.8 s"), (48.4, "48 s"), (185, "3 min 05 s"), (59.7, "1 min 00 s"), (7800, "2 h 10 min")],
)
def test_seconds(value, said):
    assert words.seconds(value) == said


@pytest.mark.parametrize(
    ("place", "shown"),
    [("/home/me/birds/", "birds"), ("C:\\pics\\birds", "birds"), ("/a/birds/labels.csv", "birds/labels.csv"), ("", "")],
)
def test_last_name_tells_no_place(place, shown):
    assert words.last_name(place) == shown
