"""Stages after the linear one: what they learn, within a budget, and whatever happens."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fieldmark import bundle as bundles
from fieldmark.errors import UsageError
from fieldmark.field.explain import explain_picture
from fieldmark.field.runtime import load
from fieldmark.types import Preprocess
from fieldmark.workshop.models import Network
from fieldmark.workshop.recipe import PRESETS
from fieldmark.workshop.train import augment, train
from fieldmark.workshop.train import run as run_room
from fieldmark.workshop.train import stages as room
from fieldmark.workshop.train.plan import Counts, Plan
from fieldmark.workshop.train.planner import Planner
from tests.training import BACKBONE, bundle_bytes, coloured, events, tiny_train

TAIL = ("tune.epochs=3", "tune.batch=4", "augment.mixup=0.5", "optim.rate=0.003")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return coloured(tmp_path_factory.mktemp("stages"), 12)


@pytest.fixture(scope="module")
def tuned(data, tmp_path_factory):
    """A run with all stages, taken whether they are better or not: on these pictures the linear head is perfect."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room.Stages, "_better", lambda self, new, old: True)
        out = tmp_path_factory.mktemp("tuned") / "run"
        return tiny_train(data, out, *TAIL, "tune.stages=head,tail,full", recipe="standard")


def test_all_stages_train_and_the_bundle_has_their_facts(tuned):
    facts = bundles.load(tuned.bundle).facts
    assert [s["name"] for s in facts["learning"]] == ["head", "tail", "full"]
    assert all(s["steps"] > 0 and s["history"] for s in facts["learning"])
    told = [e["stage"] for e in events(tuned.run) if e["event"] == "train"]
    assert list(dict.fromkeys(told)) == ["training head", "training tail", "training full"]
    assert not list(tuned.run.glob("checkpoint*"))
    assert (tuned.run / "plan.json").is_file()


def test_the_report_compares_before_and_after(tuned):
    found = bundles.load(tuned.bundle).facts["comparison"]
    assert found["difference"] == pytest.approx(found["after"] - found["before"])
    assert found["difference_ci"][0] <= found["difference"] <= found["difference_ci"][1]
    assert "Before and after" in (tuned.run / "report.html").read_text(encoding="utf-8")


def test_a_tuned_network_leaves_the_workshop_as_it_is(tuned, data):
    """The bundle's engine says what its own weights say in torch."""
    import torch
    from safetensors.torch import load_file

    from fieldmark import pictures
    from fieldmark.workshop.models import Network, create_backbone

    recogniser = load(tuned.bundle, precision="f32")
    network = Network(create_backbone(BACKBONE, "none", 32), len(recogniser.classes)).eval()
    network.load_state_dict(load_file(tuned.bundle / "model.safetensors"))
    paths = sorted(data.rglob("*.png"))[:8]
    batch = np.stack([pictures.load(p, recogniser.preprocess) for p in paths])
    with torch.inference_mode():
        expected = network(torch.from_numpy(batch))[0].numpy()
    found = np.stack([seen.outputs["logits"] for seen in recogniser.run(paths, ("logits",))])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_fine_tuning_that_is_worse_is_not_taken(data, tmp_path, monkeypatch):
    quick = tiny_train(data, tmp_path / "quick")
    monkeypatch.setattr(room.Stages, "_better", lambda self, new, old: False)
    kept = tiny_train(data, tmp_path / "kept", *TAIL, recipe="standard")
    old, new = bundles.load(quick.bundle), bundles.load(kept.bundle)
    assert new.read(bundles.WEIGHTS) == old.read(bundles.WEIGHTS)
    assert new.facts["scores"] == old.facts["scores"]
    assert new.facts.get("comparison") is None
    assert any("linear head is kept" in e.get("sentence", "") for e in events(kept.run))


