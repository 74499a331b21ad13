"""Whole trainings of every kind of truth: labels, numbers, two classes with an operating point, uneven classes."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fieldmark
from fieldmark import bundle as bundles
from fieldmark.errors import DataError, UsageError
from fieldmark.field.runtime import evaluate, load
from fieldmark.workshop.recipe import load_recipe
from fieldmark.workshop.recipe.tasks import for_task
from fieldmark.workshop.train import train
from fieldmark.workshop.train.plan import Plan
from tests.training import BACKBONE, TINY, coloured, events, tiny_train

TAIL = ("tune.stages=tail", "tune.most_epochs=2", "tune.views=2", "tune.batch=8", "optim.rate=0.003")
CORNERS = ("east", "north", "west")


def scene(root: Path, number: int, labels: tuple[str, ...], light: float) -> Path:
    """A grey picture of this brightness with a bright patch for each label, at its own place."""
    rng = np.random.default_rng(number)
    picture = np.clip(rng.normal(light, 12, (40, 40, 3)), 0, 255)
    for label in labels:
        at = CORNERS.index(label)
        picture[3 + 12 * at : 13 + 12 * at, 10:30, at] = 250
    path = root / f"{number:03d}.png"
    Image.fromarray(picture.astype(np.uint8)).save(path)
    return path


def table(root: Path, head: str, rows: list[tuple[str, str]]) -> Path:
    with (root / "labels.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("path", head), *rows])
    return root / "labels.csv"


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> Path:
    """60 pictures with none to three labels each."""
    root = tmp_path_factory.mktemp("labelled")
    sets = [tuple(c for k, c in enumerate(CORNERS) if i >> k & 1) for i in range(60)]
    return table(root, "labels", [(scene(root, i, s, 60).name, ";".join(s)) for i, s in enumerate(sets)])


@pytest.fixture(scope="module")
def numbered(tmp_path_factory) -> Path:
    """60 pictures whose number is their brightness."""
    root = tmp_path_factory.mktemp("numbered")
    lights = np.random.default_rng(0).uniform(30, 220, 60)
    return table(root, "target", [(scene(root, i, (), v).name, f"{v:.3f}") for i, v in enumerate(lights)])


@pytest.fixture(scope="module")
def labelled_run(labelled, tmp_path_factory):
    return tiny_train(labelled, tmp_path_factory.mktemp("runs") / "run", *TAIL, recipe="standard")


@pytest.fixture(scope="module")
def numbered_run(numbered, tmp_path_factory):
    return tiny_train(numbered, tmp_path_factory.mktemp("runs") / "run", *TAIL, recipe="standard")


def test_several_labels_a_picture_are_recognised_as_such_and_learned(labelled_run):
    assert labelled_run.task == "multilabel"
    scores = json.loads(json.dumps(labelled_run.scores["test"], allow_nan=False))
    assert set(scores) >= {"map", "map_ci", "micro_f1", "macro_f1", "subset_accuracy", "n", "per_class"}
    assert scores["map"] > 0.8
    facts = bundles.load(labelled_run.run).facts
    assert facts["classes"] == list(CORNERS)
    assert len(facts["label_thresholds"]) == 3
    assert all(0 < v < 1 for v in facts["label_thresholds"])


def test_a_bundle_of_labels_says_which_are_present_and_scores_as_it_did(labelled, labelled_run):
    recogniser = load(labelled_run.run)
    assert evaluate(recogniser, labelled).scores == labelled_run.scores["test"]
    (one,) = recogniser.predict([labelled.parent / "007.png"])
    assert set(one.extra["present"]) <= set(CORNERS)
    assert sorted(s.label for s in one.labels) == list(CORNERS)
    explained = fieldmark.explain(recogniser, labelled.parent / "001.png")
    assert explained.label in CORNERS


def test_labels_may_be_learned_of_data_with_one_each(tmp_path):
    data = coloured(tmp_path / "data", 8)
    result = tiny_train(data, tmp_path / "run", task="multilabel")
    assert result.task == "multilabel"
    assert result.scores["test"]["map"] > 0.8


def test_the_names_of_boxes_may_be_learned_as_labels(tmp_path):
    pictures = sorted(coloured(tmp_path / "pics", 6).rglob("*.png"))
    rows = [f"{p},{p.parent.name},0,0,9,9" for p in pictures] + [f"{p},thing,9,9,20,20" for p in pictures[::2]]
    (tmp_path / "boxes.csv").write_text("\n".join(["path,label,xmin,ymin,xmax,ymax", *rows]))
    with pytest.raises(DataError, match=r"holds boxes, not one name a picture; .* --task multilabel"):
        tiny_train(tmp_path / "boxes.csv", tmp_path / "no", task="classify")
    result = tiny_train(tmp_path / "boxes.csv", tmp_path / "run", task="multilabel")
    assert "thing" in load(result.bundle).classes
    again = evaluate(result.bundle, tmp_path / "boxes.csv")
    assert (again.note, again.scores["map"]) == ("the test part recorded at training", result.scores["test"]["map"])


def test_a_number_is_recognised_as_such_and_learned(numbered, numbered_run):
    assert numbered_run.task == "regress"
    scores = json.loads(json.dumps(numbered_run.scores["test"], allow_nan=False))
    assert set(scores) >= {"mae", "mae_ci", "rmse", "r2", "r2_ci", "baseline_mae", "n"}
    assert scores["mae"] < 0.4 * scores["baseline_mae"]
    facts = bundles.load(numbered_run.run).facts
    assert facts["precision"] == "f32"
    assert facts["recipe"]["augment"]["size"] == 1.0
    assert Plan.load(numbered_run.run / "plan.json").maps_checked == 0  # there is no probability to watch
    assert for_task(load_recipe(), "regress").augment.crop == 1.0
    recogniser = load(numbered_run.run)
    assert evaluate(recogniser, numbered).scores == numbered_run.scores["test"]
    with numbered.open(encoding="utf-8") as stream:
        truth = {row["path"]: float(row["target"]) for row in csv.DictReader(stream)}
    found = recogniser.predict(numbered.parent / "000.png")
    low, high = found.extra["interval"]
    assert low < found.extra["value"] < high
    assert abs(found.extra["value"] - truth["000.png"]) < 60


def test_a_number_may_be_learned_beside_labels_and_rows_without_one_are_left_out(numbered, tmp_path):
    with numbered.open(encoding="utf-8") as stream:
        rows = [(row["path"], row["target"]) for row in csv.DictReader(stream)]
    other = numbered.parent / "both.csv"
    lines = [
        f"{path},{'dark' if i % 2 else 'light'},{'' if i < 5 else target}" for i, (path, target) in enumerate(rows)
    ]
    other.write_text("\n".join(["path,label,target", *lines]), encoding="utf-8")
    result = tiny_train(other, tmp_path / "run", task="regress")
    assert (result.task, result.skipped) == ("regress", 5)
    assert evaluate(load(result.run), other).scores == result.scores["test"]


@pytest.mark.parametrize(
    ("task", "settings", "says"),
    [
        ("classify", ("loss.name=bce",), "unknown loss 'bce'"),
        ("multilabel", ("loss.name=huber",), "for --task multilabel"),
        ("classify", ("decide.sensitivity=0.9",), "are for two classes; this data has 3"),
        ("classify", ("decide.sensitivity=0.9", "decide.specificity=0.9"), "give one of them"),
        ("regres", (), "did you mean regress"),
    ],
)
def test_what_does_not_fit_the_task_is_said_before_anything_is_written(tmp_path, task, settings, says):
    data = coloured(tmp_path / "data", 4)
    with pytest.raises(UsageError, match=says):
        train(data, tmp_path / "run", task=task, backbone=BACKBONE, settings=(*TINY, *settings))
    assert not (tmp_path / "run").exists()


def test_data_of_another_kind_is_refused_when_a_bundle_is_scored(
    labelled, labelled_run, numbered, numbered_run, tmp_path
):
    with pytest.raises(DataError, match="has no numbers"):
        evaluate(load(numbered_run.run), labelled)
    with pytest.raises(DataError, match="no picture of this data has a label"):
        evaluate(load(labelled_run.run), numbered)
    result = tiny_train(coloured(tmp_path / "data", 6), tmp_path / "run")
    with pytest.raises(DataError, match="names one class a picture"):
        evaluate(load(result.run), labelled)
    with pytest.raises(DataError, match="has no numbers"):
        tiny_train(tmp_path / "data", tmp_path / "other", task="regress")


def test_data_without_different_numbers_or_any_label_cannot_be_learned(tmp_path):
    paths = [(scene(tmp_path, i, (), 90).name, "7") for i in range(12)]
    with pytest.raises(DataError, match="different numbers"):
        tiny_train(table(tmp_path, "target", paths), tmp_path / "run")
    with pytest.raises(DataError, match="no training picture has a label"):
        tiny_train(table(tmp_path, "labels", [(name, "") for name, _ in paths]), tmp_path / "run")


def test_two_classes_are_told_apart_at_the_operating_point_that_was_wished_for(tmp_path):
    data = coloured(tmp_path / "data", 16, ("flaw", "good"))
    settings = ("decide.positive=flaw", "decide.sensitivity=0.95", "data.val=0.3")
    result = tiny_train(data, tmp_path / "run", *settings)
    facts, val = bundles.load(result.run).facts, result.scores["val"]
    assert facts["positive"] == val["positive"] == "flaw"
    assert 0 < facts["thresholds"]["positive_at"] < 1
    assert val["threshold"] == facts["thresholds"]["positive_at"]
    page = (result.run / "report.html").read_text(encoding="utf-8")
    assert "ROC curve of flaw" in page
    assert "Precision and recall of flaw" in page
    assert val["sensitivity"] >= 0.95
    with pytest.raises(UsageError, match="did you mean good"):
        tiny_train(data, tmp_path / "other", "decide.positive=goods")


def test_a_wish_that_no_picture_can_tell_is_said(tmp_path):
    data = coloured(tmp_path / "data", 12, ("flaw", "good"))
    wish = ("decide.positive=flaw", "decide.sensitivity=0.9")
    result = tiny_train(data, tmp_path / "run", *TAIL, *wish, "data.val=none", "probe.on=false", recipe="standard")
    assert "positive_at" not in bundles.load(result.run).facts["thresholds"]
    assert any("no held-out picture can tell" in e.get("sentence", "") for e in events(result.run))


def test_one_label_that_is_there_or_not_is_learned(tmp_path):
    """A column of labels that holds one name or nothing."""
    paths = sorted(coloured(tmp_path / "pics", 12, ("flaw", "good")).rglob("*.png"))
    rows = [f"{path},{'flaw' if path.parent.name == 'flaw' else ''}" for path in paths]
    (tmp_path / "labels.csv").write_text("\n".join(["path,labels", *rows]))
    result = tiny_train(tmp_path / "labels.csv", tmp_path / "run")
    assert result.task == "multilabel"
    assert set(result.scores["test"]["per_class"]) == {"flaw"}
    assert evaluate(load(result.run), tmp_path / "labels.csv").scores == result.scores["test"]


@pytest.mark.parametrize(
    "loss", ["loss.name=focal", "loss.name=arcface", "loss.imbalance=sampling", "loss.imbalance=weights"]
)
def test_other_losses_train_and_their_bundles_agree_with_torch(tmp_path, loss):
    data = coloured(tmp_path / "data", 10)
    result = tiny_train(data, tmp_path / "run", *TAIL, "probe.on=false", loss, recipe="standard")
    facts = bundles.load(result.run).facts
    assert facts["parity"]["f32_difference"] < 1e-4
    assert evaluate(load(result.run), data).scores == result.scores["test"]
    assert fieldmark.explain(load(result.run), next(data.rglob("*.png"))).label in facts["classes"]


@pytest.mark.parametrize(
    ("fixture", "loss"), [("labelled", "focal"), ("labelled", "asymmetric"), ("numbered", "huber")]
)
def test_other_losses_of_labels_and_numbers_train(fixture, loss, request, tmp_path):
    data = request.getfixturevalue(fixture)
    result = tiny_train(data, tmp_path / "run", *TAIL, "probe.on=false", f"loss.name={loss}", recipe="standard")
    facts = bundles.load(result.run).facts
    assert facts["recipe"]["loss"]["name"] == loss
    assert facts["learning"][0]["steps"] > 0
    assert facts["parity"]["f32_difference"] < 1e-4
    assert evaluate(load(result.run), data).scores == result.scores["test"]


def test_a_wished_specificity_is_reached_on_held_out_pictures(tmp_path):
    data = coloured(tmp_path / "data", 16, ("flaw", "good"))
    result = tiny_train(data, tmp_path / "run", "decide.positive=flaw", "decide.specificity=0.9", "data.val=0.3")
    assert result.scores["val"]["specificity"] >= 0.9
    assert result.scores["val"]["threshold"] == bundles.load(result.run).facts["thresholds"]["positive_at"]


def test_a_run_of_labels_goes_on_where_it_was_stopped(labelled, labelled_run, tmp_path):
    calls = 0

    def stop(name: str, done: int, total: int) -> None:
        nonlocal calls
        calls += name.startswith("training")
        if calls > 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny_train(labelled, tmp_path / "run", *TAIL, recipe="standard", progress=stop)
    again = tiny_train(labelled, tmp_path / "run", *TAIL, recipe="standard", resume=True)
    assert again.scores == labelled_run.scores
    assert any(e["event"] == "begin" for e in events(again.run))
