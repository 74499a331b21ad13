"""How commands end when somebody stops them, stops listening, or asks for a place that is none."""

import inspect
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fieldmark import bundle as bundles
from fieldmark import files, pictures
from fieldmark.errors import UsageError
from fieldmark.field.report import model_card
from fieldmark.printing import visible
from tests.making import SIZE, class_folders, smooth, tiny_bundle, tiny_facts, write_picture

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "fieldmark"]


def shell(*words: object, end: str = "", cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """A command through the shell, whose redirections `end` holds."""
    line = f"{shlex.join([*COMMAND, *map(str, words)])} {end}"
    kept = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, check=False, cwd=cwd, env=kept, timeout=100
    )


@pytest.fixture
def data(tmp_path) -> Path:
    return class_folders(tmp_path / "data", {"ash": 3, "beech": 3})


# -- folders that give nothing


def test_an_empty_folder_among_others_is_left_out_and_said(bundle, data, tmp_path):
    (tmp_path / "empty").mkdir()
    done = shell("predict", bundle.path, data / "ash", tmp_path / "empty", data / "beech")
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 6)
    assert done.stderr == f"left out {tmp_path / 'empty'}: holds no pictures\n"
    done = shell("explain", bundle.path, data / "ash", tmp_path / "empty", "", "--out", tmp_path / "out")
    assert done.returncode == 1
    rows = [json.loads(line) for line in (tmp_path / "out" / "explain.jsonl").read_text().splitlines()]
    assert [row["error"] is None for row in rows] == [True] * 3 + [False] * 2
    alone = shell("predict", bundle.path, tmp_path / "empty")
    assert (alone.returncode, alone.stdout) == (2, "")
    assert "holds no pictures; name a folder" in alone.stderr


@pytest.fixture
def closed(monkeypatch, data) -> Path:
    """A folder deep inside that cannot be listed."""
    place = data / "beech" / "closed"
    write_picture(place / "x.png")
    listed = pictures._entries

    def entries(folder: Path) -> list[Path]:
        if folder == place:
            raise PermissionError(13, "Permission denied")
        return listed(folder)

    monkeypatch.setattr(pictures, "_entries", entries)
    return place


def test_a_folder_deep_inside_that_cannot_be_read_stops_nothing(recogniser, data, closed):
    found = list(recogniser.predict(data))
    assert [p.error for p in found if p.error] == ["cannot be read: Permission denied"]
    assert [p.path for p in found if p.error] == [str(closed)]
    assert len(found) == 7
    with pytest.raises(UsageError, match="cannot be read: Permission denied; allow it"):
        list(pictures.find_pictures(data))
    with pytest.raises(UsageError, match="cannot be read: Permission denied; name"):
        list(pictures.expand([str(closed)]))
    assert len(list(pictures.expand([str(closed), str(data)]))) == 8


def test_folders_nested_deeper_than_calls_may_be_are_read(tmp_path):
    one = write_picture(tmp_path.joinpath(*"d" * 300) / "x.png")
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 150)
    try:
        assert list(pictures.find_pictures(tmp_path)) == [one]
    finally:
        sys.setrecursionlimit(before)


# -- what Python gives


def test_bytes_of_any_kind_and_an_empty_name(recogniser, tmp_path, monkeypatch):
    monkeypatch.chdir(write_picture(tmp_path / "a.png").parent)
    data = (tmp_path / "a.png").read_bytes()
    expected = recogniser.predict(data)
    assert recogniser.predict(bytearray(data)) == recogniser.predict(memoryview(data)) == expected
    assert list(recogniser.predict([bytearray(data)])) == [expected]
    assert recogniser.predict("").error == "the name is empty"
    for what in ({"a": 1}, (tmp_path / "a.png").open("rb")):
        with pytest.raises(TypeError, match="a Pillow picture"):
            recogniser.predict(what)
    what.close()


@pytest.mark.parametrize("workers", [-1, "2", 1.5])
def test_workers_that_cannot_be_are_a_sentence(recogniser, workers):
    with pytest.raises(UsageError, match="workers must be a whole number"):
        list(recogniser.predict_many([smooth(SIZE, SIZE)], workers=workers))


# -- nobody listens


def test_explain_into_a_closed_pipe_keeps_its_results(bundle, data, tmp_path):
    done = shell("explain", bundle.path, data, "--out", tmp_path / "out", end="| head -1; exit ${PIPESTATUS[0]}")
    assert done.returncode in (0, 1)  # 0 where the pipe took all before it closed
    assert "cannot write" not in done.stderr
    assert len(list((tmp_path / "out").glob("*.png"))) == 6
    shut = shell("explain", bundle.path, data, "--out", tmp_path / "shut", end="> >(exec 0<&-)")
    assert "cannot write" not in shut.stderr
    assert len(list((tmp_path / "shut").glob("*.png"))) == 6


def test_a_pipe_that_breaks_is_not_blamed_on_the_place(tmp_path):
    with pytest.raises(BrokenPipeError), files.atomic_folder(tmp_path / "out"):
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
@pytest.mark.parametrize("end", ["2>&-", "2>/dev/full"])
def test_the_work_goes_on_when_standard_error_fails(bundle, data, tmp_path, end):
    (data / "ash" / "broken.png").write_bytes(b"broken")
    done = shell("predict", bundle.path, data, tmp_path / "none.png", end=end)
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 6)
    done = shell("evaluate", bundle.path, data, "--json", "--out", tmp_path / "out", end=end)
    assert (done.returncode, json.loads(done.stdout)["n"]) == (0, 6)
    assert shell("predict", tmp_path / "nothing", data, end=end).returncode == 2


