"""What goes wrong around a training: pictures that break, files of a run that are damaged or of another run."""

import json
import zlib

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from fieldmark import bundle as bundles
from fieldmark.errors import DataError, UsageError
from fieldmark.workshop.train import cache, job, loop, train
from fieldmark.workshop.train import run as run_room
from fieldmark.workshop.train import stages as stages_room
from tests.training import BACKBONE, COLOURS, bundle_bytes, coloured, draw, events, tiny_train

TAIL = ("tune.epochs=3", "tune.batch=4", "optim.rate=0.003")
SCRATCH = ("tune.epochs=2", "tune.batch=2")


@pytest.fixture
def data(tmp_path):
    return coloured(tmp_path / "data", 8)


def break_some(data, count=3, kept=0):
    for name in COLOURS:
        for i in range(kept, kept + count):
            (data / name / f"{i:02d}.png").write_bytes(b"no picture")


# -- pictures that break


def test_broken_pictures_do_not_harm_a_training_without_a_linear_stage(data, tmp_path):
    break_some(data)
    found = tiny_train(data, tmp_path / "run", *SCRATCH, recipe="scratch")
    assert found.skipped == 9
    (stage,) = bundles.load(found.bundle).facts["learning"]
    assert stage["rollbacks"] == 0
    assert stage["steps"] > 0


def test_a_class_without_a_readable_picture_is_refused_without_a_linear_stage_too(data, tmp_path):
    for path in (data / "ash").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(DataError, match="no training picture of class 'ash' can be read"):
        tiny_train(data, tmp_path / "run", *SCRATCH, recipe="scratch")
    assert not (tmp_path / "run").exists()


def test_a_picture_that_goes_before_the_report_is_left_out_of_its_grid(data, tmp_path, monkeypatch):
    write = run_room.report_run

    def report(*words):
        break_some(data, 1)
        (data / "ash" / "01.png").unlink()
        write(*words)

    monkeypatch.setattr(run_room, "report_run", report)
    assert (tiny_train(data, tmp_path / "run").run / "report.html").is_file()


def test_a_picture_that_changes_while_it_is_learned_from_does_not_poison_the_cache(data, tmp_path, monkeypatch):
    monkeypatch.setenv("FIELDMARK_CACHE", str(tmp_path / "cache"))
    changed, digests = data / "ash" / "00.png", cache.digests

    def look(paths):
        found = digests(paths)
        draw(changed, (1, 2, 3), 77)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(stages_room.probe, "digests", look)
        found = tiny_train(data, tmp_path / "first")
    assert "has changed since" in next(e["sentence"] for e in events(found.run) if "00.png" in str(e))
    draw(changed, COLOURS["ash"], 0)
    again = tiny_train(data, tmp_path / "again")
    monkeypatch.setenv("FIELDMARK_CACHE", str(tmp_path / "another cache"))
    clean = tiny_train(data, tmp_path / "clean")
    assert bundle_bytes(again.bundle) == bundle_bytes(clean.bundle)


def test_pictures_that_all_vanish_in_a_stage_are_said(data, tmp_path, monkeypatch):
    monkeypatch.setattr(
        loop.Fit, "run", lambda self: [p.unlink() for p in data.rglob("*.png")] and self.lesson.batch(5, 0.0)
    )
    with pytest.raises(DataError, match="none of the pictures of a batch can be read any more"):
        tiny_train(data, tmp_path / "run", *SCRATCH, "augment.rotate=5", recipe="scratch")  # read as they are needed


# -- runs that are gone on with


@pytest.fixture
def stopped(data, tmp_path, monkeypatch):
    """A run that ended after its tail had learned, its checkpoint there."""

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stages_room.Stages, "_better", stop)
        with pytest.raises(KeyboardInterrupt):
            tiny_train(data, tmp_path / "run", *TAIL, recipe="standard")
    return tmp_path / "run"


def test_other_pictures_under_the_same_names_are_refused(data, stopped):
    draw(data / "ash" / "00.png", (0, 200, 200), 5)
    with pytest.raises(UsageError, match="begun with other pictures"):
        train(data, stopped, resume=True)
    (stopped / "plan.json").unlink()
    with pytest.raises(UsageError, match="of other pictures or another plan"):
        train(data, stopped, resume=True)


