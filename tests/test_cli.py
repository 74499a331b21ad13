"""The command line is a contract: words, keys, exit statuses, one line on standard error for a user's mistake."""

import csv
import functools
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from fieldmark.__main__ import main
from tests.making import write_picture
from tests.training import BACKBONE, COLOURS, TINY, coloured, draw, trained

ROOT = Path(__file__).parents[1]
SET = [part for value in TINY for part in ("--set", value)]
LEARN = ["--backbone", BACKBONE, "--recipe", "quick", *SET]
VERBS = ("train", "evaluate", "predict", "generate", "explain", "export", "models", "data", "demo")


class Answer:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def said(self) -> list[str]:
        """What standard error says to the user, progress apart."""
        return [line for line in self.err.splitlines() if line.startswith("fieldmark: ")]


@pytest.fixture
def ask(monkeypatch, capsys):
    def run(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["fieldmark", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
        found = capsys.readouterr()
        assert "Traceback" not in found.err
        return Answer(caught.value.code, found.out, found.err)

    return run


@pytest.fixture
def run(tmp_path_factory):
    return trained(tmp_path_factory.getbasetemp())


@pytest.fixture
def two(tmp_path):
    """A good picture and a broken one."""
    good = draw(tmp_path / "pics" / "a good one.png", COLOURS["ash"], 77, (60, 44))
    broken = tmp_path / "pics" / "broken.png"
    broken.write_bytes(b"broken")
    return good, broken


def refused(answer: Answer) -> str:
    """The one line of a refusal."""
    assert answer.code == 2
    assert len(answer.said) == 1
    assert answer.out == ""
    return answer.said[0]


def process(*words: object, **options) -> subprocess.Popen:
    command = [sys.executable, "-m", "fieldmark", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, **options)


def test_a_current_folder_that_is_gone_is_one_line(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f"import os, sys; os.chdir({str(gone)!r}); os.rmdir({str(gone)!r}); sys.argv = ['fieldmark', 'train', 'x']"
    script = f"{script}; from fieldmark.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr.decode().splitlines() == [
        "fieldmark: the current folder is gone or cannot be read; change to another one first (cd)"
    ]


# -- words


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_every_verb_has_help(ask, verb):
    answer = ask(*([verb] if verb else []), "--help")
    assert answer.code == 0
    assert answer.out.startswith("Usage: fieldmark")
    assert answer.err == ""


def test_help_lists_every_verb_and_version_is_said(ask):
    told = ask("-h").out
    assert all(f"\n  {verb} " in told for verb in VERBS)
    from fieldmark import __version__

    assert __version__ in ask("--version").out


def test_without_words_it_shows_its_help(ask):
    answer = ask()
    assert answer.code == 2
    assert "Usage: fieldmark" in answer.out + answer.err


@pytest.mark.parametrize(
    "words",
    [
        ["trian"],
        ["--colour"],
        ["train"],
        ["train", "data"],
        ["train", "--out"],
        ["train", "data", "--out", "run", "--fast"],
        ["train", "data", "--out", "run", "--seed", "x"],
        ["train", "data", "--out", "run", "--device", "tpu"],
        ["train", "data", "--out", "run", "--task", "detect"],
        ["train", "data", "more", "--out", "run"],
        ["evaluate", "run"],
        ["predict", "run"],
        ["predict", "run", "x", "--top", "0"],
        ["predict", "run", "x", "--format", "xml"],
        ["explain", "run", "x"],
        ["export", "run", "--out", "x"],
        ["export", "run", "--out", "x", "--to", "exe"],
    ],
)
def test_the_parsers_own_errors_are_one_line_too(ask, words):
    refused(ask(*words))


# -- train


def test_train_prints_one_json_object_last(ask, run, tmp_path):
    answer = ask("train", run[0], "--out", tmp_path / "run", *LEARN, "--json")
    assert answer.code == 0
    told = json.loads(answer.out, parse_constant=pytest.fail)
    assert answer.out.count("\n") == 1
    assert list(told) == ["run", "bundle", "task", "seconds", "skipped", "scores"]
    assert told["run"] == str(tmp_path / "run")
    assert Path(told["bundle"]).is_dir()
    assert "loading torch" in answer.err


def test_train_without_parts_prints_json_without_nan(ask, tmp_path):
    answer = ask("train", coloured(tmp_path / "d", 2), "--out", tmp_path / "run", *LEARN, "--json")
    assert answer.code == 0
    json.loads(answer.out, parse_constant=pytest.fail)


def test_train_says_scores_report_and_bundle_in_words(ask, tmp_path):
    data = coloured(tmp_path / "my data 数据 🦜 'q' \"d\"", 5, ("ash & co", "杜鹃花", "🦜"))
    (data / "ash & co" / "00.png").write_bytes(b"")
    answer = ask("train", data, "--out", tmp_path / "out 出", *LEARN)
    assert answer.code == 0
    assert "accuracy" in answer.out
    assert "1 pictures left out" in answer.out or "1 picture left out" in answer.out
    assert str(tmp_path / "out 出" / "report.html") in answer.out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--set", "picture.siez=3"], "picture.size"),
        (["--set", "picture.size"], "key=value"),
        (["--set", "picture.size=big"], "whole number"),
        (["--set", "picture.size=3"], "at least 16"),
        (["--set", "tune.most_epochs=0.05"], "at least 0.1"),
        (["--set", "augment.size_end=0.1"], "at least 0.25"),
        (["--recipe", "quik"], "did you mean quick"),
        (["--recipe", "none.toml"], "cannot be read"),
        (["--backbone", "test_resnt"], "test_resnet"),
        (["--set", "model.weights=w.pth"], "convert it first"),
        (["--seed", "-1"], "seed"),
        (["--seed", str(2**70)], "seed"),
        (["--set", "bundle.precision=int4"], "precision"),
    ],
)
def test_a_mistake_in_an_option_is_one_line_and_leaves_nothing(ask, run, tmp_path, words, says):
    assert says in refused(ask("train", run[0], "--out", tmp_path / "run", *LEARN, *words))
    assert not (tmp_path / "run").exists()


