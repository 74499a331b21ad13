from pathlib import Path

import numpy as np
import pytest

from fieldmark.field.tasks import TaskFacts
from fieldmark.field.tasks.multilabel import MultiLabel
from fieldmark.types import Sample

LABELS = ("crack", "dent", "spot")
TASK = MultiLabel()


def outputs_for(probabilities) -> dict[str, np.ndarray]:
    p = np.asarray(probabilities, np.float64)
    return {"logits": np.log(p / (1 - p))}


def samples(*labels: str) -> list[Sample]:
    return [Sample(Path(f"{i}"), f"{i}", tuple(label.split())) for i, label in enumerate(labels)]


def test_labels_at_or_above_their_own_thresholds_are_present():
    facts = TaskFacts(LABELS, label_thresholds=(0.2, 0.5, 0.9))
    (one,) = TASK.predict(["a.jpg"], outputs_for([[0.3, 0.6, 0.8]]), facts)
    assert one.extra == {"present": ["dent", "crack"]}
    assert [s.label for s in one.labels] == ["spot", "dent", "crack"]
    assert [s.probability for s in one.labels] == pytest.approx([0.8, 0.6, 0.3])
    assert one.to_json()["present"] == ["dent", "crack"]


@pytest.mark.parametrize(("p", "unsure"), [([0.9, 0.9, 0.9], False), ([0.9, 0.7, 0.7], True), ([0.1, 0.1, 0.1], False)])
def test_unsure_is_a_set_of_labels_more_likely_wrong_than_right(p, unsure):
    (one,) = TASK.predict([""], outputs_for([p]), TaskFacts(LABELS))
    assert one.unsure is unsure


def test_scores_count_pictures_without_labels_and_name_unknown_ones():
    found = TASK.score(
        samples("crack dent", "", "spot rust"),
        outputs_for([[0.9, 0.8, 0.1], [0.1, 0.1, 0.2], [0.4, 0.1, 0.7]]),
        TaskFacts(LABELS),
    )
    assert (found["n"], found["subset_accuracy"], found["micro_f1"], found["map"]) == (3, 1, 1, 1)
    assert found["unknown_classes"] == ["rust"]


def test_each_picture_has_its_own_f1():
    p = [[0.9, 0.8, 0.1], [0.1, 0.1, 0.2], [0.9, 0.1, 0.7]]
    assert TASK.each(samples("crack", "", "dent"), outputs_for(p), TaskFacts(LABELS)).tolist() == pytest.approx(
        [2 / 3, 1, 0]
    )


def test_margins_are_the_distance_to_the_nearest_threshold_in_logits():
    facts = TaskFacts(LABELS, temperature=2.0, label_thresholds=(0.5, 0.5, 0.9))
    logits = np.array([[3.0, -0.5, 0.0], [9.0, 9.0, 2 * np.log(9) + 0.1]])
    assert TASK.margins(logits, facts).tolist() == pytest.approx([0.5, 0.1])
    assert TASK.decisions(logits, facts).tolist() == [[True, False, False], [True, True, True]]
    said = TASK.strength({"logits": logits}, facts) >= np.array(facts.label_thresholds)
    assert (said == TASK.decisions(logits, facts)).all()


def test_a_ranking_by_chance_has_the_share_of_each_label():
    guess = TASK.guess(samples("crack dent", "crack", "", ""), TaskFacts(LABELS))
    assert (guess.key, guess.score) == ("map", pytest.approx((0.5 + 0.25) / 2))
