"""A whole training of segmentation on drawn things: masks in a table, run, bundle, prediction, files, and resuming."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from fieldmark import bundle as bundles
from fieldmark.cli import cli
from fieldmark.errors import DataError, UsageError
from fieldmark.field.explain import Question
from fieldmark.field.explain.draw import explain_files
from fieldmark.field.explain.regions import explain_region
from fieldmark.field.runtime import evaluate, load
from fieldmark.workshop.train import train
from tests.training import BACKBONE, bundle_bytes

pytest.importorskip("segmentation_models_pytorch")

TINY = (
    "picture.size=64",
    "model.weights=none",
    "bundle.calibration=8",
    "tune.stages=full",
    "tune.most_epochs=16",
    "tune.batch=8",
    "optim.rate=0.003",
    "optim.ema=0.9",
    "optim.layer_decay=1",
    "regularise.fixed_norms=false",
)
COLOURS = {"disc": (230, 60, 50), "square": (50, 80, 230)}


def drawn(root: Path, number: int, name: str) -> list[str]:
    """A dark picture with a bright thing somewhere, and its mask; no thing, and no mask, for "sound"."""
    rng = np.random.default_rng(number)
    picture, mask = rng.normal(70, 12, (48, 56, 3)), np.zeros((48, 56), np.uint8)
    if name in COLOURS:
        x, y, r = rng.integers(12, 44), rng.integers(12, 36), rng.integers(6, 11)
        v, u = np.mgrid[:48, :56]
        mask[(np.hypot(u - x, v - y) < r) if name == "disc" else (np.maximum(abs(u - x), abs(v - y)) < r)] = 255
        picture[mask > 0] = rng.normal(COLOURS[name], 12, (int((mask > 0).sum()), 3))
        Image.fromarray(mask).save(root / f"{number:03d}-mask.png")
    Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(root / f"{number:03d}.png")
    return [f"{number:03d}.png", name, f"{number:03d}-mask.png" if name in COLOURS else ""]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("things")
    rows = [drawn(root, i, ("disc", "square", "sound")[i % 3]) for i in range(60)]
    with (root / "labels.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("path", "label", "mask"), *rows])
    return root / "labels.csv"


def tiny(data: Path, out: Path, *more: str, **options):
    return train(data, out, task="segment", backbone=BACKBONE, settings=(*TINY, *more), **options)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    return tiny(data, tmp_path_factory.mktemp("runs") / "run")


def test_things_are_found_where_they_are(run):
    scores = json.loads(json.dumps(run.scores["test"], allow_nan=False))
    assert set(scores) >= {
        "n",
        "iou",
        "iou_ci",
        "miou",
        "miou_ci",
        "dice",
        "dice_ci",
        "foreground_roc_auc",
        "per_class",
    }
    assert list(scores["iou"]) == ["background", "disc", "square"]
    assert scores["foreground_iou"] > 0.5
    facts = bundles.load(run.run).facts
    assert facts["task"] == "segment"
    assert facts["outputs"]["logits"] == [3, 16, 16]
    assert facts["parity"]["f32_difference"] < 1e-4
    assert (run.run / "report.html").is_file()


def test_a_bundle_scores_as_it_did_and_gives_masks_of_the_pictures_size(data, run):
    recogniser = load(run.run)
    assert evaluate(recogniser, data).scores == run.scores["test"]
    one = recogniser.predict(data.parent / "000.png")
    assert one.mask.shape == (48, 56)
    assert one.label == recogniser.classes[np.bincount(one.mask.ravel(), minlength=3)[1:].argmax() + 1]


def test_predict_writes_masks_beside_its_rows(data, run, tmp_path):
    out = tmp_path / "masks"
    words = ["predict", str(run.run), str(data.parent / "000.png"), "missing.png", "--format", "jsonl"]
    done = CliRunner().invoke(cli, [*words, "--out", str(out)])
    assert done.exit_code == 1
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert rows[1]["error"]
    mask = np.asarray(Image.open(rows[0]["mask"]))
    assert (mask == load(run.run).predict(data.parent / "000.png").mask).all()


def test_explain_draws_what_a_region_rests_on(data, run, tmp_path):
    done = CliRunner().invoke(
        cli, ["explain", str(run.run), str(data.parent / "000.png"), "--out", str(tmp_path / "e")]
    )
    assert done.exit_code == 0, done.output
    (row,) = [json.loads(line) for line in (tmp_path / "e" / "explain.jsonl").read_text().splitlines()]
    assert row["label"] in ("disc", "square")
    with Image.open(tmp_path / "e" / row["file"]) as image:
        assert image.size == (56, 48)


def test_a_run_that_was_stopped_ends_with_the_same_bytes(data, run, tmp_path, monkeypatch):
    from fieldmark.workshop.train import loop

    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_S", 0.0)
    step, seen = loop.Fit._step, []

    def stop(self) -> bool:
        seen.append(0)
        if len(seen) == 20:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(loop.Fit, "_step", stop)
    with pytest.raises(KeyboardInterrupt):
        tiny(data, tmp_path / "again")
    monkeypatch.setattr(loop.Fit, "_step", step)
    tiny(data, tmp_path / "again", resume=True)
    ours, theirs = bundle_bytes(tmp_path / "again" / "bundle"), bundle_bytes(run.run / "bundle")
    assert ours["model.onnx"] == theirs["model.onnx"]
    assert ours["model.safetensors"] == theirs["model.safetensors"]


def test_what_cannot_be_learned_is_said(data, tmp_path):
    with pytest.raises(UsageError, match="multiple of 32"):
        tiny(data, tmp_path / "a", "picture.size=72")
    for setting in ("loss.name=arcface", "loss.imbalance=sampling", "picture.fit=crop"):
        with pytest.raises(UsageError, match=setting.split("=")[0]):
            tiny(data, tmp_path / "b", setting)
    rows = [line.rsplit(",", 1)[0] for line in data.read_text().splitlines()]
    bare = data.parent / "bare.csv"
    bare.write_text("\n".join(rows) + "\n")
    with pytest.raises(DataError, match="no masks"):
        tiny(bare, tmp_path / "c")


def test_large_pictures_are_learned_and_segmented_in_tiles(data, tmp_path):
    root = tmp_path / "large"
    root.mkdir()
    rows = [large(root, data.parent, i) for i in range(16)]
    with (root / "labels.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("path", "mask"), *rows])
    run = tiny(root / "labels.csv", tmp_path / "run", "picture.tile=64", "tune.most_epochs=30", "tune.batch=4")
    recogniser = load(run.run)
    assert recogniser.preprocess.tile == 64
    assert recogniser.predict(root / "0.png").mask.shape == (144, 168)
    assert run.scores["test"]["foreground_iou"] > 0.3
    found = explain_region(recogniser, root / "0.png", Question())
    assert found.box is not None
    left, top, right, bottom = found.box
    assert (right - left, bottom - top) == (64, 64)
    assert (found.prediction.mask[top:bottom, left:right] == recogniser.classes.index(found.label)).any()
    ((name, row),) = explain_files(recogniser, [root / "0.png"], tmp_path, Question())
    assert row["label"] == found.label
    with Image.open(tmp_path / name) as drawn, Image.open(root / "0.png") as image:
        changed = np.abs(np.asarray(drawn, int) - np.asarray(image, int)).sum(2) > 0
    assert changed[top:bottom, left:right].any()


def large(root: Path, small: Path, number: int) -> list[str]:
    """Nine of the small pictures side by side."""
    names = [f"{3 * k + number % 3:03d}" for k in range(number % 8, number % 8 + 9)]
    for ending, kind in (("", "RGB"), ("-mask", "L")):
        canvas = Image.new(kind, (168, 144))
        for place, name in enumerate(names):
            file = small / f"{name}{ending}.png"
            if file.exists():
                with Image.open(file) as image:
                    canvas.paste(image, (place % 3 * 56, place // 3 * 48))
        canvas.save(root / f"{number}{ending}.png")
    return [f"{number}.png", f"{number}-mask.png"]
