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

from fieldmark.data.alphabet import Alphabet, Array, begins_character
from fieldmark.data.index import Skipped
from fieldmark.data.series import SUFFIXES as TABLE_SUFFIXES
from fieldmark.data.series import Scaling, Series, open_series
from fieldmark.data.text import PIECE, Text, encode_text, make_alphabet, open_text
from fieldmark.errors import DataError, UsageError
from fieldmark.field.runtime import Evaluation
from fieldmark.field.runtime.evaluation import Tick
from fieldmark.field.runtime.writer import MOST_SCORED, cuts, surprise
from fieldmark.field.tasks.sequence import text_scores
from fieldmark.files import available_memory
from fieldmark.workshop.learn.sequence import NextCode, NextValues, Task
from fieldmark.workshop.models.recurrent import CharRNN, Recurrent, SeriesRNN
from fieldmark.workshop.recipe import Recipe, SequenceRecipe
from fieldmark.workshop.train.journal import Progress
from fieldmark.workshop.train.windows import SeriesWindows, Source, TextWindows

TEXT = {"hidden": 512, "window": 32, "batch": 32}  # many small steps: in minutes, they count (docs/sequences.md)
SERIES = {"hidden": 64, "window": 64, "batch": 32}
DROPOUT = {"text": 0.0, "series": 0.3}  # tables are short
EXAMPLE = (64, 16)  # steps and sequences of the parity check and of the look at speed
GATES = {"lstm": 4, "gru": 3, "rnn": 1}
BYTES_A_WEIGHT = 40  # itself, gradients of two parts, moments, averages, copies
BYTES_A_NUMBER = 8  # that is kept for the backward pass, and its gradient
MOST_JOINT = 32  # columns, each foreseen from all
FEWEST_LEARNED = 50  # codes or rows
RIDGE = 1.0  # of a linear forecast's weights, in rows
MOST_COUNTED = 10_000_000  # codes, of pairs
KNOWN_AS = 10.0  # codes, that a frequency counts for in one of pairs


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
        some = self.codes[begin - 1 : min(end, begin + MOST_SCORED)]
        nats = pair_surprise(self.codes[: min(self.places[0], MOST_COUNTED)], some, self.alphabet.size)
        scores["baseline_bits_per_character"] = text_scores(nats, begins_character(some[1:]))["bits_per_character"]
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


