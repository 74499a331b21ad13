"""The worst mistakes: which, in what order, and the evidence beside them."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from fieldmark.field.report import mistakes, worst
from fieldmark.field.runtime.evidence import OUTPUTS
from fieldmark.field.tasks import get_task
from fieldmark.types import Prediction, Preprocess, Sample, Score

NAMES = ("a", "b", "c")


@pytest.fixture
def asked(monkeypatch):
    """The questions put to the explainer; its answer is a fixed map."""
    questions = []

    def explain(_, source, question):
        questions.append((Path(source).name, question.label, question.against))
        return SimpleNamespace(evidence=np.array([[1, -1]], np.float32))

    monkeypatch.setattr(worst, "explain_picture", explain)
    return questions


def recogniser(outputs=OUTPUTS, task="classify"):
    return SimpleNamespace(
        task=get_task("classify") if task == "classify" else SimpleNamespace(name=task),
        classes=NAMES,
        preprocess=Preprocess((8, 8)),
        bundle=SimpleNamespace(facts={"outputs": {name: [] for name in outputs}}),
    )


@pytest.fixture
def evaluation(tmp_path, evaluation_of):
    rows = [  # truth, answers
        ("a", "a", 0.99),
        ("a", "b", 0.6),
        ("dodo", "c", 0.99),
        ("b", "c", 0.9),
        ("c", "b", 0.95),  # its file is gone
    ]
    samples, predictions = [], []
    for i, (truth, answer, p) in enumerate(rows):
        path = tmp_path / f"{i}.jpg"
        if i != 4:
            Image.new("RGB", (1000, 500), (90, 90, 90)).save(path)
        samples.append(Sample(path, f"pics/{i}.jpg", (truth,)))
        others = tuple(Score(n, (1 - p) / 2) for n in NAMES if n != answer)
        predictions.append(Prediction(f"pics/{i}.jpg", (Score(answer, p), *others)))
    return replace(evaluation_of(NAMES), samples=tuple(samples), predictions=tuple(predictions))


def test_worst_first_unknown_last_and_missing_files_passed_by(asked, evaluation):
    found = mistakes(recogniser(), evaluation)
    assert [(m.path, m.predicted, m.truth) for m in found] == [
        ("pics/3.jpg", "c", "b"),
        ("pics/1.jpg", "b", "a"),
        ("pics/2.jpg", "c", "dodo"),
    ]
    assert [m.probability_of_truth for m in found] == [pytest.approx(0.05), pytest.approx(0.2), 0.0]
    assert asked == [("3.jpg", "c", "b"), ("1.jpg", "b", "a"), ("2.jpg", "c", None)]
    assert found[0].part == "test"


def test_pictures_are_small_and_show_evidence_on_both_sides(asked, evaluation):
    first = mistakes(recogniser(), evaluation, most=1)[0]
    assert len(asked) == 1
    assert first.picture.shape == first.overlay.shape == (240, 480, 3)
    left, right = first.overlay[120, 20], first.overlay[120, 460]
    assert left[0] > left[2]  # orange, for
    assert right[2] > right[0]  # blue, against


def test_without_the_outputs_there_is_no_evidence(asked, evaluation):
    found = mistakes(recogniser(outputs=("logits",)), evaluation)
    assert [m.overlay for m in found] == [None] * 3
    assert asked == []


def test_other_tasks_have_none(evaluation):
    assert mistakes(recogniser(task="multilabel"), evaluation) == []