def test_a_closed_standard_output_is_no_error(bundle, data, tmp_path):
    for form in ("table", "csv", "jsonl"):
        done = shell("predict", bundle.path, data, "--format", form, end=">&-")
        assert (done.returncode, done.stderr) == (0, "")


# -- places


def both(mine: Path, theirs: Path, error: type[BaseException] | None = None) -> None:
    mine.write_text("mine")
    theirs.write_text("theirs")
    if error is not None:
        raise error


def test_an_empty_folder_is_filled_where_it_is(bundle, data, tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    number = here.stat().st_ino
    done = shell("explain", bundle.path, data / "ash" / "000.png", "--out", ".", cwd=here)
    assert (done.returncode, {p.name for p in here.iterdir()}) == (0, {"0001-000.png", "explain.jsonl"})
    assert here.stat().st_ino == number
    assert (here / done.stdout.strip().split("\t")[-1]).is_file()


def test_a_folder_that_others_fill_meanwhile_is_left_to_them(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="no longer empty"), files.atomic_folder(tmp_path / "out") as partial:
        both(partial / "mine", tmp_path / "out" / "theirs")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["theirs"]


def test_an_interrupted_block_leaves_an_empty_folder_empty(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(KeyboardInterrupt), files.atomic_folder(tmp_path / "out") as partial:
        both(partial / "mine", partial / "more", KeyboardInterrupt)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("words", ["explain B P", "evaluate B D", "export B --to zip", "export B --to onnx"])
def test_a_link_to_nothing_is_refused_before_any_work(bundle, data, tmp_path, words):
    named = {"B": bundle.path, "P": data / "ash" / "000.png", "D": data}
    (tmp_path / "link").symlink_to("nowhere")
    done = shell(*(named.get(word, word) for word in words.split()), "--out", tmp_path / "link")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"fieldmark: {tmp_path / 'link'} exists; choose another")
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("links", [True, False])
def test_a_file_made_meanwhile_is_not_overwritten(bundle, tmp_path, monkeypatch, links):
    def none(*_names: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not links:
        monkeypatch.setattr(files.os, "link", none)
    with pytest.raises(UsageError, match="exists; choose another name"), files.new_file(tmp_path / "a") as partial:
        both(partial, tmp_path / "a")
    assert (tmp_path / "a").read_text() == "theirs"
    with files.new_file(tmp_path / "b") as partial:
        partial.write_text("mine")
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["a", "b"]
    bundles.write_zip(bundle, tmp_path / "c.fieldmark")
    assert bundles.load(tmp_path / "c.fieldmark").classes == bundle.classes


# -- SIGTERM


@pytest.mark.parametrize("verb", ["explain", "evaluate"])
def test_sigterm_ends_a_command_like_ctrl_c(bundle, data, tmp_path, verb):
    inputs = [data / "ash"] * 3000 if verb == "explain" else [class_folders(tmp_path / "many", {"ash": 3000})]
    words = [*COMMAND, verb, bundle.path, *inputs, "--out", tmp_path / "place" / "out"]
    child = subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    while not list(tmp_path.glob("place/.out*")):
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGTERM)
    _, err = child.communicate(timeout=60)
    assert (err.decode().splitlines()[-1], child.returncode) == ("fieldmark: stopped", 143)
    assert list((tmp_path / "place").iterdir()) == []


SWALLOWED = """
import os, signal, time
from fieldmark import __main__, cli, errors

def work(**_):
    try:
        if {stopped}:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(9)
    except KeyboardInterrupt:
        pass  # as some libraries do
    raise errors.BundleError("the bundle is damaged")

cli.cli.main = work
__main__.main()
"""


@pytest.mark.parametrize(("stopped", "code", "words"), [(True, 143, "stopped"), (False, 2, "the bundle is damaged")])
def test_what_a_library_makes_of_sigterm_is_no_error_of_its_own(stopped, code, words):
    command = [sys.executable, "-c", SWALLOWED.format(stopped=stopped)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (code, f"fieldmark: {words}\n")


# -- names that steer a terminal

NAMES = ["red\x1b[31m", "two\nlines", "over\u202ewritten"]


def test_names_that_steer_a_terminal_are_written_out(tmp_path):
    assert visible("a\x1b[31m\nb\u202e杜🦜") == "a\\x1b[31m\\nb\\u202e杜🦜"
    place = tiny_bundle(tmp_path / "b", classes=NAMES).path
    path = write_picture(tmp_path / "p\x1b[2J.png")
    (tmp_path / "q\x1b.png").write_bytes(b"x")
    done = shell("predict", place, path, tmp_path / "q\x1b.png", "--top", "3")
    assert (done.returncode, len(done.stdout.splitlines()), len(done.stderr.splitlines())) == (1, 1, 1)
    drawn = shell("explain", place, path, "--out", tmp_path / "out")
    refused = shell("explain", place, path, "--out", tmp_path / "no", "--class", "x\x1b")
    evaluated = shell("evaluate", place, class_folders(tmp_path / "d", {"un\x1bknown": 2}))
    assert (drawn.returncode, refused.returncode, evaluated.returncode) == (0, 2, 0)
    said = [text for run in (done, drawn, refused, evaluated) for text in (run.stdout, run.stderr)]
    assert not any(c in text for text in said for c in "\x1b\u202e")


def test_names_that_steer_a_terminal_are_cleaned_on_the_card():
    card = model_card(tiny_facts(classes=NAMES))
    assert not any(c in card for c in "\x1b\u202e")
    assert "two lines" in card
