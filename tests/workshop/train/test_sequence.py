"""The task `sequence` from DATA to RUN: what is written, the same by the same seed, resumed to the very bytes."""

import json
import signal
from dataclasses import replace

import numpy as np
import pytest

from fieldmark import bundle as bundles
from fieldmark.errors import DataError, UsageError
from fieldmark.workshop.recipe import load_recipe
from fieldmark.workshop.train import loop, sequence, train
from fieldmark.workshop.train.journal import silent
from fieldmark.workshop.train.loop import Fit
from fieldmark.workshop.train.wish import Wish
from tests.sequences import TINY, foreseen, tiny_train, waves, write_table, write_text, written
from tests.training import bundle_bytes, events


@pytest.fixture
def run(tmp_path_factory):
    return written(tmp_path_factory.getbasetemp())


def test_a_run_holds_what_every_run_holds(run):
    _, result = run
    there = {p.name for p in result.run.iterdir()}
    assert there == {"bundle", "report.html", "split.csv", "recipe.json", "plan.json", "log.jsonl"}
    assert result.task == "sequence"
    assert set(result.scores) == {"val", "test"}
    assert {e["event"] for e in events(result.run)} >= {"begin", "train", "check", "stage", "step", "scores", "end"}
    assert json.dumps(result.to_json())


def test_the_bundle_says_what_it_is(run):
    facts = bundles.load(run[1].run).facts
    assert (facts["task"], facts["kind"]) == ("sequence", "text")
    assert set("ö鹪鹩在唱歌。") == set(facts["alphabet"]["characters"])
    assert facts["states"] == {"h": [1, 16], "c": [1, 16]}
    assert facts["outputs"] == {"logits": [256 + 7]}
    assert facts["data"]["parts"]["test"]["n"] == 294
    assert facts["parity"]["f32_difference"] < 1e-4
    assert [s["temperature"] for s in facts["samples"]] == [0.8, 0.5]
    card = (run[1].bundle / "README.md").read_text(encoding="utf-8")
    report = (run[1].run / "report.html").read_text(encoding="utf-8")
    for words in ("character model", "bits_per_character", "fieldmark generate"):
        assert words in card
    assert "What it writes" in report
    assert "pictures" not in report.split("<body>")[1].split('id="facts"')[0]


def test_the_same_seed_gives_the_same_bundle_and_another_another(run, tmp_path):
    again = tiny_train(run[0], tmp_path / "again")
    assert bundle_bytes(again.bundle) == bundle_bytes(run[1].bundle)
    other = tiny_train(run[0], tmp_path / "other", seed=1)
    assert bundle_bytes(other.bundle)["model.onnx"] != bundle_bytes(run[1].bundle)["model.onnx"]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_run_that_was_killed_goes_on_to_the_very_bytes(tmp_path, monkeypatch, cell):
    data, more = write_text(tmp_path / "a.txt"), (f"sequence.cell={cell}", "sequence.dropout=0.2", "sequence.layers=2")
    whole = tiny_train(data, tmp_path / "whole", *more)
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_S", 0.0)
    step = Fit._step

    def killed(self):
        if self.at.step == 13:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(Fit, "_step", killed)
    with pytest.raises(KeyboardInterrupt):
        tiny_train(data, tmp_path / "cut", *more)
    assert list((tmp_path / "cut").glob("checkpoint-*"))
    monkeypatch.setattr(Fit, "_step", step)
    resumed = train(data, tmp_path / "cut", resume=True)
    assert bundle_bytes(resumed.bundle) == bundle_bytes(whole.bundle)
    assert not list((tmp_path / "cut").glob("checkpoint-*"))


def test_ctrl_c_keeps_every_step_and_the_run_goes_on_from_there(run, tmp_path, monkeypatch):
    step, done = Fit._step, []

    def pressing(self) -> bool:
        done.append(0)
        if len(done) == 7:
            signal.getsignal(signal.SIGINT)(signal.SIGINT, None)
        return step(self)

    monkeypatch.setattr(Fit, "_step", pressing)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            tiny_train(run[0], tmp_path / "run")
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(done) == 7
    tiny_train(run[0], tmp_path / "run", resume=True)
    assert len(done) == sum(e["event"] == "train" for e in events(run[1].run))
    assert any("goes on at step 7" in str(e.values()) for e in events(tmp_path / "run") if e["event"] == "note")
    assert bundle_bytes(tmp_path / "run" / "bundle") == bundle_bytes(run[1].run / "bundle")


