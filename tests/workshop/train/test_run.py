"""One training from DATA to RUN: what is in the folder, what repeats, what is refused, what goes on."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fieldmark import bundle as bundles
from fieldmark.data import Index, Note
from fieldmark.errors import DataError, FieldmarkError, UsageError, WeightsError
from fieldmark.field.runtime import Recogniser, evaluate, load
from fieldmark.progress import SENTENCE
from fieldmark.types import Sample
from fieldmark.workshop.learn.classify import Classify
from fieldmark.workshop.recipe import Recipe, from_json
from fieldmark.workshop.train import finish as finish_room
from fieldmark.workshop.train import run as run_room
from fieldmark.workshop.train import stages as stages_room
from fieldmark.workshop.train import train
from fieldmark.workshop.train.job import open_run
from fieldmark.workshop.train.journal import Journal
from fieldmark.workshop.train.small import settle
from tests.making import write_picture
from tests.training import BACKBONE, COLOURS, TINY, bundle_bytes, coloured, draw, events, tiny_train, trained

SCORE_KEYS = {
    "n",
    "accuracy",
    "accuracy_ci",
    "top5",
    "macro_f1",
    "precision",
    "recall",
    "ece",
    "nll",
    "per_class",
}


@pytest.fixture
def run(tmp_path_factory):
    return trained(tmp_path_factory.getbasetemp())


def rows_of(data: Path) -> list[tuple[str, str]]:
    return [(p.relative_to(data.parent).as_posix(), p.parent.name) for p in sorted(data.rglob("*.png"))]


def test_the_run_folder_holds_what_the_contract_names(run):
    _, result = run
    assert {p.name for p in result.run.iterdir()} == {
        "bundle",
        "log.jsonl",
        "plan.json",
        "recipe.json",
        "report.html",
        "split.csv",
    }
    assert {p.name for p in result.bundle.iterdir()} == {
        "bundle.json",
        "model.onnx",
        "model.safetensors",
        "calibration.npz",
        "README.md",
    }
    bundles.load(result.run)


def test_the_result_has_the_keys_of_the_contract(run):
    _, result = run
    facts = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert list(facts) == ["run", "bundle", "task", "seconds", "skipped", "scores"]
    assert facts["task"] == "classify"
    assert facts["skipped"] == 0
    assert set(facts["scores"]) == {"val", "test"}
    for scores in facts["scores"].values():
        assert set(scores) >= SCORE_KEYS
        low, high = scores["accuracy_ci"]
        assert 0 <= low <= scores["accuracy"] <= high <= 1


def test_colours_are_learned(run):
    _, result = run
    assert result.scores["test"]["accuracy"] > 0.9


def test_split_csv_names_every_picture_once_with_its_part(run):
    data, result = run
    with (result.run / "split.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert sorted(r["path"] for r in rows) == sorted(p.relative_to(data).as_posix() for p in data.rglob("*.png"))
    assert all(r["path"].startswith(r["label"] + "/") for r in rows)
    for name in COLOURS:
        assert {r["split"] for r in rows if r["label"] == name} == {"train", "val", "test"}
    facts = bundles.load(result.run).facts
    assert {k: v["n"] for k, v in facts["data"]["parts"].items()} == {
        part: sum(r["split"] == part for r in rows) for part in ("train", "val", "test")
    }


def test_the_log_tells_the_story_and_ends_with_scores(run):
    _, result = run
    told = events(result.run)
    assert [e["event"] for e in told if e["event"] not in ("step", "note")] == [
        "begin",
        "head",
        "scores",
        "scores",
        "end",
    ]
    assert told[-1]["scores"]["test"] == result.scores["test"]["accuracy"]


def test_the_bundle_scores_what_training_said(run):
    _, result = run
    facts = bundles.load(result.run).facts
    assert facts["scores"]["test"] == json.loads(json.dumps(result.scores["test"]))
    assert facts["classes"] == sorted(COLOURS)
    asked = from_json(json.loads((result.run / "recipe.json").read_text(encoding="utf-8")))
    assert facts["recipe"] == json.loads(json.dumps(settle(asked, 32, facts["data"]["parts"]["train"]["n"]).to_json()))


@pytest.mark.parametrize(("asked", "better", "count"), [(0, True, 2), (0, False, 1), (2, False, 2)])
def test_glances_are_chosen_on_validation_or_as_asked_and_remembered(run, tmp_path, monkeypatch, asked, better, count):
    data, _ = run
    monkeypatch.setattr(Classify, "gains", lambda self, new, old, targets: better)
    result = tiny_train(data, tmp_path / "run", f"decide.glances={asked}")
    chosen = bundles.load(result.run).facts["glances"]
    assert chosen["count"] == count
    assert set(chosen["val_accuracy"]) == set(chosen["val_nll"]) == {"one", "two"}
    said = [e["sentence"] for e in events(result.run) if " at each picture" in e.get("sentence", "")]
    assert [text.split(" at ")[0] for text in said] == (
        [{1: "one glance", 2: "two glances"}[count]] if not asked else []
    )
    recogniser = load(result.run)
    assert recogniser.glances.count == chosen["count"]
    if chosen["count"] == 2:
        assert recogniser.facts.temperature == chosen["settled"]["calibration"]["temperature"]
    assert evaluate(recogniser, data).scores == result.scores["test"]


def test_a_picture_that_only_one_of_the_glances_can_use_decides_nothing(run, tmp_path, monkeypatch):
    data, _ = run
    seen, looked = Recogniser.run, []

    def lossy(self, sources, outputs, *words, **more):
        found = list(seen(self, sources, outputs, *words, **more))
        looked.append(self.glances.count)
        gone = self.glances.count if len(looked) <= 2 else -1
        return iter([replace(f, error="gone") if i == gone else f for i, f in enumerate(found)])

    monkeypatch.setattr(Recogniser, "run", lossy)
    monkeypatch.setattr(Classify, "gains", lambda self, new, old, targets: usable.append((new, old, targets)) or True)
    usable = []
    result = tiny_train(data, tmp_path / "run", "decide.glances=0")
    assert looked[:2] == [1, 2]
    n = bundles.load(result.run).facts["scores"]["val"]["n"]
    assert [len(part) for part in usable[0]] == [n - 2] * 3


def test_the_bundle_does_not_tell_where_it_was_made(run):
    data, result = run
    for name, content in bundle_bytes(result.bundle).items():
        for secret in (str(data), str(result.run), str(Path.home()) + "/", "site-packages"):
            assert secret.encode() not in content, (name, secret)


def test_the_same_seed_gives_the_same_bytes_with_and_without_cache(run, tmp_path, monkeypatch):
    data, result = run
    expected = bundle_bytes(result.bundle)
    monkeypatch.setenv("FIELDMARK_CACHE", str(tmp_path / "empty"))
    for name in ("cold", "warm"):
        assert bundle_bytes(tiny_train(data, tmp_path / name).bundle) == expected, name


def test_another_seed_gives_another_bundle(run, tmp_path):
    data, result = run
    other = bundle_bytes(tiny_train(data, tmp_path / "run", seed=1).bundle)
    assert other["model.onnx"] != bundle_bytes(result.bundle)["model.onnx"]


def test_split_folders_are_used_as_found_and_no_part_is_made_beside_them(tmp_path):
    for part, count in (("Train", 5), ("valid", 2), ("test", 3)):
        coloured(tmp_path / "data" / part, count)
    result = tiny_train(tmp_path / "data", tmp_path / "run")
    parts = bundles.load(result.run).facts["data"]["parts"]
    assert {k: v["n"] for k, v in parts.items()} == {"train": 15, "val": 6, "test": 9}
    assert result.scores["test"]["n"] == 9


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_tables_are_learned_from(tmp_path, suffix):
    rows = rows_of(coloured(tmp_path / "pics, 杜鹃", 6))
    table = tmp_path / f"labels{suffix}"
    if suffix == ".parquet":
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.table({"path": [p for p, _ in rows], "label": [c for _, c in rows]}), table)
    else:
        with table.open("w", encoding="utf-8", newline="") as out:
            csv.writer(out, delimiter="\t" if suffix == ".tsv" else ",").writerows([("path", "label"), *rows])
    result = tiny_train(table, tmp_path / "run")
    assert load(result.run).classes == tuple(sorted(COLOURS))
    assert sum(s["n"] for s in result.scores.values()) > 0


@pytest.fixture
def two_levels(tmp_path):
    rows = rows_of(coloured(tmp_path / "pics", 6))
    coarse = {"ash": "broad", "beech": "broad", "cedar": "needle"}
    table = tmp_path / "labels.csv"
    table.write_text("path,label,coarse\n" + "".join(f"{p},{c},{coarse[c]}\n" for p, c in rows))
    return table


def test_coarse_labels_are_scored_too(two_levels, tmp_path):
    scores = tiny_train(two_levels, tmp_path / "run").scores["test"]
    assert 0 <= scores["coarse_accuracy"] <= 1
    assert len(scores["coarse_accuracy_ci"]) == 2


def test_the_loss_of_coarse_labels_is_part_of_every_step(two_levels, tmp_path):
    """The first step's loss, of the same batch and weights, is larger by what the coarse labels add."""
    more = ("tune.epochs=1", "tune.batch=4", "optim.rate=0.003")
    first = []
    for weight in (0, 2):
        out = tmp_path / f"run{weight}"
        tiny_train(two_levels, out, *more, f"regularise.coarse={weight}", recipe="standard")
        first.append(next(e["loss"] for e in events(out) if e["event"] == "train"))
    assert first[1] > first[0] + 1  # twice ln 2 where both groups are as likely


