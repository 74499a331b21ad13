"""What a training of the task `sequence` works on: a text or a table of numbers, with the network that suits it.

S steps, N sequences, T rows, C columns.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from fieldmark.data.alphabet import Alphabet, Array
from fieldmark.data.index import Skipped
from fieldmark.data.series import SUFFIXES as TABLE_SUFFIXES
from fieldmark.data.series import Scaling, Series, open_series
from fieldmark.data.text import PIECE, Text, encode_text, make_alphabet, open_text
from fieldmark.errors import DataError
from fieldmark.field.runtime import Evaluation
from fieldmark.field.runtime.evaluation import Tick
from fieldmark.field.runtime.writer import MOST_SCORED, cuts, surprise
from fieldmark.workshop.learn.sequence import NextCode, NextValues, Task
from fieldmark.workshop.models.recurrent import CharRNN, Recurrent, SeriesRNN
from fieldmark.workshop.recipe import Recipe, SequenceRecipe
from fieldmark.workshop.train.journal import Progress
from fieldmark.workshop.train.windows import SeriesWindows, Source, TextWindows

TEXT = {"hidden": 512, "window": 32, "batch": 32}  # many small steps: in minutes, they count (docs/sequences.md)
SERIES = {"hidden": 64, "window": 64, "batch": 32}
EXAMPLE = (64, 16)  # steps and sequences of the parity check and of the look at speed
FEWEST_LEARNED = 50  # codes or rows
RIDGE = 1.0  # of a linear forecast's weights, in rows


@dataclass(frozen=True)
class TextMaterial:
    """A text and its codes; `parts` in characters."""

    text: Text
    alphabet: Alphabet
    codes: Array
    parts: Mapping[str, tuple[int, int]]
    places: tuple[int, int]  # where the codes of val and of test begin
    wanted: SequenceRecipe
    source: Source

    task: NextCode

    kind = "text"
    names = ("codes", "logits")
    headline = "bits_per_character"

    @property
    def fingerprint(self) -> str:
        return self.text.fingerprint

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        return self.text.skipped

    def network(self) -> Recurrent:
        """A new one, with weights drawn from torch's generator."""
        w = self.wanted
        return CharRNN(self.alphabet.size, w.cell, w.embedding, w.hidden, w.layers, w.tie, self.task.used.tolist())

    def _rows(self) -> NDArray[np.int64]:
        steps, n = EXAMPLE
        at = self.places[0] if len(self.codes) - self.places[0] > (steps + 1) * n else 0
        some = np.resize(self.codes[at : at + (steps + 1) * n], (steps + 1) * n)
        return np.ascontiguousarray(some.reshape(n, steps + 1).T.astype(np.int64))

    def example(self) -> NDArray[Any]:
        """Inputs [S, N, ...] as the network takes them."""
        return self._rows()[:-1]

    def cost(self, outputs: NDArray[np.float32]) -> float:
        """The mean error of the network's outputs for `example`, in the unit that training counts."""
        return float(surprise(outputs, self._rows()[1:]).mean())

    def facts(self) -> dict[str, Any]:
        """What a bundle must know to use the network."""
        return {"alphabet": {"characters": self.alphabet.characters}}

    def evaluation(self, model: Any, part: str, tick: Tick) -> Evaluation:
        """The scores of one part by the loaded bundle."""
        begin, end = {"val": self.places, "test": (self.places[1], len(self.codes))}[part]
        scores = model.score(self.codes, begin, end, tick)
        return Evaluation(part, f"the {part} part", scores, (), {}, (), self.skipped)

    @property
    def place(self) -> str:
        return self.text.source

    @property
    def scored(self) -> int:
        """Positions that are scored at the end."""
        return sum(min(MOST_SCORED, end - begin) for name, (begin, end) in self.parts.items() if name != "train")


