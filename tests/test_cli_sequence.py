"""The command line with sequences: words, keys, exit statuses, one line for a user's mistake."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fieldmark import printing
from fieldmark.__main__ import main
from tests.sequences import TINY, foreseen, write_text, written
from tests.training import draw

SET = [part for value in TINY for part in ("--set", value)]


@pytest.fixture
def ask(monkeypatch, capsys):
    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fieldmark", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
        found = capsys.readouterr()
        assert "Traceback" not in found.err
        return caught.value.code, found.out, found.err

    return run


@pytest.fixture
def text(tmp_path_factory):
    return written(tmp_path_factory.getbasetemp())


@pytest.fixture
def series(tmp_path_factory):
    return foreseen(tmp_path_factory.getbasetemp())


def refusal(answer: tuple[int, str, str]) -> str:
    code, out, err = answer
    said = [line for line in err.splitlines() if line.startswith("fieldmark: ")]
    assert (code, out, len(said)) == (2, "", 1)
    return said[0]


def test_train_prints_one_json_object_last(ask, tmp_path):
    data = write_text(tmp_path / "a.txt")
    code, out, _ = ask("train", data, "--out", tmp_path / "run", "--task", "sequence", *SET, "--json")
    told = json.loads(out, parse_constant=pytest.fail)
    assert (code, out.count("\n")) == (0, 1)
    assert list(told) == ["run", "bundle", "task", "seconds", "skipped", "scores"]
    assert told["task"] == "sequence"
    assert {"perplexity", "bits_per_character"} <= set(told["scores"]["test"])


def test_train_says_the_scores_in_words_and_what_it_left_out(ask, tmp_path):
    (tmp_path / "d").mkdir()
    write_text(tmp_path / "d" / "a.txt")
    (tmp_path / "d" / "b.txt").write_bytes(b"\xff")
    code, out, err = ask("train", tmp_path / "d", "--out", tmp_path / "run", "--task", "sequence", *SET)
    assert code == 0
    assert "bits a character" in out
    assert "1 file or cell left out" in out
    assert "left out b.txt" in err


def test_evaluate_prints_the_contracts_keys(ask, text, series, tmp_path):
    told = json.loads(ask("evaluate", text[1].run, text[0], "--json", "--out", tmp_path / "e")[1])
    assert {"n", "split", "perplexity", "bits_per_character", "bits_per_character_ci"} <= set(told)
    assert "Bits per character" in (tmp_path / "e" / "report.html").read_text(encoding="utf-8")
    assert "characters" in ask("evaluate", text[1].run, text[0])[1]
    told = json.loads(ask("evaluate", series[1].run, series[0], "--json")[1])
    assert {"n", "split", "mae", "mae_ci", "baseline_mae", "baseline_mae_ci"} <= set(told)
    assert "rows" in ask("evaluate", series[1].run, series[0])[1]


def test_generate_prints_prompt_and_text_the_same_by_seed(ask, text):
    words = ("generate", text[1].run, "--prompt", "鹪鹩", "--length", "30", "--seed", "4")
    code, out, err = ask(*words)
    assert (code, err) == (0, "")
    assert out.startswith("鹪鹩")
    assert len(out) == 2 + 30 + 1
    assert ask(*words)[1] == out
    assert ask("generate", text[1].run, "--length", "0")[1] == "\n"


def test_predict_prints_the_next_rows_in_every_format(ask, series, tmp_path):
    code, out, _ = ask("predict", series[1].run, series[0], "--steps", "2", "--format", "jsonl")
    row = json.loads(out)
    assert code == 0
    assert list(row) == ["path", "next", "error"]
    assert [set(ahead) for ahead in row["next"]] == [{"north", "south"}] * 2
    lines = ask("predict", series[1].run, series[0], "--format", "csv")[1].splitlines()
    assert lines[0] == "path,step,north,south"
    assert float(lines[1].split(",")[2]) == pytest.approx(row["next"][0]["north"], rel=1e-4)
    assert ask("predict", series[1].run, series[0])[1].count("\t") == 3
    code, out, _ = ask("predict", series[1].run, tmp_path / "none.csv", series[0], "--format", "jsonl")
    assert code == 1
    assert [bool(json.loads(line)["error"]) for line in out.splitlines()] == [True, False]


def test_the_wrong_verb_says_the_right_one(ask, text, series, bundle, tmp_path):
    picture = draw(tmp_path / "a.png", (9, 9, 9), 0)
    assert "fieldmark generate" in refusal(ask("predict", text[1].run, picture))
    assert "fieldmark generate" in refusal(ask("explain", text[1].run, picture, "--out", tmp_path / "x"))
    assert "fieldmark predict" in refusal(ask("generate", bundle.path))
    assert "fieldmark predict" in refusal(ask("generate", series[1].run))
    assert "no such file" in refusal(ask("evaluate", text[1].run, tmp_path / "none.txt"))


@pytest.mark.parametrize(
    "words",
    [
        ["--length", "-1"],
        ["--length", "9999999"],
        ["--temperature", "-1"],
        ["--temperature", "nan"],
        ["--top-p", "0"],
        ["--top-p", "1.5"],
        ["--seed", "-1"],
        ["--seed", "x"],
    ],
)
def test_wishes_out_of_range_are_one_line(ask, text, words):
    refusal(ask("generate", text[1].run, *words))


@pytest.mark.parametrize(
    "words",
    [
        ["--set", "sequence.cell=lsmt"],
        ["--set", "sequence.hidden=99999"],
        ["--set", "sequence.hiden=4"],
        ["--backbone", "resnet18"],
        ["--head", "gem"],
    ],
)
def test_a_mistake_in_an_option_is_one_line_and_leaves_nothing(ask, text, tmp_path, words):
    refusal(ask("train", text[0], "--out", tmp_path / "run", "--task", "sequence", *words))
    assert not (tmp_path / "run").exists()


def test_a_bundle_can_be_one_file(ask, text, tmp_path):
    ask("export", text[1].run, "--to", "zip", "--out", tmp_path / "a.fieldmark")
    out = ask("generate", tmp_path / "a.fieldmark", "--length", "12")[1]
    assert out == ask("generate", text[1].run, "--length", "12")[1]


def test_generate_runs_where_torch_is_not_and_stops_quietly_with_its_reader(text):
    script = (
        "import sys; sys.modules['torch'] = None; from fieldmark.__main__ import main; "
        "sys.argv = ['fieldmark', 'generate', sys.argv[1], '--length', sys.argv[2]]; main()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, str(text[1].run)]
    done = subprocess.run([*command, "20"], capture_output=True, text=True, env=environment, check=True)
    assert len(done.stdout) == 21
    with subprocess.Popen(
        [*command, "200000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_text_for_a_terminal_steers_it_not():
    assert printing.harmless("a\n\tb\x1b[2J愛") == "a\n\tb\\x1b[2J愛"
    assert [printing.quoted(c) for c in ("a", 'a"b', "a,b")] == ["a", '"a""b"', '"a,b"']


def test_paths_of_the_two_kinds_are_told_apart(text, series):
    import fieldmark
    from fieldmark.field.runtime.forecaster import Forecaster
    from fieldmark.field.runtime.writer import Writer

    assert isinstance(fieldmark.load(text[1].run), Writer)
    assert isinstance(fieldmark.load(Path(series[1].run)), Forecaster)
    assert fieldmark.evaluate(text[1].run, text[0]).split == "test"
