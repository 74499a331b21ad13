"""The wheel: what is in it, and what its base does alone, installed where there is no torch and no scikit-learn."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

import fieldmark

from .training import COLOURS, coloured, draw, tiny_train

ROOT = Path(__file__).resolve().parents[1]
UV = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
NO_REGISTRY = re.compile(
    r"failed to fetch|error sending request|dns error|tcp connect|could not connect|network is unreachable|timed out"
    r"|network was disabled|certificate",
    re.IGNORECASE,
)
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Elsewhere:
    """An environment with nothing but the wheel's base; commands run in an empty home and a clean environment."""

    python: Path
    work: Path

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess:
        return self.run(str(self.python.parent / "fieldmark"), *arguments)

    def run(self, *command: str) -> subprocess.CompletedProcess:
        clean = {"HOME": str(self.work), "PATH": "/usr/bin:/bin", "FIELDMARK_CACHE": str(self.work / "cache")}
        return subprocess.run(
            command, cwd=self.work, env=clean, capture_output=True, text=True, check=False, timeout=300
        )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = out.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    if UV is None:
        pytest.skip("uv is not installed")
    root = tmp_path_factory.mktemp("elsewhere")
    python = root / "venv" / "bin" / "python"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, str(root / "venv")], check=True)
    install = [UV, "pip", "install", "--python", str(python), "--constraint", str(ROOT / "constraints.txt"), str(wheel)]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode and NO_REGISTRY.search(done.stderr):
        pytest.skip(f"no package registry can be reached: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    (root / "work").mkdir()
    return Elsewhere(python, root / "work")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Data, and a run on it that was trained here, in the environment with torch."""
    root = tmp_path_factory.mktemp("made-here")
    data = coloured(root / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIELDMARK_CACHE", str(root / "cache"))
        tiny_train(data, root / "run", "picture.size=64")
    return data, root / "run"


def one_line(done: subprocess.CompletedProcess) -> str:
    """The line in which a command says what to do, after exit status 2."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("fieldmark: ")]
    assert len(lines) == 1
    assert done.stderr.splitlines()[-1] == lines[0]
    return lines[0]


def test_the_wheel_holds_what_it_should_and_no_tests(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        shipped = {n.removeprefix("fieldmark/"): archive.read(n) for n in names if n.startswith("fieldmark/")}
    source = ROOT / "src" / "fieldmark"
    wanted = {
        p.relative_to(source).as_posix(): p.read_bytes()
        for p in source.rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    assert shipped == wanted
    assert {"models.json", "py.typed", "field/report/report.html.jinja", "field/report/report.css"} <= set(shipped)
    info = f"fieldmark-{fieldmark.__version__}.dist-info"
    assert {n.split("/")[0] for n in names} == {"fieldmark", info}
    assert {f"{info}/licenses/LICENSE", f"{info}/entry_points.txt", f"{info}/METADATA"} <= names


def test_the_base_brings_neither_torch_nor_scikit_learn(elsewhere):
    heavy = ("torch", "torchvision", "timm", "sklearn", "scipy", "onnx", "onnxruntime", "jinja2", "pyarrow")
    code = f"from importlib.util import find_spec\nprint([n for n in {heavy} if find_spec(n)])"
    assert elsewhere.run(str(elsewhere.python), "-c", code).stdout == "[]\n"
    assert elsewhere("--version").stdout.split()[-1] == fieldmark.__version__


def test_predict_there_says_what_it_says_here(elsewhere, run):
    data, folder = run
    one = str(data / "ash" / "00.png")
    broken = elsewhere.work / "broken.jpg"
    broken.write_bytes(b"no picture")
    done = elsewhere("predict", str(folder), one, str(broken), "--format", "jsonl")
    assert done.returncode == 1, done.stderr
    first, second = map(json.loads, done.stdout.splitlines())
    here = fieldmark.load(folder).predict(one).to_json()
    assert [s["label"] for s in first["labels"]] == [s["label"] for s in here["labels"]]
    for there, mine in zip(first["labels"], here["labels"], strict=True):
        assert there["probability"] == pytest.approx(mine["probability"], abs=1e-4)
    assert (first["path"], first["error"]) == (one, None)
    assert second["labels"] == []
    assert second["error"]


def test_explain_export_and_models_work_there(elsewhere, run):
    _, folder = run
    picture = draw(elsewhere.work / "bird.png", COLOURS["beech"], 7)
    done = elsewhere("explain", str(folder), str(picture), "--out", "explained")
    assert done.returncode == 0, done.stderr
    assert (elsewhere.work / "explained" / "0001-bird.png").is_file()
    assert elsewhere("export", str(folder), "--to", "zip", "--out", "run.fieldmark").returncode == 0
    done = elsewhere("predict", "run.fieldmark", str(picture), "--format", "jsonl")
    assert json.loads(done.stdout)["error"] is None
    rows = json.loads(elsewhere("models", "--json").stdout)["models"]
    assert "tf_efficientnet_lite0" in {row["name"] for row in rows}


def test_evaluate_there_says_which_extra_to_install(elsewhere, run):
    data, folder = run
    assert "pip install 'fieldmark[report]'" in one_line(elsewhere("evaluate", str(folder), str(data)))


@pytest.mark.parametrize("words", [["train", "DATA", "--out", "new"], ["demo", "--out", "new"]], ids=lambda w: w[0])
def test_training_there_says_which_extra_to_install(elsewhere, run, words):
    line = one_line(elsewhere(*[str(run[0]) if w == "DATA" else w for w in words]))
    assert "pip install 'fieldmark[train]'" in line
    assert not (elsewhere.work / "new").exists()


def test_python_there_says_which_extra_to_install(elsewhere):
    code = "import fieldmark\ntry: fieldmark.train\nexcept fieldmark.errors.MissingExtraError as e: print(e)"
    assert "pip install 'fieldmark[train]'" in elsewhere.run(str(elsewhere.python), "-c", code).stdout


def test_a_home_that_is_used_stays_clean(elsewhere):
    hidden = [p.name for p in elsewhere.work.iterdir() if p.name.startswith(".") or p.name == "intel"]
    assert hidden == []
