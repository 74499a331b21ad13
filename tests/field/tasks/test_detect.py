"""Boxes from a network's outputs: in the picture's own pixels, scored, compared, and in rows."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from fieldmark import printing
from fieldmark.data.index import Index
from fieldmark.errors import DataError
from fieldmark.field.tasks import TaskFacts, get_task
from fieldmark.geometry import plain
from fieldmark.types import Boxes, Preprocess, Sample

TASK = get_task("detect")
CLASSES = ("kite", "wren")
FACTS = TaskFacts(CLASSES, thresholds={"shown_from": 0.5, "unsure_below": 0.6})
TRUE = {"a.png": [("kite", 10, 10, 60, 50), ("wren", 100, 20, 140, 90)], "b.png": []}


def sample(name: str, rows=None) -> Sample:
    rows = TRUE[name] if rows is None else rows
    xyxy = np.array([row[1:] for row in rows], np.float32).reshape(-1, 4)
    labels = tuple(row[0] for row in rows)
    return Sample(Path(name), name, tuple(sorted(set(labels))), boxes=Boxes(xyxy, labels))


SAMPLES = [sample("a.png"), sample("b.png")]


def outputs(rows) -> dict[str, np.ndarray]:
    """What the task keeps of one picture where these (x0, y0, x1, y1, score, class) are found."""
    found = np.zeros((300, 6), np.float32)
    found[: len(rows)] = np.array(rows, np.float32).reshape(-1, 6)
    return {"found": found}


def both(first, second=()):
    kept = [outputs(first), outputs(list(second))]
    return {"found": np.stack([k["found"] for k in kept])}


RIGHT = [[10, 10, 60, 50, 0.9, 0], [100, 20, 140, 90, 0.55, 1]]


def test_boxes_are_kept_in_the_pixels_of_the_picture_and_once_each():
    geometry = plain((200, 100), Preprocess((64, 64), "pad"))  # the picture fills rows 16 to 48
    placed = geometry.boxes(np.array([[10, 10, 60, 50], [12, 10, 60, 50], [100, 20, 140, 90], [-20, -20, 30, 40]]))
    logits = np.array([[3.0, -9], [2.0, -9], [-9, 1.0], [-9, -9]])
    found = TASK.keep({"logits": logits, "boxes": placed}, geometry, FACTS)["found"]
    assert found.shape == (300, 6)
    there = found[found[:, 4] > 0]
    np.testing.assert_allclose(there[:, :4], [[10, 10, 60, 50], [100, 20, 140, 90]], atol=1e-3)
    np.testing.assert_allclose(there[:, 4], 1 / (1 + np.exp([-3, -1])), atol=1e-6)
    assert there[:, 5].tolist() == [0, 1]


def test_a_prediction_shows_boxes_from_the_threshold_on():
    first, second = TASK.predict(["a.png", "b.png"], both([*RIGHT, [0, 0, 9, 9, 0.3, 0]]), FACTS)
    assert [(b["label"], b["xyxy"]) for b in first.extra["boxes"]] == [
        ("kite", [10, 10, 60, 50]),
        ("wren", [100, 20, 140, 90]),
    ]
    assert [s.label for s in first.labels] == ["kite", "wren"]
    assert first.labels[0].probability == pytest.approx(0.9, abs=1e-6)
    assert first.unsure is True  # the wren is shown with 0.55
    assert (second.extra, second.unsure) == ({"boxes": []}, False)
    assert first.to_json()["boxes"] == first.extra["boxes"]


def test_a_calibrated_chance_is_a_line_on_the_logit():
    facts = TaskFacts(CLASSES, temperature=0.5, offset=1.0, thresholds={"shown_from": 0.99})
    (said, _) = TASK.predict(["a.png", "b.png"], both(RIGHT), facts)
    assert said.labels[0].probability == pytest.approx(1 / (1 + np.exp(-(2 * np.log(9) + 1))), abs=1e-5)
    assert [b["label"] for b in said.extra["boxes"]] == ["kite"]


def test_scores_are_those_of_the_contract():
    scores = TASK.score(SAMPLES, both(RIGHT, [[0, 0, 20, 20, 0.7, 1]]), FACTS)
    assert (scores["n"], scores["boxes"]) == (2, 2)
    assert scores["per_class"]["kite"]["ap50"] == pytest.approx(1)
    assert scores["per_class"]["wren"]["ap50"] == pytest.approx(0.5)  # the false one stands before
    assert scores["map50"] == pytest.approx(0.75)
    assert scores["map50_ci"][0] <= 0.75 <= scores["map50_ci"][1]
    assert (scores["precision"], scores["recall"]) == (pytest.approx(2 / 3), 1.0)
    assert scores["errors"]["background"] == 1
    assert TASK.each(SAMPLES, both(RIGHT), FACTS).tolist() == [1, 1]
    assert TASK.each(SAMPLES, both([], [[0, 0, 9, 9, 0.9, 0]]), FACTS).tolist() == [0, 0]
    assert TASK.guess(SAMPLES, FACTS).score == 0


def test_a_class_without_boxes_has_no_precision_and_an_unknown_one_none_at_all():
    samples = [sample("a.png", TRUE["a.png"][:1]), sample("b.png", [("owl", 0, 0, 9, 9)])]
    scores = TASK.score(samples, both(RIGHT[:1]), FACTS)
    assert scores["per_class"]["wren"]["ap50"] is None
    assert scores["per_class"]["owl"]["ap50"] == 0
    assert scores["unknown_classes"] == ["owl"]
    assert scores["map50"] == pytest.approx(0.5)


def test_decisions_are_alike_where_the_same_boxes_are_shown():
    logits = np.array([[[3.0, -9], [-9, 0.5]], [[-9, -9], [-9, -9]]])
    boxes = np.array([[[0, 0, 30, 30], [40, 0, 60, 30]]] * 2, float)
    exact = {"logits": logits, "boxes": boxes}
    fast = {"logits": logits - [0, 0.7], "boxes": boxes + 0.2}
    np.testing.assert_allclose(TASK.alike(exact, exact, FACTS), [1, 1])
    np.testing.assert_allclose(TASK.alike(exact, fast, FACTS), [2 / 3, 1])


def test_outputs_of_another_shape_are_unfit():
    good = {"logits": np.zeros((2, 5, 2)), "boxes": np.zeros((2, 5, 4))}
    assert TASK.unfit(good, 2) == ""
    assert TASK.unfit(good, 3)
    assert TASK.unfit(good | {"boxes": np.zeros((2, 4, 4))}, 2)
    assert TASK.unfit(good | {"boxes": np.zeros((2, 20))}, 2)


def test_only_samples_with_known_boxes_are_taken():
    index = Index("d", (*SAMPLES, Sample(Path("c.png"), "c.png", ("x",))), kind="boxes")
    found = TASK.select(index)
    assert [s.name for s in found.samples] == ["a.png", "b.png"]
    assert [s.name for s in found.skipped] == ["c.png"]
    with pytest.raises(DataError, match="has no boxes"):
        TASK.select(Index("d", SAMPLES[1:]))
    with pytest.raises(DataError, match="has a box"):
        TASK.check(SAMPLES[1:])


def test_rows_of_boxes_as_csv_and_as_coco():
    predictions = TASK.predict(["pictures/000000000042.png", "b.png"], both(RIGHT), FACTS)
    out = io.StringIO()
    printing.write_boxes(out, predictions)
    rows = list(csv.reader(io.StringIO(out.getvalue())))
    assert rows[0] == ["path", "label", "probability", "xmin", "ymin", "xmax", "ymax", "unsure", "error"]
    assert rows[1] == ["pictures/000000000042.png", "kite", "0.900000", "10.0", "10.0", "60.0", "50.0", "true", ""]
    assert rows[3] == ["b.png", "", "", "", "", "", "", "false", ""]
    found = printing.coco_results(predictions[:1], CLASSES)
    assert [(r["image_id"], r["category_id"], r["bbox"]) for r in found] == [
        (42, 1, [10, 10, 50, 40]),
        (42, 2, [100, 20, 40, 70]),
    ]