def test_a_stage_that_is_worse_leaves_what_the_one_before_has_learned(data, tmp_path, monkeypatch):
    answers = iter([True, False])
    monkeypatch.setattr(room.Stages, "_better", lambda self, new, old: next(answers))
    both = tiny_train(data, tmp_path / "both", *TAIL, "tune.stages=head,full", recipe="standard")
    monkeypatch.setattr(room.Stages, "_better", lambda self, new, old: True)
    first = tiny_train(data, tmp_path / "first", *TAIL, "tune.stages=head", recipe="standard")
    old, new = bundles.load(first.bundle), bundles.load(both.bundle)
    assert [s["name"] for s in new.facts["learning"]] == ["head", "full"]
    assert new.read(bundles.WEIGHTS) == old.read(bundles.WEIGHTS)
    assert new.facts["calibration"] == old.facts["calibration"]
    assert new.facts["scores"] == old.facts["scores"]


def test_a_stage_that_never_learned_is_not_taken(data, tmp_path, monkeypatch):
    monkeypatch.setattr(room.TailLesson, "loss", lambda self, batch: self.module(batch.rows)[0].sum() * np.nan)
    quick = tiny_train(data, tmp_path / "quick")
    kept = tiny_train(data, tmp_path / "kept", *TAIL, "data.val=none", recipe="standard")
    assert bundles.load(kept.bundle).facts["learning"][0]["stopped"] == "the loss was no number, at lower rates too"
    assert any("linear head is kept" in e.get("sentence", "") for e in events(kept.run))
    kept = tiny_train(data, tmp_path / "again", *TAIL, recipe="standard")
    assert bundles.load(kept.bundle).read(bundles.WEIGHTS) == bundles.load(quick.bundle).read(bundles.WEIGHTS)


def test_a_network_from_scratch_learns_without_the_linear_stage(data, tmp_path):
    more = ("tune.epochs=8", "tune.batch=8", "augment.mixup=0", "optim.rate=0.005", "regularise.label_smoothing=0")
    found = tiny_train(data, tmp_path / "run", *more, recipe="scratch")
    assert bundles.load(found.bundle).facts["head"]["kind"] == "linear"
    losses = [e["loss"] for e in events(found.run) if e["event"] == "train"]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


def test_without_parts_for_validation_the_last_weights_are_taken(data, tmp_path):
    found = tiny_train(data, tmp_path / "run", *TAIL, "data.val=none", "data.test=none", recipe="standard")
    (stage,) = bundles.load(found.bundle).facts["learning"]
    assert stage["best_step"] == stage["steps"]


def test_a_backbone_that_cannot_be_cut_is_trained_whole(data, tmp_path, monkeypatch):
    from fieldmark.workshop.models.cut import Cuttable

    traced = room.trace
    monkeypatch.setattr(room, "trace", lambda network: Cuttable(traced(network).root, traced(network).graph, ()))
    found = tiny_train(data, tmp_path / "run", *TAIL, recipe="standard")
    (stage,) = bundles.load(found.bundle).facts["learning"]
    assert (stage["name"], stage["cut"]) == ("full", "pictures")


def test_a_picture_that_breaks_only_when_it_is_decoded_is_left_out(tmp_path):
    data = coloured(tmp_path / "data", 8)
    (data / "ash" / "00.png").write_bytes(b"no picture at all")
    found = tiny_train(data, tmp_path / "run", *TAIL, recipe="standard")
    assert found.skipped == 1
    assert any("left out ash/00.png" in e.get("sentence", "") for e in events(found.run))


def test_from_scratch_too_a_broken_picture_is_left_out_and_said(tmp_path):
    data = coloured(tmp_path / "data", 8)
    (data / "ash" / "00.png").write_bytes(b"no picture at all")
    found = tiny_train(data, tmp_path / "run", "tune.epochs=2", "tune.batch=4", recipe="scratch")
    assert found.skipped == 1
    assert any("left out ash/00.png" in e.get("sentence", "") for e in events(found.run))


def test_an_unknown_cut_names_the_known_ones(data, tmp_path):
    with pytest.raises(UsageError, match=r"cut.*layer"):
        tiny_train(data, tmp_path / "run", *TAIL, "tune.cut=layre3.0", recipe="standard")


# -- budgets