def test_a_plan_of_another_network_is_refused(data, stopped):
    plan = json.loads((stopped / "plan.json").read_text())
    plan["stages"][0]["cut"] = "blocks.4.2"
    (stopped / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(UsageError, match="begun with other pictures"):
        train(data, stopped, resume=True)


def with_notes(path, change):
    """The checkpoint with other facts and a checksum that fits, as no accident makes it."""
    with safe_open(path, "pt") as file:
        notes = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    facts = json.loads(notes["fieldmark"])
    change(facts, tensors)
    text = json.dumps(facts)
    check = zlib.crc32(text.encode())
    for name in sorted(tensors):
        raw = tensors[name].reshape(-1).view(torch.uint8).numpy().tobytes()
        check = zlib.crc32(raw, zlib.crc32(name.encode(), check))
    save_file(tensors, path, {"fieldmark": text, "crc32": f"{check:08x}"})


def drop(group):
    def change(facts, tensors):
        for key in [k for k in tensors if k.startswith(group)]:
            del tensors[key]

    return change


CHANGES = {
    "no module": drop("module/"),
    "no best weights": drop("best/"),
    "no average": drop("average/"),
    "unknown fact": lambda facts, tensors: facts.update(odd=1),
    "unknown tensor": lambda facts, tensors: tensors.update({"module/odd": torch.zeros(3)}),
    "another shape": lambda facts, tensors: tensors.update({"module/network.head.weight": torch.zeros(2, 7)}),
    "odd optimiser": lambda facts, tensors: tensors.update({"optimiser/x.y": torch.zeros(3)}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_checkpoint_that_does_not_fit_is_refused_in_one_sentence(data, stopped, name):
    with_notes(stopped / "checkpoint-tail.safetensors", CHANGES[name])
    with pytest.raises(UsageError, match=r"checkpoint .* is damaged .*; delete it to begin its stage anew"):
        train(data, stopped, resume=True)


@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
def test_a_checkpoint_with_other_bytes_is_refused(data, stopped, place):
    file = stopped / "checkpoint-tail.safetensors"
    raw = bytearray(file.read_bytes())
    spot = int(place * len(raw))
    raw[spot : spot + 16] = bytes(b ^ 255 for b in raw[spot : spot + 16])
    file.write_bytes(raw)
    with pytest.raises(UsageError, match="its checksum differs"):
        train(data, stopped, resume=True)
    file.unlink()
    assert train(data, stopped, resume=True).bundle.is_dir()


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"{", b"[]", b"[" * 100_000, b'{"seed": "x"}'])
def test_a_damaged_recipe_is_one_sentence(data, stopped, raw):
    (stopped / "recipe.json").write_bytes(raw)
    with pytest.raises(UsageError, match=r"recipe.json cannot be read .*; begin anew"):
        train(data, stopped, resume=True)


def test_a_run_that_another_training_finished_meanwhile_is_not_touched(data, tmp_path, monkeypatch):
    make, out = run_room.make_network, tmp_path / "run"

    def another_first(*words):
        monkeypatch.setattr(run_room, "make_network", make)
        tiny_train(data, out)
        return make(*words)

    monkeypatch.setattr(run_room, "make_network", another_first)
    with pytest.raises(UsageError, match="exists"):
        tiny_train(data, out, recipe="standard")
    assert json.loads((out / "recipe.json").read_text())["name"] == "quick"


# -- what cannot be done


def test_nothing_to_learn_is_refused(data, tmp_path):
    with pytest.raises(UsageError, match="nothing would be learned"):
        tiny_train(data, tmp_path / "run", "probe.on=false")


def test_a_head_stage_on_a_network_that_cannot_be_cut_is_refused(data, tmp_path, monkeypatch):
    from torch import fx

    from fieldmark.workshop.models import cut

    monkeypatch.setattr(stages_room, "trace", lambda network: cut.Cuttable(network, fx.Graph(), ()))
    with pytest.raises(UsageError, match="cannot be cut into stages"):
        tiny_train(data, tmp_path / "run", *TAIL, "tune.stages=head", recipe="standard")


def test_pictures_too_large_for_the_memory_are_refused(data, tmp_path, monkeypatch):
    monkeypatch.setattr(job, "available_memory", lambda: 3_000_000_000)
    with pytest.raises(UsageError, match=r"4096 px need about 17 GB of memory, and 3 GB are free"):
        train(data, tmp_path / "run", backbone=BACKBONE, settings=("picture.size=4096", "model.weights=none"))


def test_pictures_too_small_for_the_network_are_refused(data, tmp_path):
    with pytest.raises(UsageError, match="16 px"):
        train(data, tmp_path / "run", backbone=BACKBONE, settings=("picture.size=16", "model.weights=none"))
    assert not (tmp_path / "run").exists()


def test_a_tag_of_unknown_weights_is_refused(data, tmp_path):
    with pytest.raises(UsageError, match=r"unknown backbone 'resnet18\.nonsense'"):
        train(data, tmp_path / "run", backbone="resnet18.nonsense")


def test_a_cache_without_room_says_where_it_is_and_leaves_no_run(data, tmp_path, monkeypatch):
    def short(*_, **__):
        raise OSError("204800 requested and 44992 written")

    monkeypatch.setenv("FIELDMARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(np, "save", short)
    with pytest.raises(UsageError, match="FIELDMARK_CACHE"):
        tiny_train(data, tmp_path / "run")
    assert not (tmp_path / "run").exists()