@dataclass(frozen=True)
class SeriesMaterial:
    """A table of numbers, its inputs and targets; `parts` in rows."""

    series: Series
    scaling: Scaling
    parts: Mapping[str, tuple[int, int]]
    wanted: SequenceRecipe
    source: SeriesWindows

    kind = "series"
    task: Task = field(default_factory=NextValues)
    names = ("inputs", "changes")
    headline = "mae"

    @property
    def fingerprint(self) -> str:
        return self.series.fingerprint

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        return self.series.skipped

    def network(self) -> Recurrent:
        """A new one, with weights drawn from torch's generator."""
        w = self.wanted
        network = SeriesRNN(len(self.series.columns), self.source.inputs.shape[1], w.cell, w.hidden, w.layers)
        direct = _ridge(self.source.inputs[: self.source.train], self.source.targets[: self.source.train])
        with torch.no_grad():
            network.direct.copy_(torch.from_numpy(direct[:, :-1]))
            network.bias.copy_(torch.from_numpy(direct[:, -1]))
        return network

    def example(self) -> NDArray[Any]:
        """Inputs [S, N, ...] as the network takes them."""
        return self.source.windows(0).inputs.numpy()

    def cost(self, outputs: NDArray[np.float32]) -> float:
        """The mean error of the network's outputs for `example`, in the unit that training counts."""
        return float(self.task.scores(torch.from_numpy(outputs), self.source.windows(0).targets).nanmean())

    def facts(self) -> dict[str, Any]:
        """What a bundle must know to use the network."""
        scaling = {name: list(getattr(self.scaling, name)) for name in ("mean", "spread", "step")}
        return {"columns": list(self.series.columns), "scaling": {**scaling, "period": self.scaling.period}}

    def evaluation(self, model: Any, part: str, tick: Tick) -> Evaluation:
        """The scores of one part by the loaded bundle."""
        begin, end = self.parts[part]
        scores = model.score(self.series.values[:end], begin, tick)
        return Evaluation(part, f"the {part} part", scores, (), {}, (), self.skipped)

    @property
    def place(self) -> str:
        return self.series.source

    @property
    def scored(self) -> int:
        """Positions that are scored at the end."""
        return 2 * len(self.series.values)


Material = TextMaterial | SeriesMaterial


def open_material(data: str | Path, recipe: Recipe, progress: Progress) -> Material:
    """A table of numbers where DATA is a .csv or .tsv file, else a text; DataError when it cannot be learned from."""
    if Path(data).suffix.lower() in TABLE_SUFFIXES:
        return _series(open_series(data), recipe)
    return _text(open_text(data), recipe, progress)


def _filled(recipe: SequenceRecipe, defaults: Mapping[str, int]) -> SequenceRecipe:
    return replace(recipe, **cast(Any, {name: getattr(recipe, name) or value for name, value in defaults.items()}))


def _parts(total: int, recipe: Recipe, what: str) -> dict[str, tuple[int, int]]:
    first, second = cuts(total, recipe.data.val, recipe.data.test)
    if first < FEWEST_LEARNED:
        raise DataError(f"the training part is only {first:,} {what}; give more, or set data.val and data.test lower")
    found = {"train": (0, first), "val": (first, second), "test": (second, total)}
    return {name: (begin, end) for name, (begin, end) in found.items() if end > begin}


def _text(text: Text, recipe: Recipe, progress: Progress) -> Material:
    wanted = _filled(recipe.sequence, TEXT)
    parts = _parts(text.characters, recipe, "characters")
    train = parts["train"][1]
    alphabet = make_alphabet(text, train, wanted.rare)
    edges = cuts(text.characters, recipe.data.val, recipe.data.test)
    codes, places = encode_text(text, alphabet, edges, lambda done, n: progress("reading", done, n))
    learned, val = codes[: places[0]], codes[places[0] : places[1]]
    source = TextWindows(learned, val, wanted.window, wanted.batch, recipe.seed)
    task = NextCode(_used(learned, alphabet.size))
    return TextMaterial(text, alphabet, codes, parts, (places[0], places[1]), wanted, source, task)


def _used(codes: Array, size: int) -> list[int]:
    """Which of `size` codes occur, in order."""
    counts = sum(np.bincount(codes[at : at + PIECE], minlength=size) for at in range(0, len(codes), PIECE))
    return [int(code) for code in np.flatnonzero(counts)]


def _series(series: Series, recipe: Recipe) -> Material:
    wanted = _filled(recipe.sequence, SERIES)
    parts = _parts(len(series.values), recipe, "rows")
    train, val = parts["train"][1], parts.get("val", parts["train"])[1]
    known = np.isfinite(series.values[:train])
    if (known.sum(0) < FEWEST_LEARNED).any():
        raise DataError(f"{series.source}: a column has fewer than {FEWEST_LEARNED} numbers to learn from")
    scaling = Scaling.of(series.values[:train], wanted.period)
    inputs, last = scaling.inputs(series.values)
    following = np.concatenate([series.values[1:], np.full_like(series.values[:1], np.nan)])
    targets = ((following - last) / np.array(scaling.step)).astype(np.float32)
    source = SeriesWindows(inputs, targets, train - 1, val - 1, wanted.window, wanted.batch, recipe.seed)
    return SeriesMaterial(series, scaling, parts, wanted, source)


def _ridge(inputs: NDArray[np.float32], targets: NDArray[np.float32]) -> NDArray[np.float32]:
    """The linear forecast to begin with: ridge regression (Hoerl and Kennard 1970) of targets [T, C] on inputs [T, F]
    and 1, [C, F + 1]."""
    x = np.concatenate([inputs, np.ones((len(inputs), 1))], 1, dtype=np.float64)
    rows = []
    for y in targets.T:
        known = np.isfinite(y)
        some = x[known]
        rows.append(np.linalg.solve(some.T @ some + RIDGE * np.eye(x.shape[1]), some.T @ y[known]))
    return np.array(rows, np.float32)