def test_a_run_goes_on_with_its_own_data_and_recipe_alone(tmp_path, monkeypatch):
    data = write_text(tmp_path / "a.txt")

    def killed(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Fit, "_step", killed)
    with pytest.raises(KeyboardInterrupt):
        tiny_train(data, tmp_path / "cut")
    with pytest.raises(UsageError, match="other data"):
        train(write_text(tmp_path / "b.txt", 61), tmp_path / "cut", resume=True)
    with pytest.raises(UsageError, match="another recipe"):
        tiny_train(data, tmp_path / "cut", "sequence.hidden=4", resume=True)
    with pytest.raises(UsageError, match="without a budget"):
        train(data, tmp_path / "cut", resume=True, budget="9m")


def test_a_budget_is_planned_and_one_that_is_too_short_refused(tmp_path):
    data = write_text(tmp_path / "a.txt")
    settings = tuple(s for s in TINY if not s.startswith("tune"))
    with pytest.raises(UsageError, match=r"too short .* give at least"):
        train(data, tmp_path / "short", task="sequence", settings=settings, budget=0.5)
    assert not (tmp_path / "short").exists()
    result = train(data, tmp_path / "run", task="sequence", settings=(*settings, "tune.most_epochs=2"), budget=600)
    plan = json.loads((result.run / "plan.json").read_text())
    assert plan["budget_s"] == 600
    assert plan["stages"][0]["seconds"] > 300


def test_numbers_are_learned_and_gaps_do_not_hinder(tmp_path):
    values = waves(300)
    values[50:60, 0] = np.nan
    values[290, 1] = np.nan
    result = tiny_train(write_table(tmp_path / "a.csv", values), tmp_path / "run", "sequence.cell=gru")
    assert result.scores["test"]["n"] == 30
    facts = bundles.load(result.run).facts
    assert facts["columns"] == ["north", "south"]
    assert facts["scaling"]["period"] % 12 == 0
    assert "series model" in (result.bundle / "README.md").read_text(encoding="utf-8")


def test_the_scaling_in_a_bundle_is_that_of_the_training_part(tmp_path_factory):
    _, result = foreseen(tmp_path_factory.getbasetemp())
    scaling = bundles.load(result.run).facts["scaling"]
    assert scaling["mean"] == pytest.approx(waves(400)[:340].mean(0))


@pytest.mark.parametrize("content", ["a" * 2000, "ab\n" * 700])
def test_a_text_of_one_character_or_two_is_learned_and_soon_no_surprise(tmp_path, content):
    (tmp_path / "a.txt").write_text(content)
    result = tiny_train(tmp_path / "a.txt", tmp_path / "run", "tune.epochs=30", "optim.rate=0.02")
    assert result.scores["test"]["bits_per_character"] < 0.5


def test_a_series_that_never_changes_is_foreseen(tmp_path):
    result = tiny_train(write_table(tmp_path / "a.csv", np.full((120, 2), 5.0)), tmp_path / "run")
    assert result.scores["test"]["mae"] == pytest.approx(0, abs=1e-6)
    assert result.scores["test"]["baseline_mae"] == 0


@pytest.mark.parametrize(
    ("content", "says"), [(b"", "0 characters"), (b"x", "1 character"), (bytes(range(256)) * 20, "no text|no UTF-8")]
)
def test_a_text_that_cannot_be_learned_from_leaves_nothing(tmp_path, content, says):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(DataError, match=says):
        tiny_train(tmp_path / "a.txt", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_options_of_pictures_are_refused(tmp_path):
    data = write_text(tmp_path / "a.txt")
    for options in ({"backbone": "resnet18"}, {"head": "gem"}):
        with pytest.raises(UsageError, match="without backbone"):
            tiny_train(data, tmp_path / "run", **options)


def test_a_text_file_is_a_sequence_unasked_and_a_recipe_may_say_so(tmp_path):
    data = write_text(tmp_path / "a.txt")
    run = tmp_path / "run"
    wish = Wish(data, run, "auto", None, None, None, (), "cpu", None, None, False, 0.0, silent)
    assert sequence.asked(wish)
    assert sequence.asked(replace(wish, data=tmp_path, recipe="sequence"))
    assert not sequence.asked(replace(wish, data=tmp_path))
    assert not sequence.asked(replace(wish, task="classify"))
    assert load_recipe("sequence").task == "sequence"