def test_unreadable_pictures_are_left_out_counted_and_listed(tmp_path):
    data = tmp_path / "data"
    for part in ("train", "val", "test"):
        coloured(data / part, 4)
    broken = [data / "train/ash/00.png", data / "val/beech/01.png", data / "test/cedar/02.png"]
    broken[0].write_bytes(b"")
    broken[1].write_bytes(b"no picture at all")
    broken[2].write_bytes(broken[2].read_bytes()[:200])
    result = tiny_train(data, tmp_path / "run")
    assert result.skipped == 3
    assert result.scores["val"]["n"] == result.scores["test"]["n"] == 11
    page = (result.run / "report.html").read_text(encoding="utf-8")
    assert all(path.relative_to(data).as_posix() in page for path in broken)


def test_a_test_part_of_broken_pictures_only_is_counted_and_not_scored(tmp_path):
    data = tmp_path / "data"
    for part in ("train", "val", "test"):
        coloured(data / part, 3)
    for path in (data / "test").rglob("*.png"):
        path.write_bytes(b"broken")
    result = tiny_train(data, tmp_path / "run")
    assert result.skipped == 9
    assert set(result.scores) == {"val"}
    assert any(e["event"] == "unscored" for e in events(result.run))


def test_a_class_without_one_readable_training_picture_is_an_error_that_names_it(tmp_path):
    data = coloured(tmp_path / "data", 4)
    for path in (data / "beech").iterdir():
        path.write_bytes(b"broken")
    with pytest.raises(DataError, match="beech"):
        tiny_train(data, tmp_path / "run")
    assert not (tmp_path / "run" / "bundle").exists()


