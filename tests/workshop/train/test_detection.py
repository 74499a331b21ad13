"""A whole training on boxes: learned, exported, predicted without torch, explained, resumed."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fieldmark import bundle as bundles
from fieldmark.__main__ import main
from fieldmark.data.index import Index
from fieldmark.errors import UsageError
from fieldmark.field.explain import Question
from fieldmark.field.explain.boxes import Drawn, box_evidence, draw_boxes
from fieldmark.field.explain.draw import explain_files
from fieldmark.field.runtime import evaluate, load
from fieldmark.geometry import Geometry, plain
from fieldmark.types import Boxes, Preprocess, Sample
from fieldmark.workshop.learn.detect import Detect
from fieldmark.workshop.models import create_backbone
from fieldmark.workshop.models.fcos import Fcos
from fieldmark.workshop.recipe import Recipe, load_recipe
from fieldmark.workshop.train import planner, train
from fieldmark.workshop.train.job import aspect_of, make_network
from tests.training import BACKBONE, bundle_bytes

SETTINGS = (
    "picture.size=64",
    "model.weights=none",
    "tune.most_epochs=2",
    "tune.views=2",
    "tune.batch=4",
    "bundle.calibration=4",
    "bundle.precision=f32",
)
COLOURS = {"kite": (230, 40, 40), "wren": (40, 60, 230)}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """24 pictures of 80 x 60 with up to two coloured rectangles; every fourth has none."""
    root = tmp_path_factory.mktemp("boxes")
    with (root / "labels.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(("path", "label", "xmin", "ymin", "xmax", "ymax", "split"))
        for i in range(24):
            part = ("train", "train", "train", "val", "test")[i % 5]
            rng = np.random.default_rng(i)
            picture = rng.integers(90, 130, (60, 80, 3)).astype(np.uint8)
            kinds = [] if i % 4 == 3 else ["kite"] if i % 2 else ["kite", "wren"]
            for k, name in enumerate(kinds):
                x, y = 4 + 38 * k + int(rng.integers(0, 8)), int(rng.integers(2, 20))
                w, h = (int(v) for v in rng.integers(14, 28, 2))
                picture[y : y + h, x : x + w] = COLOURS[name]
                table.writerow((f"{i:02d}.png", name, x, y, x + w, y + h, part))
            if not kinds:
                table.writerow((f"{i:02d}.png", "", "", "", "", "", part))
            Image.fromarray(picture).save(root / f"{i:02d}.png")
    return root / "labels.csv"


def tiny(data: Path, out: Path, **options):
    return train(data, out, backbone=BACKBONE, settings=SETTINGS, **options)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    return tiny(data, tmp_path_factory.mktemp("runs") / "run")


def test_boxes_are_learned_scored_and_reported(run, data):
    assert run.task == "detect"
    assert {"map50", "map50_ci", "map", "per_class", "errors"} <= set(run.scores["test"])
    facts = bundles.load(run.bundle).facts
    assert facts["head"]["kind"] == "fcos"
    assert set(facts["outputs"]) == {"logits", "boxes"}
    assert 0 <= facts["thresholds"]["shown_from"] <= 1
    assert facts["preprocess"]["fit"] == "pad"
    assert "True boxes" in (run.run / "report.html").read_text(encoding="utf-8")
    again = evaluate(run.bundle, data)
    assert again.scores == run.scores["test"]


def test_prediction_and_evidence_need_no_torch_and_are_in_the_pictures_pixels(run, data, tmp_path):
    picture = data.parent / "00.png"
    code = (
        "import json, sys\nfrom fieldmark.field.runtime import load\n"
        f"p = load({str(run.bundle)!r}).predict({str(picture)!r})\n"
        "assert 'torch' not in sys.modules\nprint(json.dumps(p.to_json()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    row = json.loads(done.stdout)
    assert row["error"] is None
    assert {s["label"] for s in row["labels"]} == set(COLOURS)
    everything = load(run.bundle)
    everything.facts = type(everything.facts)(everything.classes, thresholds={"shown_from": 0.0})
    boxes = np.array([b["xyxy"] for b in everything.predict(picture).extra["boxes"]])
    assert len(boxes)
    assert (boxes >= 0).all()
    assert (boxes <= [80, 60, 80, 60]).all()
    for (name, made), expected in zip(
        explain_files(everything, [picture, data.parent / "gone.png"], tmp_path, Question()),
        (None, "no such file"),
        strict=True,
    ):
        assert made["error"] == expected
        assert (tmp_path / name).is_file() if name else expected
    with pytest.raises(UsageError, match="against"):
        list(explain_files(everything, [picture], tmp_path, Question(None, "wren")))


def test_a_budget_in_which_nothing_would_be_learned_is_refused(data, tmp_path, monkeypatch):
    monkeypatch.setattr(planner.plans, "FEWEST_EPOCHS", 1e9)
    monkeypatch.setattr(planner.plans, "FEWEST_PICTURES", 10**12)
    settings = tuple(s for s in SETTINGS if not s.startswith("tune.epochs"))
    with pytest.raises(UsageError, match=r"100 s is too short .* give at least \d+ s"):
        train(data, tmp_path / "run", backbone=BACKBONE, settings=settings, budget="100s")
    assert not (tmp_path / "run").exists()


def test_a_second_glance_is_refused(run):
    with pytest.raises(UsageError, match="second glance is for classes"):
        load(run.bundle, glances=2)


def test_what_is_written_beside_a_box_is_one_line():
    drawn = draw_boxes(Image.new("RGB", (64, 64)), [Drawn((4.0, 30.0, 60.0, 60.0), "a\nb\u2028c", "#ffffff")])
    assert np.asarray(drawn).any()


def test_what_a_box_rests_on_is_where_its_score_falls(run):
    class Engine:
        """Finds one box, with a score that falls when the upper left cell is no longer white."""

        name, precision, micro_batch = "fake", "f32", 4

        def run(self, pictures, outputs):
            light = pictures[:, :8, :8].mean((1, 2, 3)) / 255
            return {
                "logits": (4 * light[:, None, None] * np.array([1, -1])).astype(np.float32),
                "boxes": np.tile(np.array([[[2, 2, 30, 30]]], np.float32), (len(pictures), 1, 1)),
            }

    recogniser = load(run.bundle)
    recogniser._engine = Engine()
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:8, :8] = 255
    found = box_evidence(recogniser, picture, np.array([[2, 2, 30, 30]]), [0])[0]
    assert found.shape == (8, 8)
    assert found.argmax() == 0
    assert found[0, 0] > 0.05
    assert np.abs(found.ravel()[1:]).max() < 1e-6


def test_a_run_that_goes_on_ends_with_the_same_bundle(run, data, tmp_path, monkeypatch):
    from fieldmark.workshop.train import loop

    step, limit = loop.Fit._step, [3]

    def stop(self):
        if limit[0] == 0:
            self._save()
            raise KeyboardInterrupt
        limit[0] -= 1
        return step(self)

    monkeypatch.setattr(loop.Fit, "_step", stop)
    with pytest.raises(KeyboardInterrupt):
        tiny(data, tmp_path / "run")
    monkeypatch.setattr(loop.Fit, "_step", step)
    again = train(data, tmp_path / "run", resume=True)
    assert bundle_bytes(again.bundle) == bundle_bytes(run.bundle)


def test_faster_rcnn_goes_through_every_verb(data, tmp_path, monkeypatch, capsys):
    def ask(*words):
        monkeypatch.setattr(sys, "argv", ["fieldmark", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
        assert caught.value.code == 0
        last = capsys.readouterr().out.splitlines()[-1:]
        return json.loads(last[0]) if last and last[0].startswith("{") else None

    out = tmp_path / "run"
    settings = [
        word for value in (*SETTINGS, "tune.most_epochs=1", "model.detector=faster-rcnn") for word in ("--set", value)
    ]
    made = ask("train", data, "--out", out, "--backbone", BACKBONE, *settings, "--json")
    head = bundles.load(out / "bundle").facts["head"]
    assert (head["kind"], bundles.load(out / "bundle").facts["outputs"]["boxes"]) == ("faster-rcnn", [200, 4])
    found = ask("evaluate", out, data, "--json")
    assert found["map50"] == made["scores"]["test"]["map50"]
    assert {s["label"] for s in ask("predict", out, data.parent / "00.png", "--format", "jsonl")["labels"]} == set(
        COLOURS
    )
    ask("explain", out, data.parent / "00.png", "--out", tmp_path / "why")
    assert list((tmp_path / "why").glob("*.png"))


def test_an_unknown_detector_and_a_loss_that_is_not_its_own_are_refused(data, tmp_path):
    with pytest.raises(UsageError, match="did you mean ssdlite"):
        train(data, tmp_path / "run", settings=(*SETTINGS, "model.detector=ssd-lite"), backbone=BACKBONE)
    settings = (*SETTINGS, "model.detector=ssdlite", "loss.name=quality-focal")
    with pytest.raises(UsageError, match="ssdlite has a loss of its own"):
        train(data, tmp_path / "run", settings=settings, backbone=BACKBONE)


@pytest.mark.parametrize("setting", ["probe.on=true", "augment.mixup=0.5", "augment.policy=rand", "decide.glances=2"])
def test_what_needs_one_answer_a_picture_is_refused(data, tmp_path, setting):
    with pytest.raises(UsageError, match=setting.split("=", maxsplit=1)[0]):
        train(data, tmp_path / "run", settings=(*SETTINGS, setting), backbone=BACKBONE)
    assert not (tmp_path / "run").exists()


def test_a_backbone_without_levels_is_refused(data, tmp_path):
    with pytest.raises(UsageError, match="gives no features at strides"):
        train(data, tmp_path / "run", settings=SETTINGS, backbone="test_vit")


def learner(classes=tuple(COLOURS)) -> Detect:
    return Detect(classes, Recipe())


@pytest.fixture(scope="module")
def network() -> Fcos:
    return Fcos(create_backbone(BACKBONE, "none", 64), len(COLOURS))


def test_the_truth_goes_with_the_view_and_what_is_cut_off_is_not_asked(network):
    xyxy = np.array([[0, 0, 40, 40], [60, 60, 64, 64]], np.float32)
    sample = Sample(Path("a.png"), "a.png", ("kite", "wren"), boxes=Boxes(xyxy, ("kite", "wren")))
    made = learner()
    targets = made.targets([sample])
    whole = network.encode(made.encode(targets, [plain((64, 64), Preprocess((64, 64)))]), (64, 64))
    assert set(whole.label.unique().tolist()) == {0, 1, 2}
    assert whole.asked.all()
    truth = made.encode(targets, [Geometry.of_box((64, 64), (64, 64), (30.0, 0.0, 94.0, 64.0))])
    assert truth.boxes[0].tolist() == [[30, 60, 34, 64]]
    assert truth.labels[0].tolist() == [1]
    assert truth.doubtful[0].tolist() == [[0, 0, 10, 40]]  # a quarter of the kite is left: neither there nor not
    left = network.encode(truth, (64, 64))
    assert 0 not in left.label
    assert not left.asked.all()
    truth = made.encode(made.targets([Sample(Path("b.png"), "b.png")]), [plain((64, 64), Preprocess((64, 64)))])
    none = network.encode(truth, (64, 64))
    assert (none.label == 2).all()
    outputs = (torch.zeros(1, 84, 2), torch.ones(1, 84, 4).cumsum(2))
    assert torch.isfinite(network.compare(outputs, none))


def test_perfect_outputs_have_a_lower_loss_than_wrong_ones(network):
    sample = Sample(Path("a.png"), "a.png", ("wren",), boxes=Boxes(np.array([[8, 8, 40, 40]], np.float32), ("wren",)))
    made = learner()
    truth = made.encode(made.targets([sample]), [plain((64, 64), Preprocess((64, 64)))])
    encoded = network.encode(truth, (64, 64))
    there = encoded.label < 2
    logits = torch.full((1, 84, 2), -8.0)
    logits[0, there[0], 1] = 8.0
    boxes = torch.where(there[..., None], encoded.box, torch.tensor([0.0, 0.0, 1.0, 1.0]))
    right = float(network.compare((logits, boxes), encoded))
    assert right < 0.01
    assert float(network.compare((logits, boxes + 6), encoded)) > right + 0.3
    assert float(network.compare((logits.flip(2), boxes), encoded)) > right + 0.3


def test_what_is_settled_is_a_chance_and_a_threshold():
    made = learner(("kite",))
    truth = np.empty(40, object)
    truth[:] = [np.array([[0, 0, 10, 10, 0]], float) if i % 2 else np.zeros((0, 5)) for i in range(40)]
    kept = np.zeros((40, 3, 6), np.float32)
    kept[:, 0] = [[0, 0, 10, 10, 0.8 if i % 2 else 0.3, 0] for i in range(40)]
    settled = made.settle(kept, truth)
    assert settled["calibration"]["temperature"] > 0
    assert 0 < settled["thresholds"]["shown_from"] < 1
    assert made.score(kept, truth)["map50"] == pytest.approx(1)
    empty = made.settle(kept[:0], truth[:0])
    assert empty["calibration"] == {"temperature": 1.0, "offset": 0.0}


def test_the_recipe_for_boxes_is_a_presets_own_with_settings_on_top():
    recipe = load_recipe("quick", ("picture.fit=squash",), "detect")
    assert not recipe.probe.on
    assert recipe.tune.stages == ("tail",)
    assert recipe.picture.fit == "squash"
    assert load_recipe("standard", (), "classify").probe.on


@pytest.mark.parametrize(
    ("sizes", "fit", "expected"),
    [
        ([(640, 480)] * 3 + [(100, 400)], "pad", (448, 320)),
        ([(640, 480)] * 3, "squash", (384, 384)),
        ([(4000, 100)], "pad", (544, 256)),
        ([], "pad", (384, 384)),
    ],
)
def test_a_padded_input_has_the_shape_of_most_pictures(tmp_path, sizes, fit, expected):
    samples = []
    for i, size_wh in enumerate(sizes):
        Image.new("RGB", size_wh).save(tmp_path / f"{i}.png")
        samples.append(Sample(tmp_path / f"{i}.png", f"{i}.png"))
    recipe = replace(load_recipe(None, (f"picture.fit={fit}", "model.weights=none"), "detect"), task="detect")
    recipe = replace(recipe, model=replace(recipe.model, backbone=BACKBONE))
    _, preprocess = make_network(recipe, learner(), aspect_of(samples, recipe))
    assert preprocess.size_wh == expected


def test_pictures_whose_boxes_are_unknown_are_left_out(data):
    assert Detect.of(
        Index(
            "x",
            (Sample(Path("a"), "a", ("k",), split="train", boxes=Boxes(np.array([[0, 0, 1, 1]], np.float32), ("k",))),),
        ),
        Recipe(),
    ).classes == ("k",)