def test_a_recipe_file_is_taken(ask, run, tmp_path):
    (tmp_path / "r.toml").write_text('[picture]\nsize = 32\n[model]\nweights = "none"\nbackbone = "test_resnet"\n')
    answer = ask("train", run[0], "--out", tmp_path / "run", "--recipe", tmp_path / "r.toml", "--set", "probe.views=1")
    assert answer.code == 0
    recipe = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert (recipe["picture"]["size"], recipe["probe"]["views"]) == (32, 1)


@pytest.mark.parametrize("kind", ["one class", "empty", "nowhere", "loose", "only val", "text", "empty table"])
def test_data_that_cannot_be_used_is_one_line_and_leaves_nothing(ask, tmp_path, kind):
    data = tmp_path / "data"
    if kind == "one class":
        coloured(data, 3, ("ash",))
    elif kind == "empty":
        data.mkdir()
    elif kind == "loose":
        draw(data / "a.png", (1, 2, 3), 0)
    elif kind == "only val":
        coloured(data / "train", 2, ("ash", "beech"))
        coloured(data / "val", 2, ("ash", "cedar"))
    elif kind == "text":
        data = tmp_path / "data.txt"
        data.write_text("hello")
    elif kind == "empty table":
        data = tmp_path / "data.csv"
        data.write_text("")
    refused(ask("train", data, "--out", tmp_path / "run", *LEARN))
    assert not (tmp_path / "run").exists()


def test_an_existing_run_is_refused_and_a_finished_one_says_where_its_bundle_is(ask, run):
    data, result = run
    assert "--resume" in refused(ask("train", data, "--out", result.run, *LEARN))
    assert str(result.bundle) in refused(ask("train", data, "--out", result.run, *LEARN, "--resume"))


