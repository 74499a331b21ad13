"""Every test has a folder of data sets of its own; nothing is asked of a proxy."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that FIELDMARK_DATASETS names; the current folder is an empty one."""
    monkeypatch.setenv("FIELDMARK_DATASETS", str(tmp_path / "sets"))
    monkeypatch.setenv("FIELDMARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "sets"