def test_a_budget_is_planned_and_kept_as_a_table(data, tmp_path):
    began = time.monotonic()
    found = tiny_train(data, tmp_path / "run", "tune.batch=4", recipe="standard", budget="40s")
    assert time.monotonic() - began < 60  # a machine that stalls is no failure of the plan; the bench measures it
    plan = Plan.load(found.run / "plan.json")
    assert plan.budget_s == 40
    sentences = [e["sentence"] for e in events(found.run) if e["event"] == "note"]
    assert [s.split()[1] for s in sentences if s.startswith("plan")] == [
        "probe",
        *(s.name for s in plan.stages),
        "finish",
    ]


@pytest.mark.parametrize(("many", "size"), [(0.0, 1.0), (1e9, 0.78)])
def test_views_are_as_large_as_the_input_where_there_is_time_for_many_epochs(data, tmp_path, monkeypatch, many, size):
    from fieldmark.workshop.train import planner

    monkeypatch.setattr(planner, "MANY_EPOCHS", many)
    settings = ("picture.size=160", "tune.cut=maxpool", "tune.epochs=0.5", "tune.views=3")
    tiny_train(data, tmp_path / "run", *settings, recipe="standard", budget="100s")
    plan = Plan.load(tmp_path / "run" / "plan.json")
    assert plan is not None
    assert plan.view_size == size
    whole = tiny_train(data, tmp_path / "asked", *settings, f"augment.size={size}", recipe="standard", budget="100s")
    assert bundle_bytes(whole.bundle)["model.onnx"] == bundle_bytes(tmp_path / "run" / "bundle")["model.onnx"]
    asked = Plan.load(tmp_path / "asked" / "plan.json")
    assert asked is not None
    assert asked.view_size == size


def test_a_budget_too_short_for_anything_says_what_is_needed(data, tmp_path):
    with pytest.raises(UsageError, match=r"too short .* give at least \d+ s"):
        tiny_train(data, tmp_path / "run", recipe="standard", budget="1s")


@pytest.mark.parametrize("budget", ["soon", "-5s", "0", "5 parsecs", "nan", "1e9h", ""])
def test_what_is_no_time_is_refused(data, tmp_path, budget):
    with pytest.raises(UsageError, match="90s, 5m or 2h"):
        tiny_train(data, tmp_path / "run", budget=budget)


# -- killed runs

CHILD = """
import sys
from fieldmark.workshop.train import loop
loop.CHECKPOINT_EVERY_S = 0.05
from tests.training import tiny_train
tiny_train(sys.argv[1], sys.argv[2], *sys.argv[4:], recipe="standard", resume=sys.argv[3] == "resume")
"""


def child(data: Path, run: Path, resume: bool) -> subprocess.Popen:
    words = [sys.executable, "-c", CHILD, str(data), str(run), "resume" if resume else "new", *TAIL]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[3])


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
from fieldmark.workshop.train import loop
import fieldmark.workshop.train.stages, timm, openvino
from tests.training import tiny_train
loop.CHECKPOINT_EVERY_S = 0.05
moments, kills = random.Random(0), 0
while kills < 20:
    run = Path(sys.argv[2]) / str(kills)
    while not (run / "bundle").exists():
        child = os.fork()
        if not child:
            tiny_train(sys.argv[1], run, *sys.argv[3:], recipe="standard", resume=(run / "recipe.json").exists())
            os._exit(0)
        end = time.monotonic() + (moments.uniform(0.2, 2.5) if kills < 20 else 300)
        while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < end:
            time.sleep(0.01)
        if ended == (0, 0):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            kills += 1
        elif ended[1]:
            sys.exit("a run could not go on")