def pair_surprise(learned: Array, codes: Array, size: int) -> NDArray[np.float64]:
    """The surprise in nats at each code but the first, by counting in `learned` which of `size` codes follow which,
    and how frequent each is at all for `KNOWN_AS` codes more."""
    single = (np.bincount(learned, minlength=size) + 1) / (len(learned) + size)
    pairs = learned[:-1].astype(np.int64) * size + learned[1:]
    asked, place = np.unique(codes[:-1].astype(np.int64) * size + codes[1:], return_inverse=True)
    there = np.sort(pairs)
    counts = np.searchsorted(there, asked, side="right") - np.searchsorted(there, asked, side="left")
    before = np.bincount(learned[:-1], minlength=size)[asked // size]
    return np.asarray(-np.log((counts + KNOWN_AS * single[asked % size]) / (before + KNOWN_AS))[place])


def open_material(data: str | Path, recipe: Recipe, progress: Progress) -> Material:
    """A table of numbers where DATA is a .csv or .tsv file, else a text; DataError when it cannot be learned from."""
    if Path(data).suffix.lower() in TABLE_SUFFIXES:
        return _series(open_series(data), recipe)
    return _text(open_text(data), recipe, progress)


def _check_memory(wanted: SequenceRecipe, inputs: int, outputs: int) -> None:
    """UsageError when the network, or a batch of it, would not fit into memory, roughly."""
    gates, h, read = GATES[wanted.cell], wanted.hidden, wanted.window * wanted.batch
    weights = gates * h * (inputs + h + (wanted.layers - 1) * 2 * h) + outputs * h
    needed = BYTES_A_WEIGHT * weights + BYTES_A_NUMBER * read * (wanted.layers * (gates + 2) * h + outputs)
    free = available_memory()
    if needed > free:
        raise UsageError(
            f"this network needs about {needed / 1e9:.0f} GB of memory to learn, and {free / 1e9:.0f} GB are free; set "
            "sequence.hidden, .layers, .batch or .window lower"
        )


def _filled(recipe: SequenceRecipe, kind: str, defaults: Mapping[str, int]) -> SequenceRecipe:
    dropout = recipe.dropout if recipe.dropout >= 0 else DROPOUT[kind]
    sizes = {name: getattr(recipe, name) or value for name, value in defaults.items()}
    return replace(recipe, dropout=dropout, **cast(Any, sizes))


def _parts(total: int, recipe: Recipe, what: str) -> dict[str, tuple[int, int]]:
    first, second = cuts(total, recipe.data.val, recipe.data.test)
    if first < FEWEST_LEARNED:
        raise DataError(f"the training part is only {first:,} {what}; give more, or set data.val and data.test lower")
    found = {"train": (0, first), "val": (first, second), "test": (second, total)}
    return {name: (begin, end) for name, (begin, end) in found.items() if end > begin}


def _text(text: Text, recipe: Recipe, progress: Progress) -> Material:
    wanted = _filled(recipe.sequence, "text", TEXT)
    parts = _parts(text.characters, recipe, "characters")
    train = parts["train"][1]
    alphabet = make_alphabet(text, train, wanted.rare)
    edges = cuts(text.characters, recipe.data.val, recipe.data.test)
    codes, places = encode_text(text, alphabet, edges, lambda done, n: progress("reading", done, n))
    learned, val = codes[: places[0]], codes[places[0] : places[1]]
    _check_memory(wanted, wanted.embedding, alphabet.size)
    source = TextWindows(learned, val, wanted.window, wanted.batch, recipe.seed)
    task = NextCode(_used(learned, alphabet.size))
    return TextMaterial(text, alphabet, codes, parts, (places[0], places[1]), wanted, source, task)


def _used(codes: Array, size: int) -> list[int]:
    """Which of `size` codes occur, in order."""
    counts = sum(np.bincount(codes[at : at + PIECE], minlength=size) for at in range(0, len(codes), PIECE))
    return [int(code) for code in np.flatnonzero(counts)]


def _series(series: Series, recipe: Recipe) -> Material:
    wanted = _filled(recipe.sequence, "series", SERIES)
    parts = _parts(len(series.values), recipe, "rows")
    train, val = parts["train"][1], parts.get("val", parts["train"])[1]
    series = _rich(series, train)
    for name, (begin, end) in parts.items():
        if not np.isfinite(series.values[begin:end]).any():
            raise DataError(f"{series.source}: the {name} part, its rows from {begin + 1} on, has no number at all")
    scaling = Scaling.of(series.values[:train], wanted.period)
    inputs, last = scaling.inputs(series.values)
    following = np.concatenate([series.values[1:], np.full_like(series.values[:1], np.nan)])
    targets = ((following - last) / np.array(scaling.step)).astype(np.float32)
    _check_memory(wanted, inputs.shape[1], len(series.columns))
    source = SeriesWindows(inputs, targets, train - 1, val - 1, wanted.window, wanted.batch, recipe.seed)
    return SeriesMaterial(series, scaling, parts, wanted, source)


def _rich(series: Series, train: int) -> Series:
    """With the columns that have numbers enough to learn from; the others are left out. DataError when none has."""
    enough = np.isfinite(series.values[:train]).sum(0) >= FEWEST_LEARNED
    poor = [name for name, kept in zip(series.columns, enough, strict=True) if not kept]
    why = f"fewer than {FEWEST_LEARNED} numbers to learn from"
    if not enough.any():
        raise DataError(f"{series.source}: column {poor[0]} has {why}, and no other has more; give more rows")
    skipped = (*series.skipped, *(Skipped(f"column {name}", why) for name in poor))
    columns = tuple(name for name in series.columns if name not in poor)
    return replace(series, columns=columns, values=series.values[:, enough], skipped=skipped)


def _ridge(inputs: NDArray[np.float32], targets: NDArray[np.float32]) -> NDArray[np.float32]:
    """The linear forecast to begin with: ridge regression (Hoerl and Kennard 1970) of targets [T, C] on inputs [T, F]
    and 1, [C, F + 1]; of many columns each on its own inputs alone."""
    x = np.concatenate([inputs, np.ones((len(inputs), 1))], 1, dtype=np.float64)
    (_, width), columns = x.shape, targets.shape[1]
    found = np.zeros((columns, width))
    for c, y in enumerate(targets.T):
        used = np.arange(width) if columns <= MOST_JOINT else np.array([*range(c, width - 1, columns), width - 1])
        known = np.isfinite(y)
        some = x[np.ix_(known, used)]
        found[c, used] = np.linalg.solve(some.T @ some + RIDGE * np.eye(len(used)), some.T @ y[known])
    return found.astype(np.float32)