@pytest.mark.parametrize("many", ["one group", "one content"])
def test_data_that_cannot_be_cross_validated_still_trains(tmp_path, many):
    if many == "one group":
        rows = rows_of(coloured(tmp_path / "pics", 3))
        data = tmp_path / "labels.csv"
        data.write_text("path,label,group\n" + "".join(f"{p},{c},all\n" for p, c in rows))
    else:
        data = tmp_path / "data"
        for name in "abcdef":
            draw(data / name[0].replace("c", "a").replace("d", "b") / f"{name}.png", (9, 9, 9), 0)
        for name in ("e", "f"):
            shutil.rmtree(data / name)
    assert tiny_train(data, tmp_path / "run").bundle.is_dir()


def test_one_picture_a_class_is_enough(tmp_path):
    result = tiny_train(coloured(tmp_path / "data", 1), tmp_path / "run")
    assert result.scores == {}
    assert load(result.run).predict(tmp_path / "data/ash/00.png").label == "ash"


def test_no_parts_are_made_where_none_are_wanted(tmp_path):
    result = tiny_train(coloured(tmp_path / "data", 3), tmp_path / "run", "data.val=none", "data.test=none")
    assert result.scores == {}
    assert bundles.load(result.run).facts["data"]["parts"]["train"]["n"] == 9


def test_a_bundle_may_hold_no_pictures(tmp_path):
    result = tiny_train(coloured(tmp_path / "data", 4), tmp_path / "run", "bundle.calibration=0")
    kept = np.load(result.bundle / "calibration.npz", allow_pickle=False)
    assert len(kept["train_jpeg"]) == len(kept["val_jpeg"]) == 0


def _only_in_val(data: Path) -> None:
    coloured(data / "train", 2, ("ash", "beech"))
    coloured(data / "val", 2, ("ash", "cedar"))