print(kills)
"""


def test_a_run_killed_at_random_moments_ends_with_the_bundle_of_an_undisturbed_one(data, tmp_path):
    expected = tiny_train(data, tmp_path / "whole", *TAIL, recipe="standard")
    (tmp_path / "killed").mkdir()
    words = [sys.executable, "-c", KILLED, str(data), str(tmp_path / "killed"), *TAIL]
    found = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert found.returncode == 0, found.stderr
    assert int(found.stdout) >= 20
    for run in (tmp_path / "killed").iterdir():
        assert bundle_bytes(run / "bundle") == bundle_bytes(expected.bundle)


def test_two_trainings_into_one_run_do_not_mix(data, tmp_path):
    first = child(data, tmp_path / "run", False)
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "recipe.json").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    with pytest.raises(UsageError, match=r"exists|in use"):
        tiny_train(data, tmp_path / "run", *TAIL, recipe="standard")
    with pytest.raises(UsageError, match="in use"):
        tiny_train(data, tmp_path / "run", *TAIL, recipe="standard", resume=True)
    assert first.wait(300) == 0


def test_rows_that_outgrow_the_cache_are_made_as_they_are_needed(data, tmp_path, monkeypatch):
    from fieldmark.workshop.train import plan

    monkeypatch.setattr(plan, "MOST_KEPT_BYTES", 1000)
    found = tiny_train(data, tmp_path / "run", *TAIL, recipe="standard")
    (stage,) = bundles.load(found.bundle).facts["learning"]
    assert (stage["name"], stage["views"]) == ("tail", 0)
    assert stage["cut"] != "pictures"


def test_a_picture_that_vanishes_while_rows_are_made_as_needed_is_left_out(tmp_path, monkeypatch):
    from fieldmark.workshop.train import plan

    data = coloured(tmp_path / "data", 8)
    begin = room.Stages._later_stages

    def vanish(stages):
        next(s.path for s in stages.usable.samples if s.split == "train").unlink()
        return begin(stages)

    monkeypatch.setattr(plan, "MOST_KEPT_BYTES", 1000)
    monkeypatch.setattr(room.Stages, "_later_stages", vanish)
    found = tiny_train(data, tmp_path / "run", *TAIL, recipe="standard")
    assert found.skipped == 1
    assert any("left out" in e.get("sentence", "") for e in events(found.run))


LIMITED = """
import functools, resource, sys
from pathlib import Path
from tests.training import coloured, tiny_train
from fieldmark.workshop.train import cache, run

SETTINGS = ("picture.size=160", "tune.cut=maxpool", "tune.epochs=0.1", "tune.views=8", "tune.batch=8")
ROW_BYTES = 102_400
base = Path(sys.argv[1])

