import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fieldmark.data import Index, Skipped, SplitRule, fingerprint, open_data, split
from fieldmark.errors import DataError, UsageError
from fieldmark.field.runtime import Recogniser, evaluate
from fieldmark.field.runtime.evaluation import from_outputs
from fieldmark.types import Sample
from tests.making import CLASSES, class_folders, tiny_bundle

COUNTS = dict.fromkeys(CLASSES, 14)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return class_folders(tmp_path_factory.mktemp("data"), COUNTS)


@pytest.fixture(scope="module")
def index(folder) -> Index:
    return open_data(folder)


RULE = SplitRule(3)


def recorded(index: Index, rule: SplitRule = RULE) -> dict:
    made = split(index, rule)
    parts = {name: {"fingerprint": fingerprint(made.part(name))} for name in ("train", "val", "test")}
    return {"fingerprint": fingerprint(index.samples), "split": rule.to_json(), "parts": parts}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, index) -> Recogniser:
    """A recogniser whose bundle says that it was trained on the data."""
    return Recogniser(tiny_bundle(tmp_path_factory.mktemp("trained"), data=recorded(index)))


def test_other_data_is_scored_whole_and_said_to_be(recogniser, folder):
    found = evaluate(recogniser, folder)
    assert (found.split, found.scores["n"]) == ("all", 42)
    assert found.note == "other data than at training: all of it"


def test_scores_are_those_of_the_single_predictions(recogniser, folder):
    found = evaluate(recogniser, str(folder))
    right = [recogniser.predict(s.path).label == s.label for s in found.samples]
    assert found.scores["accuracy"] == pytest.approx(np.mean(right))
    assert [p.path for p in found.predictions] == [s.name for s in found.samples]
    assert found.outputs["logits"].shape == (42, 3)


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_the_split_of_training_is_found_again(trained, index, folder, part):
    found = evaluate(trained, folder, part)
    assert {s.name for s in found.samples} == {s.name for s in split(index, RULE).part(part)}
    assert found.note == f"the {part} part recorded at training"


def test_the_test_part_is_scored_unless_another_is_named(trained, folder):
    assert evaluate(trained, folder).split == "test"
    assert evaluate(trained, folder, "all").scores["n"] == 42


def test_without_a_test_part_validation_is_scored(tmp_path, index, folder):
    no_test = recorded(index, SplitRule(3, test=0))
    found = evaluate(Recogniser(tiny_bundle(tmp_path, data=no_test)), folder)
    assert found.split == "val"
    with pytest.raises(DataError, match="the test part of the data is empty; choose another with --split"):
        evaluate(Recogniser(tiny_bundle(tmp_path / "b", data=no_test)), folder, "test")


def test_the_same_pictures_split_otherwise_are_not_called_the_recorded_part(trained, index):
    moved = index.with_samples(
        Sample(s.path, s.name, s.labels, split="test" if k % 3 == 0 else "train" if k % 3 == 1 else "val")
        for k, s in enumerate(index.samples)
    )
    found = evaluate(trained, moved, "test")
    assert found.scores["n"] == 14
    assert "which training may have seen" in found.note


def test_an_unknown_part_lists_the_known_ones(trained, recogniser, folder):
    with pytest.raises(UsageError, match="unknown split 'tset'; did you mean test"):
        evaluate(trained, folder, "tset")
    with pytest.raises(UsageError, match="other data than at training, without a tset part; leave --split away"):
        evaluate(recogniser, folder, "tset")


def test_other_data_gives_its_own_part_and_none_is_made_for_it(recogniser, tmp_path):
    class_folders(tmp_path / "test", {"ash": 2, "beech": 1})
    found = evaluate(recogniser, tmp_path, "test")
    assert (found.split, found.scores["n"]) == ("test", 3)
    with pytest.raises(DataError, match="the val part of the data is empty"):
        evaluate(recogniser, tmp_path, "val")


def test_other_data_without_parts_has_none_to_name(recogniser, folder):
    with pytest.raises(UsageError, match="without a test part; leave --split away to score it all"):
        evaluate(recogniser, folder, "test")


