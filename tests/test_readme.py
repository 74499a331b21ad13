"""The README does what it says: every block of it runs, and the Chinese one holds the same blocks."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(name: str) -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / name).read_text(encoding="utf-8"))


def code(text: str) -> str:
    """A block without its comments, whose words differ between languages."""
    return "\n".join(line.split("  #")[0].rstrip() for line in text.splitlines() if not line.startswith("#"))


def test_every_block_is_of_a_kind_that_is_run() -> None:
    kinds = {kind for kind, _ in blocks("README.md")}
    assert {"sh", "python"} <= kinds <= {"sh", "python", "text"}


def test_the_chinese_readme_holds_the_same_blocks() -> None:
    ours = [(kind, code(text)) for kind, text in blocks("README.md") if kind != "text"]
    theirs = [(kind, code(text)) for kind, text in blocks("README.zh-CN.md") if kind != "text"]
    assert theirs == ours


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_every_link_into_the_repository_leads_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)[^)]*\)", (ROOT / name).read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_folders_in_the_readme_are_those_of_the_source() -> None:
    diagram = next(text for kind, text in blocks("README.md") if kind == "text" and "src/fieldmark" in text)
    named = set(re.findall(r"^\s*([a-z_]+)/", diagram, re.MULTILINE)) - {"src"}
    package = ROOT / "src" / "fieldmark"
    there = {p.parent.name for p in package.rglob("__init__.py") if p.parent != package}
    assert named == there


def test_every_block_runs_in_its_order(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs" / "pictures", tmp_path / "docs" / "pictures")
    bin_folder = Path(sys.executable).parent
    env = {
        **os.environ,
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
    }
    draw = "from fieldmark.data.synthetic import cached_field_guide; cached_field_guide()"
    run([sys.executable, "-c", draw], tmp_path, env)  # beforehand, so that a minute is enough on a busy machine
    for kind, text in blocks("README.md"):
        if kind == "python":
            run([sys.executable, "-c", text], tmp_path, env)
        elif kind == "sh":
            for line in filter(None, code(text).replace("\\\n", " ").splitlines()):
                if line.startswith("make "):
                    run(["make", "-n", *line.split()[1:]], ROOT, env)
                elif line == ". .venv/bin/activate":
                    assert "VENV := .venv\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
                else:
                    run(["bash", "-ec", line.replace("--budget 2m", "--budget 1m")], tmp_path, env)  # as well, sooner


def run(command: list[str], place: Path, env: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=place, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
