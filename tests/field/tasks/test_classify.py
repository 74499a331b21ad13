from pathlib import Path

import numpy as np
import pytest

from fieldmark.errors import UsageError
from fieldmark.field.tasks import TASKS, TaskFacts, get_task
from fieldmark.field.tasks.classify import Classify
from fieldmark.types import Sample

CLASSES = ("ash", "elm", "gull", "tern")
COARSE = {"ash": "tree", "elm": "tree", "gull": "bird", "tern": "bird"}
TASK = Classify()


def outputs_for(probabilities) -> dict[str, np.ndarray]:
    return {"logits": np.log(np.asarray(probabilities, np.float32))}


def samples(*labels: str, coarse: str | None = None) -> list[Sample]:
    return [Sample(Path(f"{i}"), f"{i}", (label,), coarse=coarse) for i, label in enumerate(labels)]


def test_every_task_is_found_under_its_own_name():
    assert all(get_task(name).name == name for name in TASKS)


def test_an_unknown_task_lists_the_near_ones():
    with pytest.raises(UsageError, match="did you mean classify"):
        get_task("clasify")


def test_labels_come_most_probable_first_and_sum_to_one():
    facts = TaskFacts(CLASSES)
    (one,) = TASK.predict(["a.jpg"], outputs_for([[0.1, 0.6, 0.05, 0.25]]), facts)
    assert [s.label for s in one.labels] == ["elm", "tern", "ash", "gull"]
    assert [s.probability for s in one.labels] == pytest.approx([0.6, 0.25, 0.1, 0.05], abs=1e-6)
    assert (one.path, one.unsure, one.error) == ("a.jpg", False, None)


@pytest.mark.parametrize(("best", "unsure"), [(0.7, False), (0.51, False), (0.49, True)])
def test_a_prediction_more_likely_wrong_than_right_is_unsure(best, unsure):
    rest = (1 - best) / 3
    (one,) = TASK.predict([""], outputs_for([[best, rest, rest, rest]]), TaskFacts(CLASSES))
    assert one.unsure is unsure


def test_the_bundles_threshold_says_what_is_unsure():
    facts = TaskFacts(CLASSES, thresholds={"unsure_below": 0.9})
    assert TASK.predict([""], outputs_for([[0.8, 0.1, 0.05, 0.05]]), facts)[0].unsure


def test_the_temperature_softens_probabilities():
    logits = np.array([[2.0, 1.0, 0.0, -1.0]])
    (one,) = TASK.predict([""], {"logits": logits}, TaskFacts(CLASSES, temperature=4.0))
    expected = np.exp(logits[0] / 4) / np.exp(logits[0] / 4).sum()
    assert [s.probability for s in one.labels] == pytest.approx(list(expected))


def test_targets_are_class_numbers_and_unknown_ones_minus_one():
    assert TASK.targets(samples("tern", "ash", "yew"), TaskFacts(CLASSES)).tolist() == [3, 0, -1]


def test_scores_name_unknown_classes_and_count_them_as_wrong():
    found = TASK.score(samples("ash", "yew"), outputs_for([[0.7, 0.1, 0.1, 0.1]] * 2), TaskFacts(CLASSES))
    assert (found["n"], found["accuracy"], found["unknown_classes"]) == (2, 0.5, ["yew"])
    assert "coarse_accuracy" not in found


def test_scores_without_unknown_classes_do_not_mention_them():
    found = TASK.score(samples("ash"), outputs_for([[0.7, 0.1, 0.1, 0.1]]), TaskFacts(CLASSES))
    assert "unknown_classes" not in found


def test_the_sure_and_the_unsure_are_told_apart():
    p = [[0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1], [0.3, 0.2, 0.3, 0.2], [0.4, 0.3, 0.2, 0.1]]
    found = TASK.score(samples("ash", "ash", "ash", "tern"), outputs_for(p), TaskFacts(CLASSES))
    assert (found["unsure"], found["accuracy_when_sure"]) == (0.5, 0.5)


def test_without_a_sure_prediction_its_accuracy_is_none():
    found = TASK.score(samples("ash"), outputs_for([[0.3, 0.3, 0.2, 0.2]]), TaskFacts(CLASSES))
    assert (found["unsure"], found["accuracy_when_sure"]) == (1, None)


def test_coarse_accuracy_sums_probabilities_over_each_coarse_class():
    facts = TaskFacts(CLASSES, COARSE)
    p = [
        [0.40, 0.00, 0.35, 0.25],  # best is ash, but birds together are more probable
        [0.30, 0.30, 0.40, 0.00],  # best is gull, but trees together are more probable
        [0.10, 0.10, 0.10, 0.70],
    ]
    found = TASK.score(samples("tern", "ash", "elm"), outputs_for(np.array(p) + 1e-9), facts)
    assert found["accuracy"] == 0
    assert found["coarse_accuracy"] == pytest.approx(2 / 3)
    low, high = found["coarse_accuracy_ci"]
    assert 0 <= low <= 2 / 3 <= high <= 1