def used():
    status = Path("/proc/self/status").read_text()
    return next(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData"))

def go(count):
    return tiny_train(coloured(base / f"{count}", count), base / f"run {count}", *SETTINGS, recipe="standard")

def without_limit(*words):
    resource.setrlimit(resource.RLIMIT_DATA, (-1, -1))  # engines of another library take what they like
    return write_bundle(*words)

write_bundle, run.write_bundle = run.write_bundle, without_limit
cache.trim_cache = functools.partial(cache.trim_cache, limit_bytes=40_000_000)
go(20)
go(25)
free = 235_000_000
assert 8 * 0.7 * 3 * 280 * ROW_BYTES > 2 * free
resource.setrlimit(resource.RLIMIT_DATA, (used() + free, -1))
go(280)
"""


def test_rows_larger_than_memory_and_cache_are_learned_from(tmp_path):
    words = [sys.executable, "-c", LIMITED, str(tmp_path)]
    found = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parents[3], timeout=300)
    assert found.returncode == 0, found.stderr
    (stage,) = bundles.load(tmp_path / "run 280" / "bundle").facts["learning"]
    assert stage["views"] == 8


def test_a_run_goes_on_without_repeating_its_options_but_not_with_another_budget(data, tmp_path, monkeypatch):
    from fieldmark.workshop.train import finish

    def stop(*_):
        raise UsageError("stopped here")

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(finish.bundles, "save", stop)
        with pytest.raises(UsageError, match="stopped here"):
            tiny_train(data, run, *TAIL, recipe="standard", budget="100s")
    with pytest.raises(UsageError, match=r"with a budget of 100 s .* leave --budget away"):
        train(data, run, resume=True, budget="60s")
    with pytest.raises(UsageError, match=r"tune.epochs was 3.0, not 4.0.* --resume without other options"):
        tiny_train(data, run, *TAIL, "tune.epochs=4", recipe="standard", resume=True)
    assert train(data, run, resume=True, budget="100s").scores["test"]["n"] > 0
    assert bundles.load(run / "bundle").facts["recipe"]["tune"]["epochs"] == 3


def test_a_run_that_goes_on_looks_at_covered_pictures_as_often_as_it_was_planned_with_its_budget(
    data, tmp_path, monkeypatch
):
    from fieldmark.workshop.train import finish, planner

    looks, learn = [], finish.learn_occlusion

    def stop(*_):
        raise KeyboardInterrupt

    def count(recogniser, engine, samples, most, seed, tick):
        looks.append(most)
        return learn(recogniser, engine, samples, most, seed, tick)

    monkeypatch.setattr(planner, "FEWEST_OCCLUSIONS", 100)
    monkeypatch.setattr(room.Stages, "_better", lambda self, new, old: True)
    with monkeypatch.context() as patch:
        patch.setattr(finish, "learn_occlusion", stop)
        with pytest.raises(KeyboardInterrupt):
            tiny_train(data, tmp_path / "run", *TAIL, "picture.size=96", recipe="standard", budget="60s")
    plan = Plan.load(tmp_path / "run" / "plan.json")
    monkeypatch.setattr(finish, "learn_occlusion", count)
    train(data, tmp_path / "run", resume=True)
    assert looks == [plan.occlusions]
    assert 100 <= plan.occlusions <= 17 * 36  # each of the pictures, 16 times covered


def test_a_plan_that_changes_is_told_again(data, tmp_path, monkeypatch):
    from fieldmark.workshop.train import planner

    monkeypatch.setattr(planner, "FINISH_S", 1.0)
    monkeypatch.setattr(planner, "_differ", lambda a, b: True)
    found = tiny_train(data, tmp_path / "run", *TAIL, recipe="standard", budget="60s")
    said = [e["sentence"] for e in events(found.run) if e["event"] == "note"]
    assert any(s.startswith("plan now  ") for s in said)


def test_what_is_no_better_than_guessing_is_said(tmp_path):
    from tests.training import draw

    for i in range(40):  # nothing tells these apart
        draw(tmp_path / "data" / "ab"[i % 2] / f"{i}.png", (90, 90, 90), i)
    found = tiny_train(tmp_path / "data", tmp_path / "run")
    said = [e["sentence"] for e in events(found.run) if e["event"] == "note"]
    assert any("always naming the most frequent class (50%)" in s for s in said)


@pytest.mark.parametrize("head", ["gem", "additive", "gated", "dot", "self"])
def test_every_head_learns_and_its_maps_are_in_the_bundle(data, tmp_path, monkeypatch, head):
    monkeypatch.setattr(room.Stages, "_better", lambda self, new, old: True)
    attention = () if head == "gem" else ("model.maps=2", "model.hidden=8", "regularise.apart=0.1")
    settings = (f"model.head={head}", *attention, "tune.stages=full", "picture.size=96")
    found = tiny_train(data, tmp_path / "run", *TAIL, *settings, recipe="standard")
    assert found.scores["test"]["accuracy"] > 0.6
    recogniser = load(found.bundle)
    maps = explain_picture(recogniser, next(data.rglob("*.png"))).attention
    assert len(maps) == (1 if head == "gem" else 3)
    assert maps.sum((1, 2)) == pytest.approx(np.ones(len(maps)), abs=1e-4)
    trained = np.ptp(maps[1:], (1, 2))
    assert (trained > 0).all()


def test_attention_reads_the_tokens_of_a_transformer(data, tmp_path, monkeypatch):
    """A vision transformer's patch tokens are its positions; the class token is none of them."""
    monkeypatch.setattr(room.Stages, "_better", lambda self, new, old: True)
    settings = (
        "picture.size=32",
        "model.weights=none",
        "bundle.calibration=8",
        "model.head=additive",
        "tune.stages=full",
    )
    found = train(data, tmp_path / "run", backbone="test_vit", recipe="standard", settings=(*TAIL, *settings))
    assert found.scores["test"]["accuracy"] > 0.4
    seen = explain_picture(load(found.bundle), next(data.rglob("*.png")))
    assert seen.evidence.shape == seen.attention.shape[1:] == (2, 2)
    assert seen.attention[1].sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
def test_a_network_by_name_is_tuned_from_the_weights_of_a_file(data, tmp_path, name):
    """The default recipe: a linear head, then a tail of the published form."""
    from safetensors.torch import save_file

    from fieldmark.workshop.models import create_backbone

    file = tmp_path / f"{name}.safetensors"
    save_file(create_backbone(name, "none", 96).body.state_dict(), file)
    settings = (f"model.weights={file}", "picture.size=96", "tune.epochs=0.3", "tune.batch=4", "bundle.calibration=4")
    found = train(data, tmp_path / "run", backbone=name, settings=settings)
    facts = bundles.load(found.bundle).facts
    assert (facts["backbone"]["weights"], facts["backbone"]["form"]) == ("file", None)
    assert [stage["name"] for stage in facts["learning"]] == ["tail"]
    assert facts["learning"][0]["steps"] > 0


@pytest.mark.parametrize("more", ["", "tune.stages=full"])
def test_views_of_other_sizes_are_learned_from(data, tmp_path, more):
    """Inputs large enough have smaller views, which grow; prediction has the input's own size."""
    from fieldmark.workshop.train import augment

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(augment, "LEAST_SCALED", 32)
        patch.setattr(augment, "SIDE_STEP", 16)
        settings = ("picture.size=48", "augment.size=0.6", "augment.size_end=1", "tune.views=4", *more.split())
        found = tiny_train(data, tmp_path / "run", *TAIL, *settings, recipe="standard")
    (stage,) = bundles.load(found.bundle).facts["learning"]
    assert stage["steps"] > 0
    assert load(found.bundle).preprocess.size_wh == (48, 48)


FOUR = ("picture.size=96", "tune.views=4", "tune.epochs=2", "tune.batch=8")
CLOSE = (*FOUR, "augment.guided=0.5")


def test_later_views_are_cropped_where_the_linear_head_looks(data, tmp_path, monkeypatch):
    monkeypatch.setenv("FIELDMARK_CACHE", str(tmp_path / "cache"))
    places, shown, view, report = {}, {}, augment.view, run_room.report_run
    now = [places]  # of the training, then of its report

    def watched(data, digest, number, seed, preprocess, recipe, around=None):
        now[-1].setdefault(number, set()).add(around)
        return view(data, digest, number, seed, preprocess, recipe, around)

    def reported(*words):
        now.append(shown)
        report(*words)

    monkeypatch.setattr(augment, "view", watched)
    monkeypatch.setattr(run_room, "report_run", reported)
    run = tiny_train(data, tmp_path / "run", *CLOSE, recipe="standard").run
    assert Plan.load(run / "plan.json").guided
    assert places[1] == {None}  # of the linear stage, which has no places yet
    later = places[2] | places[3]
    assert len(later) > 3
    assert all(0 < x < 1 and 0 < y < 1 for x, y in later)
    assert set(shown) == {0, 1, 2, 3}  # the report shows views as the network saw them
    assert set.union(*shown.values()) <= later
    places.clear()
    now.pop()
    run = tiny_train(data, tmp_path / "unguided", *FOUR, recipe="standard").run
    assert not Plan.load(run / "plan.json").guided
    assert set.union(*places.values()) == {None}


def test_a_guided_training_repeats(data, tmp_path, monkeypatch):
    monkeypatch.setenv("FIELDMARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(room.Stages, "_better", lambda self, new, old: True)
    first, again = (tiny_train(data, tmp_path / name, *CLOSE, recipe="standard") for name in ("a", "b"))
    assert bundle_bytes(first.bundle)["model.safetensors"] == bundle_bytes(again.bundle)["model.safetensors"]


def test_a_guided_training_that_was_stopped_goes_on_with_the_same_places(data, tmp_path, monkeypatch):
    monkeypatch.setenv("FIELDMARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(room.Stages, "_better", lambda self, new, old: True)
    undisturbed = tiny_train(data, tmp_path / "a", *CLOSE, recipe="standard")
    monkeypatch.setenv("FIELDMARK_CACHE", str(tmp_path / "another"))
    with monkeypatch.context() as stopped:
        stopped.setattr(room.Fit, "run", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            tiny_train(data, tmp_path / "b", *CLOSE, recipe="standard")
    resumed = train(data, tmp_path / "b", resume=True)
    weights = [bundle_bytes(run.bundle)["model.safetensors"] for run in (undisturbed, resumed)]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("settings", "guided"),
    [
        ((), False),  # no budget: views are as large as the input
        (("augment.size=0.75", "picture.size=128"), True),
        (("augment.size=0.75",), False),  # pictures of 96 px have views of their own size
        (("decide.glances=2",), True),
        (("decide.glances=2", "augment.guided=0"), False),
    ],
)
def test_views_are_guided_where_they_are_small_or_two_glances_are_wanted(data, tmp_path, settings, guided):
    run = tiny_train(data, tmp_path / "run", *FOUR, *settings, recipe="standard").run
    assert Plan.load(run / "plan.json").guided == guided


def test_there_is_no_looking_where_the_time_is_too_short_for_it(data, tmp_path):
    planner = _planner(100.0)
    assert planner._guided(7.9)
    assert not planner._guided(8.1)
    planner.extras = False
    assert not planner._guided(7.9)
    planner = _planner(None)
    assert planner._guided(8.1)
    planner.job.preprocess = Preprocess((32, 32), "pad")
    assert not planner._guided(1.0)
    planner = _planner(None, grid_hw=(2, 2))
    assert not planner._guided(1.0)


def _planner(budget_s, grid_hw=(3, 3)):
    network = object.__new__(Network)
    torch.nn.Module.__init__(network)
    network.backbone = torch.nn.Module()
    network.backbone.grid_hw = grid_hw
    recipe = PRESETS["standard"]()
    recipe = replace(recipe, decide=replace(recipe.decide, glances=0), augment=replace(recipe.augment, guided=0.5))
    planner = object.__new__(Planner)
    planner.job = SimpleNamespace(recipe=recipe, network=network, preprocess=Preprocess((32, 32)), budget_s=budget_s)
    planner.tune, planner.extras, planner.counts = recipe.tune, True, Counts(100, 50, 50)
    planner.costs = SimpleNamespace(engine=0.01)
    return planner


def test_a_recipe_without_later_stages_tries_two_glances_in_a_budget(data, tmp_path):
    run = tiny_train(data, tmp_path / "run", "decide.glances=0", budget="60s").run
    assert Plan.load(run / "plan.json").glances == 0


def test_what_a_plan_has_no_stage_or_picture_for_is_said(data, tmp_path):
    run = tiny_train(data, tmp_path / "run", "model.head=additive", "decide.glances=0", "data.val=none").run
    said = [e["sentence"] for e in events(run) if "sentence" in e]
    assert any(text.startswith("--head additive learns in later stages") for text in said)
    assert "two glances are not tried: no validation picture could decide" in said


def test_two_glances_are_tried_where_scoring_them_leaves_the_budget_to_learn():
    planner = _planner(100.0)
    assert planner._glances(990) == 0
    assert planner._glances(1010) == 1
    planner.extras = False
    assert planner._glances(10) == 1
    planner = _planner(None)
    assert planner._glances(10**6) == 0
    planner.counts = Counts(100, 0, 50)  # none to decide on
    assert planner._glances(10) == 1
    recipe = planner.job.recipe
    planner.job.budget_s, planner.job.recipe = 1.0, replace(recipe, decide=replace(recipe.decide, glances=2))
    assert planner._glances(10**6) == 2