@pytest.mark.parametrize("place", ["file", "file/run", "/proc/nowhere/run", "x" * 300])
def test_a_place_that_cannot_be_written_is_one_line(ask, run, tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    refused(ask("train", run[0], "--out", place, *LEARN))
    refused(ask("explain", run[1].run, run[0] / "ash" / "00.png", "--out", place))
    refused(ask("export", run[1].run, "--to", "zip", "--out", place))
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_disk_is_one_line(ask, run, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", small], capture_output=True).returncode:
        pytest.skip("this machine mounts no tmpfs")
    try:
        said = refused(ask("train", run[0], "--out", small / "run", *LEARN))
        assert "No space left" in said
        assert not (small / "run" / "bundle").exists()
        refused(ask("export", run[1].run, "--to", "zip", "--out", small / "x.fieldmark"))
        assert not (small / "x.fieldmark").exists()
    finally:
        subprocess.run(["umount", small], check=True)


def test_ctrl_c_says_how_to_go_on(run, tmp_path):
    heeded = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # what runs in the background ignores it
    words = ("train", run[0], "--out", tmp_path / "run", *LEARN, "--set", "probe.views=60")
    child = process(*words, preexec_fn=heeded)
    seen = ""
    for raw in child.stderr:
        seen += raw.decode()
        if "features, view 2" in seen:
            break
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=120)
    assert child.returncode == 130
    assert out == b""
    said = (seen + err.decode()).splitlines()
    assert "Traceback" not in "".join(said)
    assert "--resume" in said[-1]
    assert said[-1].startswith("fieldmark: ")
    assert not (tmp_path / "run" / "bundle").exists()


# -- predict


def test_predict_jsonl_has_one_row_a_picture_in_order(ask, run, two):
    _, result = run
    good, broken = two
    paths = [good, broken, good.parent / "none.png", good, "x" * 300]
    answer = ask("predict", result.run, *paths, "--format", "jsonl", "--top", "2")
    assert answer.code == 1
    rows = [json.loads(line, parse_constant=pytest.fail) for line in answer.out.splitlines()]
    assert [r["path"] for r in rows] == list(map(str, paths))
    assert all(list(r) == ["path", "labels", "unsure", "error"] for r in rows)
    assert rows[0]["labels"][0]["label"] == "ash"
    assert len(rows[0]["labels"]) == 2
    assert rows[0]["unsure"] is False
    assert rows[0]["error"] is None
    for row in (rows[1], rows[2], rows[4]):
        assert (row["labels"], row["unsure"]) == ([], None)
        assert row["error"]
    assert rows[3] == rows[0]


def test_a_second_glance_is_asked_for_on_the_command_line(ask, run, two):
    unlike = write_picture(two[0].parent / "unlike.png", 3, (90, 60))  # so that no probability is 1
    words = ("predict", run[1].run, unlike, *two, "--format", "jsonl")
    asked = ((), ("--glances", "auto"), ("--glances", "2"))
    once, auto, twice = ([json.loads(row) for row in ask(*words, *more).out.splitlines()] for more in asked)
    assert once == auto
    assert [row["path"] for row in twice] == [str(p) for p in (unlike, *two)]
    assert once[0]["labels"] != twice[0]["labels"]


def test_predict_csv_and_table(ask, run, two):
    good, broken = two
    answer = ask("predict", run[1].bundle, good, broken, "--format", "csv", "--top", "4")
    assert answer.code == 1
    rows = list(csv.DictReader(io.StringIO(answer.out)))
    assert [r["path"] for r in rows] == [str(good), str(broken)]
    assert rows[0]["label_1"] == "ash"
    assert 0 < float(rows[0]["probability_1"]) <= 1
    assert rows[0]["label_4"] == ""
    assert rows[0]["unsure"] == "false"
    assert rows[1]["error"]
    table = ask("predict", run[1].run, good)
    assert table.code == 0
    assert table.out.startswith(f"{good}\tash ")
    assert table.err == ""


def test_predict_reads_folders_recursively_by_name(ask, run, tmp_path):
    for name in ("b/z.png", "b/a.jpg", "a.png", "b/c/d.png"):
        draw(tmp_path / "in" / name, COLOURS["cedar"], 5)
    (tmp_path / "in" / "notes.txt").write_text("x")
    answer = ask("predict", run[1].run, tmp_path / "in", "--format", "jsonl")
    assert answer.code == 0
    names = [Path(json.loads(line)["path"]).relative_to(tmp_path / "in").as_posix() for line in answer.out.splitlines()]
    assert names == ["a.png", "b/a.jpg", "b/c/d.png", "b/z.png"]


def test_names_in_any_script_and_bytes_that_are_none_are_printed(ask, run, tmp_path):
    names = ["杜鹃 花.png", 'it\'s "q", yes.png', "🦜.png", "odd\udcff.png"]
    paths = [draw(tmp_path / name, COLOURS["ash"], 3) for name in names]
    for form in ("jsonl", "csv", "table"):
        answer = ask("predict", run[1].run, *paths, "--format", form)
        assert answer.code == 0
        assert "🦜" in answer.out
    rows = [json.loads(line) for line in ask("predict", run[1].run, *paths, "--format", "jsonl").out.splitlines()]
    assert [r["path"] for r in rows] == list(map(str, paths))
    assert ask("explain", run[1].run, *paths, "--out", tmp_path / "out").code == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 4


@pytest.mark.parametrize("bundle", ["none", "empty", "begun", "changed"])
def test_what_is_no_bundle_is_one_line_for_every_verb(ask, run, tmp_path, two, bundle):
    place = tmp_path / bundle
    if bundle in ("empty", "begun"):
        place.mkdir()
        if bundle == "begun":
            (place / "recipe.json").write_text("{}")
    elif bundle == "changed":
        shutil.copytree(run[1].bundle, place)
        with (place / "model.onnx").open("ab") as out:
            out.write(b"x")
    for words in (
        ["predict", place, two[0]],
        ["evaluate", place, run[0]],
        ["explain", place, two[0], "--out", tmp_path / "out"],
        ["export", place, "--to", "onnx", "--out", tmp_path / "out"],
    ):
        refused(ask(*words))
    assert not (tmp_path / "out").exists()


def test_a_pipe_that_closes_early_is_quiet(run):
    paths = [run[0] / "ash" / f"{i % 10:02d}.png" for i in range(3000)]
    reader, writer = os.pipe()
    words = ["predict", run[1].run, *paths, "--format", "jsonl"]
    child = subprocess.Popen(
        [sys.executable, "-m", "fieldmark", *map(str, words)], stdout=writer, stderr=subprocess.PIPE, cwd=ROOT
    )
    os.close(writer)
    with os.fdopen(reader, "rb") as out:
        assert b"labels" in out.readline()
    _, err = child.communicate(timeout=120)
    assert err == b""
    assert child.returncode in (0, 1)


# -- evaluate


def test_evaluate_scores_the_recorded_split(ask, run):
    data, result = run
    answer = ask("evaluate", result.run, data, "--json")
    assert answer.code == 0
    assert answer.out.count("\n") == 1
    told = json.loads(answer.out, parse_constant=pytest.fail)
    assert told["split"] == "test"
    assert told["n"] == result.scores["test"]["n"]
    assert told["accuracy"] == result.scores["test"]["accuracy"]
    keys = {"accuracy_ci", "top5", "macro_f1", "precision", "recall", "ece", "nll", "per_class", "note", "skipped"}
    assert keys <= set(told)


@pytest.mark.parametrize(("split", "n"), [("all", 30), ("train", None), ("val", None)])
def test_evaluate_takes_any_part(ask, run, split, n):
    told = json.loads(ask("evaluate", run[1].run, run[0], "--split", split, "--json").out)
    assert told["split"] == split
    assert told["n"] == (n or json.loads((run[1].bundle / "bundle.json").read_text())["data"]["parts"][split]["n"])


def test_evaluate_writes_report_and_predictions(ask, run, tmp_path):
    answer = ask("evaluate", run[1].run, run[0], "--out", tmp_path / "out")
    assert answer.code == 0
    assert str(tmp_path / "out" / "report.html") in answer.out
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"report.html", "predictions.csv"}
    with (tmp_path / "out" / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        assert len(list(csv.DictReader(stream))) == run[1].scores["test"]["n"]
    assert "exists" in refused(ask("evaluate", run[1].run, run[0], "--out", tmp_path / "out"))


def test_other_data_is_scored_whole_and_unknown_classes_count_as_wrong(ask, run, tmp_path):
    data = coloured(tmp_path / "other", 4, ("ash", "beech", "yew"))
    (data / "ash" / "00.png").write_bytes(b"broken")
    told = json.loads(ask("evaluate", run[1].run, data, "--json").out)
    assert (told["split"], told["n"], told["skipped"]) == ("all", 11, 1)
    assert told["unknown_classes"] == ["yew"]
    assert told["accuracy"] <= 7 / 11
    assert "--split" in refused(ask("evaluate", run[1].run, data, "--split", "test"))


def test_unknown_classes_are_named_to_people_too(ask, run, tmp_path):
    data = coloured(tmp_path / "other", 2, ("yew",))
    answer = ask("evaluate", run[1].run, data)
    assert answer.code == 0
    assert "unknown to the recogniser, and so counted as wrong: yew" in answer.out


def test_evaluate_refuses_unknown_parts_and_data(ask, run, tmp_path):
    assert "did you mean test" in refused(ask("evaluate", run[1].run, run[0], "--split", "tset"))
    refused(ask("evaluate", run[1].run, tmp_path / "none"))


# -- explain


def test_explain_draws_every_picture_in_its_own_size(ask, run, two, tmp_path):
    good, broken = two
    answer = ask("explain", run[1].run, good, broken, "--out", tmp_path / "out")
    assert answer.code == 1
    rows = [json.loads(line) for line in (tmp_path / "out" / "explain.jsonl").read_text().splitlines()]
    assert [r["path"] for r in rows] == [str(good), str(broken)]
    assert rows[0]["label"] == "ash"
    assert rows[0]["error"] is None
    assert rows[1]["error"]
    assert rows[1]["file"] is None
    with Image.open(tmp_path / "out" / rows[0]["file"]) as drawn:
        assert drawn.size == (60, 44)
    assert "exists" in refused(ask("explain", run[1].run, good, "--out", tmp_path / "out"))


def test_explain_answers_questions_about_classes(ask, run, two, tmp_path):
    good, _ = two
    words = ["explain", run[1].run, good, "--class", "beech", "--against", "cedar"]
    assert ask(*words, "--out", tmp_path / "out").code == 0
    row = json.loads((tmp_path / "out" / "explain.jsonl").read_text())
    assert (row["label"], row["against"]) == ("beech", "cedar")
    assert 0 <= row["probability"] < 0.5
    for bad, near in ((["--class", "bech"], "beech"), (["--against", "cedr"], "cedar")):
        assert near in refused(ask("explain", run[1].run, good, *bad, "--out", tmp_path / "bad"))
    refused(ask("explain", run[1].run, good, "--class", "ash", "--against", "ash", "--out", tmp_path / "bad"))
    assert not (tmp_path / "bad").exists()


# -- export, models


def test_export_writes_a_zip_that_works_and_the_network(ask, run, two, tmp_path):
    place, network = tmp_path / "it's 出.fieldmark", tmp_path / "m.onnx"
    answer = ask("export", run[1].run, "--to", "zip", "--out", place)
    assert (answer.code, answer.out) == (0, f"{place}\n")
    with zipfile.ZipFile(place) as archive:
        assert "bundle.json" in archive.namelist()
    from_zip, from_run = (ask("predict", p, two[0], "--format", "jsonl").out for p in (place, run[1].run))
    assert from_zip == from_run
    assert ask("export", place, "--to", "onnx", "--out", network).code == 0
    assert network.read_bytes() == (run[1].bundle / "model.onnx").read_bytes()
    for kind, out in (("zip", place), ("onnx", network)):
        assert "exists" in refused(ask("export", run[1].run, "--to", kind, "--out", out))


def test_models_is_one_json_object(ask):
    if not (ROOT / "src/fieldmark/models.json").exists():
        pytest.skip("the table of models is not made yet")
    told = json.loads(ask("models", "--json").out, parse_constant=pytest.fail)
    assert list(told) == ["models"]
    assert all({"name", "parameters", "input", "source", "pretrained"} <= set(row) for row in told["models"])
    few = json.loads(ask("models", "efficientnet_lite", "--json").out)["models"]
    assert {"tf_efficientnet_lite0"} <= {row["name"] for row in few} < {row["name"] for row in told["models"]}
    assert "tf_efficientnet_lite0" in ask("models", "lite0").out


# -- data


def test_data_is_one_json_object(ask, monkeypatch, tmp_path):
    monkeypatch.setenv("FIELDMARK_DATASETS", str(tmp_path))
    answer = ask("data", "--json")
    assert (answer.code, answer.out.count("\n"), answer.err) == (0, 1, "")
    told = json.loads(answer.out, parse_constant=pytest.fail)
    assert list(told) == ["datasets"]
    assert {"mnist", "stanford-dogs", "imagenet", "field-guide"} <= {row["name"] for row in told["datasets"]}
    (one,) = json.loads(ask("data", "stanford-dogs-boxes", "--json").out)["datasets"]
    assert (one["name"], one["present"]) == ("stanford-dogs", False)
    assert "Stanford Dogs" in ask("data").out
    assert "fieldmark data cub200 --download" in ask("data", "cub200").out


def test_a_set_that_cannot_be_had_is_one_line(ask, monkeypatch, tmp_path):
    monkeypatch.setenv("FIELDMARK_DATASETS", str(tmp_path))
    assert "did you mean cub200" in refused(ask("data", "cub20"))
    assert "say which data set" in refused(ask("data", "--download"))
    said = refused(ask("data", "imagenet", "--download"))
    assert "ILSVRC2012_img_train.tar" in said
    assert str(tmp_path / "imagenet") in said
    assert not (tmp_path / "imagenet").exists()
    said = refused(ask("train", "imagenet", "--out", tmp_path / "run"))
    assert f"{tmp_path / 'imagenet'} lacks train, val;" in said
