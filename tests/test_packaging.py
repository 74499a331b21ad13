"""The wheel in an empty environment: its base alone, without torch, predicts with a bundle made elsewhere."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from .training import trained

ROOT = Path(__file__).parents[1]
UV = Path(sys.executable).with_name("uv")


def call(command: list[str | Path], **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    built = call([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT])
    assert built.returncode == 0, built.stderr
    return next(out.glob("fieldmark-*.whl"))


@pytest.fixture(scope="module")
def base(wheel, tmp_path_factory) -> Path:
    """The commands of an environment that holds the wheel and its base dependencies only."""
    place = tmp_path_factory.mktemp("base") / "venv"
    assert call([UV, "venv", "--quiet", "--python", sys.executable, place]).returncode == 0
    got = call([UV, "pip", "install", "--quiet", "--python", place, "--constraint", ROOT / "constraints.txt", wheel])
    if got.returncode and "resolve" not in got.stderr.lower() and "unsatisfiable" not in got.stderr.lower():
        pytest.skip(f"no package registry: {got.stderr.strip().splitlines()[-1]}")
    assert got.returncode == 0, got.stderr
    return place / "bin"


@pytest.fixture(scope="module")
def made_elsewhere(tmp_path_factory) -> tuple[Path, Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIELDMARK_CACHE", str(tmp_path_factory.mktemp("cache")))
        data, result = trained(tmp_path_factory.mktemp("elsewhere"))
    return data, result.bundle


def fieldmark(base: Path, place: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    env = {"PATH": f"{base}{os.pathsep}/usr/bin:/bin", "HOME": str(place), "LANG": "C.UTF-8"}
    return call([base / "fieldmark", *arguments], env=env, cwd=place)


def test_the_wheel_holds_its_tables_and_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in ("models.json", "py.typed", "field/report/report.html.jinja", "field/report/report.css"):
        assert f"fieldmark/{wanted}" in names
    assert any(name.endswith("LICENSE") for name in names)
    assert not [name for name in names if "test" in name.lower()]


def test_the_base_has_no_torch(base):
    for package in ("torch", "timm", "sklearn", "jinja2", "pyarrow", "onnxruntime"):
        assert call([base / "python", "-c", f"import {package}"]).returncode == 1


def test_the_base_predicts_explains_and_lists(base, made_elsewhere, tmp_path):
    data, bundle = made_elsewhere
    picture = next(data.rglob("*.png"))
    done = fieldmark(base, tmp_path, "predict", bundle, picture, "--format", "jsonl")
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert row["path"] == str(picture)
    assert row["error"] is None
    assert sum(label["probability"] for label in row["labels"]) == pytest.approx(1, abs=1e-3)
    assert fieldmark(base, tmp_path, "explain", bundle, picture, "--out", tmp_path / "where").returncode == 0
    listed = json.loads(fieldmark(base, tmp_path, "models", "lite0", "--json").stdout)
    assert "tf_efficientnet_lite0" in {row["name"] for row in listed["models"]}


def test_what_the_base_lacks_is_named(base, made_elsewhere, tmp_path):
    data, bundle = made_elsewhere
    for extra, *arguments in (("report", "evaluate", bundle, data), ("train", "train", data, "--out", tmp_path / "r")):
        done = fieldmark(base, tmp_path, *arguments)
        assert done.returncode == 2
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("fieldmark: ")
        assert f"fieldmark[{extra}]" in last