@pytest.mark.parametrize("seed", range(3))
def test_coarse_accuracy_agrees_with_adding_up_by_hand(seed):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(4), 40)
    truth = [CLASSES[k] for k in rng.integers(0, 4, 40)]
    right = 0
    for row, label in zip(p, truth, strict=True):
        total = {}
        for name, value in zip(CLASSES, row, strict=True):
            total[COARSE[name]] = total.get(COARSE[name], 0) + value
        right += max(total, key=total.get) == COARSE[label]
    found = TASK.score(samples(*truth), outputs_for(p), TaskFacts(CLASSES, COARSE))
    assert found["coarse_accuracy"] == pytest.approx(right / 40)


def test_the_samples_own_coarse_label_is_the_truth_even_for_an_unknown_class():
    facts = TaskFacts(CLASSES, COARSE)
    found = TASK.score(samples("yew", coarse="tree"), outputs_for([[0.4, 0.4, 0.1, 0.1]]), facts)
    assert (found["accuracy"], found["coarse_accuracy"]) == (0, 1)


def test_facts_come_from_a_bundle():
    facts = TaskFacts.from_bundle(
        {"classes": ["a", "b"], "coarse": {"a": "x"}, "calibration": {"temperature": 2}, "thresholds": {"t": 0.1}}
    )
    assert facts == TaskFacts(("a", "b"), {"a": "x"}, 2.0, {"t": 0.1})
    assert TaskFacts.from_bundle({"classes": ["a"], "coarse": None}) == TaskFacts(("a",))


TWO = ("flaw", "good")


@pytest.mark.parametrize(
    ("positive", "at", "p_flaw", "said"),
    [("", 0.5, 0.6, "flaw"), ("flaw", 0.2, 0.3, "flaw"), ("flaw", 0.2, 0.1, "good"), ("good", 0.9, 0.2, "flaw")],
)
def test_the_positive_class_is_said_from_its_operating_point_on(positive, at, p_flaw, said):
    facts = TaskFacts(TWO, positive=positive, thresholds={"positive_at": at})
    outputs = outputs_for([[p_flaw, 1 - p_flaw]])
    (one,) = TASK.predict([""], outputs, facts)
    assert one.label == said
    assert {s.label: s.probability for s in one.labels}["flaw"] == pytest.approx(p_flaw)
    assert TASK.decisions(outputs["logits"], facts).tolist() == [TWO.index(said)]


def test_an_answer_is_as_sure_as_it_is_far_from_the_operating_point():
    facts = TaskFacts(TWO, positive="flaw", thresholds={"positive_at": 0.2, "unsure_below": 0.6})
    unsure = [TASK.predict([""], outputs_for([[p, 1 - p]]), facts)[0].unsure for p in (0.05, 0.18, 0.22, 0.5)]
    assert unsure == [False, True, True, False]
    at_point = outputs_for([[0.2, 0.8]])["logits"]
    assert TASK.margins(at_point, facts) == pytest.approx(0, abs=1e-6)


def test_rates_of_two_classes_are_at_the_operating_point():
    facts = TaskFacts(TWO, positive="flaw", thresholds={"positive_at": 0.2})
    p = [[0.3, 0.7], [0.9, 0.1], [0.1, 0.9], [0.25, 0.75]]
    found = TASK.score(samples("flaw", "flaw", "good", "good"), outputs_for(p), facts)
    assert (found["positive"], found["threshold"]) == ("flaw", 0.2)
    assert (found["sensitivity"], found["specificity"], found["accuracy"]) == (1, 0.5, 0.75)
    assert found["roc_auc"] == 1


def test_each_picture_is_right_or_wrong_and_the_most_frequent_class_is_a_guess():
    facts = TaskFacts(CLASSES)
    found = TASK.each(samples("ash", "elm"), outputs_for([[0.7, 0.1, 0.1, 0.1], [0.7, 0.1, 0.1, 0.1]]), facts)
    assert found.tolist() == [1, 0]
    assert TASK.guess(samples("ash", "elm", "ash", "tern"), facts)[:2] == ("accuracy", 0.5)


def test_margins_are_best_minus_second_best():
    logits = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    expected = [sorted(row)[-1] - sorted(row)[-2] for row in logits]
    assert TASK.margins(logits, TaskFacts(CLASSES)) == pytest.approx(expected)


def test_with_two_levels_a_sure_class_implies_its_coarse_one():
    facts = TaskFacts(CLASSES, COARSE, thresholds={"unsure_below": 0.3})
    split, clear = TASK.predict(["a", "b"], outputs_for([[0.4, 0.0001, 0.3, 0.2999], [0.5, 0.2, 0.2, 0.1]]), facts)
    assert (split.label, split.extra["coarse"], split.unsure) == ("ash", "bird", True)
    assert split.extra["coarse_probability"] == pytest.approx(0.5999, abs=1e-4)
    assert (clear.label, clear.extra["coarse"], clear.unsure) == ("ash", "tree", False)
    found = TASK.score(samples("ash", "ash"), outputs_for([[0.4, 0.0001, 0.3, 0.2999], [0.5, 0.2, 0.2, 0.1]]), facts)
    assert (found["accuracy"], found["coarse_accuracy"], found["unsure"]) == (1, 0.5, 0.5)