def _two_coarse(data: Path) -> None:
    rows = rows_of(coloured(data / "pics", 3))
    (data / "labels.csv").write_text("path,label,coarse\n" + "".join(f"{p},{c},{p[-5]}\n" for p, c in rows))


def _torn(data: Path) -> None:
    rows = rows_of(coloured(data / "pics", 3))
    part = {"0": "train", "1": "val", "2": "test"}
    text = "".join(f"{p},{c},{part[p[-5]]},all\n" for p, c in rows)
    (data / "labels.csv").write_text("path,label,split,group\n" + text)


def _unread(data: Path) -> None:
    for path in coloured(data, 4).glob("beech/*"):
        path.write_bytes(b"broken")


BAD = {
    "a class without a readable picture": (_unread, {}, DataError),
    "one class": (lambda d: coloured(d, 3, ("ash",)), {}, DataError),
    "empty folder": (lambda d: d.mkdir(), {}, DataError),
    "no folder": (lambda d: None, {}, DataError),
    "pictures without classes": (lambda d: write_picture(d / "a.png"), {}, DataError),
    "a class only in val": (_only_in_val, {}, DataError),
    "classes by case": (lambda d: coloured(d, 2, ("ash", "Ash")), {}, DataError),
    "no train part": (lambda d: coloured(d / "test", 2), {}, DataError),
    "two coarse labels": (_two_coarse, {}, DataError),
    "a torn group": (_torn, {}, DataError),
    "unknown backbone": (coloured, {"backbone": "resnet_5000"}, UsageError),
    "unknown recipe": (coloured, {"recipe": "fast"}, UsageError),
    "unknown setting": (coloured, {"settings": ["colour=1"]}, UsageError),
    "unknown precision": (coloured, {"settings": [*TINY, "bundle.precision=fp8"]}, UsageError),
    "unknown task": (coloured, {"task": "detekt"}, UsageError),
    "unknown task set": (coloured, {"settings": [*TINY, "task=detekt"]}, UsageError),
    "unknown device": (coloured, {"device": "tpu"}, UsageError),
    "seed": (coloured, {"seed": -1}, UsageError),
    "huge seed": (coloured, {"seed": 2**80}, UsageError),
    "pickled weights": (coloured, {"settings": ["model.weights=w.pth"]}, WeightsError),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_done_leaves_no_run_behind(tmp_path, name):
    make, options, kind = BAD[name]
    make(tmp_path / "data")
    with pytest.raises(kind) as caught:
        train(tmp_path / "data", tmp_path / "run", **{"backbone": BACKBONE, "settings": TINY, **options})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_what_fails_after_something_was_learned_is_kept_to_go_on_with(tmp_path, monkeypatch):
    def fail(job, *args):
        (job.run / "checkpoint-tail.safetensors").write_bytes(b"learned")
        raise UsageError("no room")

    monkeypatch.setattr(run_room, "write_bundle", fail)
    with pytest.raises(UsageError, match="no room"):
        tiny_train(coloured(tmp_path / "data", 3), tmp_path / "run")
    assert (tmp_path / "run" / "checkpoint-tail.safetensors").exists()


def test_a_cache_that_cannot_be_written_is_refused_first(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("FIELDMARK_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(run_room, "open_data", lambda *args: pytest.fail("the data was opened first"))
    with pytest.raises(UsageError, match="FIELDMARK_CACHE"):
        tiny_train(tmp_path / "data", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_the_table_leaves_out_is_said(tmp_path):
    rows = rows_of(coloured(tmp_path / "pics", 3))
    (tmp_path / "l.csv").write_text(
        "path,label\n" + "".join(f"{p},{c}\n" for p, c in rows) + "".join(f"gone{i}.png,ash\n" for i in range(25))
    )
    result = tiny_train(tmp_path / "l.csv", tmp_path / "run")
    said = [e["sentence"] for e in events(result.run) if e["event"] == "note"]
    assert said[0] == "left out gone0.png: no such file"
    assert "left out 5 more; the report lists all" in said


def test_a_full_disk_under_the_log_names_the_log(tmp_path, monkeypatch):
    journal = Journal(Path("/dev/full"))
    with pytest.raises(UsageError, match="cannot write /dev/full: No space left on device"):
        journal.write("note")


def test_several_labels_a_picture_are_refused(tmp_path):
    rows = rows_of(coloured(tmp_path / "pics", 2))
    (tmp_path / "l.csv").write_text("path,labels\n" + "".join(f"{p},{c};tree\n" for p, c in rows))
    with pytest.raises(UsageError, match=r"2 labels.*--task multilabel"):
        tiny_train(tmp_path / "l.csv", tmp_path / "run", task="classify")


def test_boxes_are_refused_by_what_learns_names(tmp_path):
    rows = rows_of(coloured(tmp_path / "pics", 2))
    (tmp_path / "l.csv").write_text("path,label,xmin,ymin,xmax,ymax\n" + "".join(f"{p},{c},0,0,9,9\n" for p, c in rows))
    with pytest.raises(DataError, match="holds boxes, not one name a picture"):
        tiny_train(tmp_path / "l.csv", tmp_path / "run", task="classify")
    assert not (tmp_path / "run").exists()


def test_notes_on_annotations_are_said_and_written_down(tmp_path):
    notes = tuple(Note(os.fsdecode(b"\xff.csv"), f"line {i}: mended") for i in range(25))
    index = Index("x", (Sample(tmp_path / "a", "a", ("ash",), "train"),), notes=notes)
    journal = open_run(tmp_path, Recipe(), index, lambda *told: None, time.monotonic())
    journal.close()
    found = events(tmp_path)
    (written,) = [e["notes"] for e in found if e["event"] == "annotations"]
    assert written == [[n.name, n.text] for n in notes]
    said = [e["sentence"] for e in found if e["event"] == "note"]
    assert said[0] == f"{notes[0].name}: line 0: mended"
    assert said[-1] == "5 more notes on annotations; log.jsonl has them"


def test_an_existing_run_is_refused_and_not_touched(run, tmp_path):
    data, result = run
    before = {p: p.read_bytes() for p in result.run.rglob("*") if p.is_file()}
    with pytest.raises(UsageError, match="--resume"):
        tiny_train(data, result.run)
    with pytest.raises(UsageError, match="is finished"):
        tiny_train(data, result.run, resume=True)
    assert {p: p.read_bytes() for p in result.run.rglob("*") if p.is_file()} == before


def test_a_place_that_is_a_file_below_a_file_or_not_writable_is_refused(run, tmp_path):
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "run", Path("/proc/fieldmark/run")):
        with pytest.raises((FieldmarkError, OSError)):
            tiny_train(run[0], place)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_of_something_else_is_not_resumed(run, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="no run of Fieldmark"):
        tiny_train(run[0], tmp_path, resume=True)


def test_an_empty_folder_is_a_fine_place(run, tmp_path):
    (tmp_path / "run").mkdir()
    assert tiny_train(run[0], tmp_path / "run").bundle.is_dir()


def test_a_stopped_run_is_not_resumed_with_another_recipe_and_its_remains_go(run, tmp_path, monkeypatch):
    data, result = run

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stages_room, "export_onnx", stop)
        with pytest.raises(KeyboardInterrupt):
            tiny_train(data, tmp_path / "run")
    (tmp_path / "run" / ".bundle.partial-abc").mkdir()  # as SIGKILL leaves one
    with pytest.raises(UsageError, match="another recipe"):
        tiny_train(data, tmp_path / "run", seed=5, resume=True)
    again = tiny_train(data, tmp_path / "run", resume=True)
    assert bundle_bytes(again.bundle) == bundle_bytes(result.bundle)
    assert not list(again.run.glob(".*"))


CHILD = """
import sys
from fieldmark.workshop.train import cache
cache.SHARD_ROWS = 4
from tests.training import tiny_train
seen = []
def progress(step, done, total):
    if step.startswith("features, view 2") and done >= 8 and not seen:
        seen.append(1)
        print("now", flush=True)
        sys.stdin.read()
tiny_train(sys.argv[1], __import__("pathlib").Path(sys.argv[2]), progress=progress)
"""


def test_a_run_killed_in_the_middle_goes_on_to_the_same_bytes(run, tmp_path, monkeypatch):
    data, result = run
    monkeypatch.setenv("FIELDMARK_CACHE", str(tmp_path / "cache"))
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(data), str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parents[3],
    )
    assert child.stdout.readline() == b"now\n"
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert not (tmp_path / "run" / "bundle").exists()
    assert len(list((tmp_path / "cache").rglob("*.key"))) > 6  # all of view 1, some of view 2
    with pytest.raises(UsageError, match="--resume"):
        tiny_train(data, tmp_path / "run")
    again = tiny_train(data, tmp_path / "run", resume=True)
    assert bundle_bytes(again.bundle) == bundle_bytes(result.bundle)


def test_a_full_disk_ends_the_run_with_an_error_and_no_bundle(run, tmp_path, monkeypatch):
    import errno

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(bundles, "save", full)
        with pytest.raises(UsageError, match="No space left"):
            tiny_train(run[0], tmp_path / "run")
    assert not (tmp_path / "run" / "bundle").exists()
    assert not list((tmp_path / "run").glob(".*"))
    assert tiny_train(run[0], tmp_path / "run", resume=True).bundle.is_dir()


def test_names_in_any_script_and_bytes_that_are_none(tmp_path):
    classes = ("杜鹃 花", 'it\'s "quoted", yes', "🦜;parrot")
    data = coloured(tmp_path / "données 数据 🦜 'x'", 4, classes)
    odd = Path(str(data / classes[0] / "odd") + "\udcff.png")
    draw(odd, (1, 2, 3), 9)
    result = tiny_train(data, tmp_path / 'out "put" 出')
    assert load(result.run).classes == tuple(sorted(classes))
    assert "杜鹃" in (result.run / "split.csv").read_text(encoding="utf-8")


def test_progress_is_told_of_every_step(run, tmp_path):
    told = []
    tiny_train(run[0], tmp_path / "run", progress=lambda *step: told.append(step))
    steps = {name for name, _, _ in told}
    assert {"network", "network to ONNX", "linear head", "bundle", "scores on val", "scores on test"} <= steps
    assert all(0 <= done <= max(total, 1) or done == total == SENTENCE for _, done, total in told)


def test_the_clock_of_the_result_is_that_of_the_whole_training(run, tmp_path):
    begun = time.monotonic()
    result = tiny_train(run[0], tmp_path / "run")
    assert 0 < result.seconds <= time.monotonic() - begun


PLACES = (Path(os.environ.get("FIELDMARK_DATA", "/nowhere")), Path(__file__).parents[4] / "shared/data")
GROCERY = next((p for p in PLACES if (p / "grocery").is_dir()), None)


@pytest.mark.skipif(GROCERY is None, reason="real pictures: neither $FIELDMARK_DATA nor ../shared/data holds grocery")
def test_real_pictures_are_learned(tmp_path):
    with (GROCERY / "grocery" / "labels.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    train_rows = [r for r in rows if r["split"] == "train"]
    names = sorted({r["label"] for r in train_rows}, key=lambda c: -sum(r["label"] == c for r in train_rows))[:6]
    chosen = []
    for name in names:
        for part in ("train", "val", "test"):
            chosen += [r for r in rows if r["label"] == name and r["split"] == part][:8]
    table = tmp_path / "labels.csv"
    with table.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(("path", "label", "split"))
        writer.writerows((GROCERY / "grocery" / r["path"], r["label"], r["split"]) for r in chosen)
    few = ["probe.views=2", "probe.folds=3", "probe.power=0.5", "probe.shrinkage=0.1,0.4", "bundle.calibration=16"]
    result = train(table, tmp_path / "run", settings=["picture.size=128", *few])
    assert result.skipped == 0
    assert result.scores["test"]["accuracy"] > 0.5


def test_a_report_that_fails_does_not_cost_the_bundle(tmp_path, monkeypatch):
    def fail(*told, **named):
        raise RuntimeError("no ink")

    monkeypatch.setattr(finish_room, "write_report", fail)
    with pytest.raises(RuntimeError, match="no ink"):
        tiny_train(coloured(tmp_path / "data"), tmp_path / "run")
    assert load(tmp_path / "run").classes


def test_resume_with_other_data_is_refused(tmp_path):
    data = coloured(tmp_path / "data", 6)
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        tiny_train(data, run, progress=stop_at("linear head"))
    draw(data / "ash" / "more.png", (9, 9, 9), 5)
    with pytest.raises(UsageError, match="other data"):
        tiny_train(data, run, resume=True)


def stop_at(step):
    def progress(name, done, total):
        if name == step:
            raise KeyboardInterrupt

    return progress


def test_the_model_alone_tells_what_a_program_must_know(run):
    import json

    import onnx

    bundle = bundles.load(run[1].bundle)
    model = onnx.load_from_string(bundle.read(bundles.MODEL))
    notes = {p.key: json.loads(p.value) for p in model.metadata_props}
    assert notes == {k: bundle.facts[k] for k in ("task", "classes", "preprocess", "calibration", "thresholds")}