def test_unreadable_pictures_are_left_out_and_listed(recogniser, tmp_path):
    class_folders(tmp_path, {"ash": 3, "beech": 2})
    (tmp_path / "ash" / "001.png").write_bytes(b"broken")
    (tmp_path / "beech" / "gone.jpg").symlink_to(tmp_path / "nowhere")
    found = evaluate(recogniser, tmp_path)
    assert [s.name for s in found.samples] == ["ash/000.png", "ash/002.png", "beech/000.png", "beech/001.png"]
    assert [s.name for s in found.skipped] == ["ash/001.png", "beech/gone.jpg"]
    assert found.to_json()["skipped"] == 2
    assert len(found.outputs["logits"]) == found.scores["n"] == len(found.predictions) == 4


def test_data_without_a_readable_picture_gives_the_first_reason(recogniser, tmp_path):
    for name, data in (("a.jpg", b""), ("b.jpg", b"text")):
        (tmp_path / "ash").mkdir(exist_ok=True)
        (tmp_path / "ash" / name).write_bytes(data)
    with pytest.raises(DataError, match=r"no picture of the all part could be read \(the first: the file is empty\)"):
        evaluate(recogniser, tmp_path)


def test_an_index_without_samples_is_refused(recogniser):
    with pytest.raises(DataError, match="empty"):
        evaluate(recogniser, Index("x", ()))


def test_rows_left_out_of_the_table_are_counted_too(recogniser, index):
    found = evaluate(recogniser, Index("x", index.samples[:3], (Skipped("x", "no such file"),)))
    assert found.skipped == (Skipped("x", "no such file"),)


def test_classes_unseen_in_training_count_as_wrong_and_are_listed(recogniser, tmp_path):
    found = evaluate(recogniser, class_folders(tmp_path, {"ash": 2, "zebra": 3}))
    assert found.scores["unknown_classes"] == ["zebra"]
    assert found.scores["accuracy"] <= 0.4


def test_unknown_classes_alone_still_give_valid_json(recogniser, tmp_path):
    found = evaluate(recogniser, class_folders(tmp_path, {"zebra": 3}))
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["accuracy"] == 0
    assert found.scores["nll"] is None


def test_the_json_has_the_contracts_keys(recogniser, folder):
    found = json.loads(json.dumps(evaluate(recogniser, folder).to_json(), allow_nan=False))
    expected = {"n", "split", "accuracy", "accuracy_ci", "top5", "macro_f1", "precision", "recall", "ece", "nll"}
    assert expected | {"per_class", "skipped", "note"} <= set(found)
    assert set(found["per_class"]) == set(CLASSES)
    low, high = found["accuracy_ci"]
    assert 0 <= low <= found["accuracy"] <= high <= 1


def test_two_classes_have_their_own_keys(tmp_path):
    two = Recogniser(tiny_bundle(tmp_path / "bundle", classes=["ash", "beech"]))
    found = evaluate(two, class_folders(tmp_path / "data", {"ash": 4, "beech": 4})).to_json()
    assert {"roc_auc", "pr_auc", "sensitivity", "specificity", "threshold"} <= set(found)


def test_progress_is_told_for_every_picture(recogniser, folder):
    ticks = []
    evaluate(recogniser, folder, tick=lambda done, total: ticks.append((done, total)))
    assert ticks == [(k, 42) for k in range(1, 43)]


def test_outputs_that_are_there_already_are_scored_alike(recogniser, folder):
    ran = evaluate(recogniser, folder)
    again = from_outputs(recogniser, ran.samples, ran.outputs, "val", "kept")
    assert again.scores == ran.scores
    assert (again.split, again.note, again.skipped) == ("val", "kept", ())


def test_a_bundle_and_its_place_are_evaluated_alike(bundle, recogniser, folder):
    assert evaluate(bundle.path, folder).scores["accuracy"] == evaluate(recogniser, folder).scores["accuracy"]


def test_data_of_boxes_is_not_scored_by_names(recogniser, index):
    with pytest.raises(DataError, match="holds boxes, not one name a picture"):
        evaluate(recogniser, replace(index, kind="boxes"))
