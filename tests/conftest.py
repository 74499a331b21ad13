"""Fixtures that several rooms' tests share."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from fieldmark.bundle import Bundle
from fieldmark.field.runtime import Recogniser
from tests.making import network_weights, tiny_bundle

settings.register_profile("unhurried", deadline=None)  # a busy machine is no failure
settings.load_profile("unhurried")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIELDMARK_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def fifo(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a named pipe that nobody writes to: whoever opens it waits for ever."""

    def make(name: str) -> Path:
        os.mkfifo(tmp_path / name)
        return tmp_path / name

    return make


@pytest.fixture(scope="session")
def weights() -> dict:
    return network_weights()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, weights: dict) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("tiny") / "bundle", weights)


@pytest.fixture(scope="session")
def recogniser(bundle: Bundle) -> Recogniser:
    return Recogniser(bundle)
