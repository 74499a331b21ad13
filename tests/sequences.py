"""Tiny trainings on sequences for the tests: a text that repeats itself, a table of waves."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fieldmark.workshop.train import Result, train

torch.set_num_threads(1)

TINY = ("sequence.hidden=16", "sequence.embedding=8", "sequence.window=8", "sequence.batch=8", "tune.epochs=2")
SENTENCES = "Der Zaunkönig singt. 鹪鹩在唱歌。 The wren is singing!\n"


def write_text(path: Path, times: int = 60) -> Path:
    path.write_text(SENTENCES * times, encoding="utf-8")
    return path


def waves(count: int, period: int = 12, seed: int = 0) -> np.ndarray:
    """Two noisy waves of one period, [count, 2]."""
    rng, t = np.random.default_rng(seed), np.arange(count)
    angle = 2 * np.pi * t / period
    return np.stack([10 + 3 * np.sin(angle), 5 * np.cos(angle)], 1) + rng.normal(0, 0.3, (count, 2))


def write_table(path: Path, values: np.ndarray) -> Path:
    rows = [f"{i},{','.join('' if np.isnan(v) else repr(float(v)) for v in row)}" for i, row in enumerate(values)]
    path.write_text("\n".join(["time,north,south", *rows]) + "\n", encoding="utf-8")
    return path


def tiny_train(data: Path, out: Path, *more: str, **options: Any) -> Result:
    return train(data, out, task="sequence", settings=(*TINY, *more), **options)


@functools.cache
def written(base: Path) -> tuple[Path, Result]:
    """A text and a run on it, made once a session below `base`; never to be changed."""
    data = write_text(base / "wren.txt")
    return data, tiny_train(data, base / "text-run")


@functools.cache
def foreseen(base: Path) -> tuple[Path, Result]:
    """A table and a run on it, made once a session below `base`; never to be changed."""
    data = write_table(base / "waves.csv", waves(400))
    return data, tiny_train(data, base / "series-run", "tune.epochs=4", "sequence.window=24", "optim.rate=0.01")
