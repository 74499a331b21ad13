"""A recogniser on labelled pictures: which ones, what it said, and how well."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fieldmark.data import Index, Skipped, SplitRule, fingerprint, named, open_data, split
from fieldmark.data.index import Note
from fieldmark.errors import DataError, UsageError, unknown_name
from fieldmark.field.evaluate.classification import sklearn_metrics
from fieldmark.field.tasks.base import Outputs
from fieldmark.types import Prediction, Sample

from .engine import Arrays
from .recogniser import Recogniser, collect, load

ALL = "all"
Tick = Callable[[int, int], None]  # done, total


def silent(done: int, total: int) -> None:
    """Progress for nobody."""


@dataclass(frozen=True)
class Evaluation:
    """Scores on one part of a data set, and the pictures and raw outputs [N, ...] behind them, in the same order."""

    split: str
    note: str
    scores: dict[str, Any]
    samples: tuple[Sample, ...]
    outputs: Outputs
    predictions: tuple[Prediction, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[Note, ...] = ()  # what was mended or passed over within the data's annotations

    def to_json(self) -> dict[str, Any]:
        return {"split": self.split, "note": self.note, **self.scores, "skipped": len(self.skipped)}


def evaluate(
    bundle: str | Path | Recogniser, data: str | Path | Index, part: str | None = None, tick: Tick = silent
) -> Evaluation:
    """Score a recogniser on DATA.

    The split recorded at training is used when the data is the same ("test" unless `part` names another); other data
    is scored whole. Raises DataError when the part is empty or no picture of it can be read.
    """
    recogniser = bundle if isinstance(bundle, Recogniser) else load(bundle)
    index = recogniser.task.select(data if isinstance(data, Index) else open_data(data))
    samples, name, note = choose_part(recogniser, index, part)
    recogniser.task.check(samples)
    return replace(score_samples(recogniser, samples, name, note, index.skipped, tick), notes=index.notes)


def choose_part(recogniser: Recogniser, index: Index, part: str | None) -> tuple[tuple[Sample, ...], str, str]:
    """The samples to score, the name of that part, and a sentence on why these."""
    recorded = recogniser.bundle.facts.get("data", {})
    if fingerprint(index.samples) == recorded.get("fingerprint"):
        made = split(index, SplitRule(**recorded["split"]))
        name = part or ("test" if made.part("test") else "val")
        samples, before = _part(made, name), recorded.get("parts", {}).get(name)
        if before is None or before["fingerprint"] == fingerprint(samples):
            return samples, name, f"the {name} part recorded at training"
        return (
            samples,
            name,
            f"the data of training under another split: its {name} part now, which training may have seen",
        )
    if part not in (None, ALL):
        if part in ("train", "val", "test") and any(s.split for s in index.samples):
            return _part(named(index), part), part, f"other data than at training: its own {part} part"
        raise UsageError(
            f"this is other data than at training, without a {part} part; leave --split away to score it all"
        )
    return _part(index, ALL), ALL, "other data than at training: all of it"


def _part(index: Index, name: str) -> tuple[Sample, ...]:
    if name not in ("train", "val", "test", ALL):
        raise UsageError(unknown_name("split", name, ("train", "val", "test", ALL)))
    samples = index.samples if name == ALL else index.part(name)
    if not samples:
        raise DataError(f"the {name} part of the data is empty; choose another with --split")
    return samples


def score_samples(
    recogniser: Recogniser,
    samples: tuple[Sample, ...],
    name: str,
    note: str,
    skipped: tuple[Skipped, ...] = (),
    tick: Tick = silent,
) -> Evaluation:
    """Run and score labelled samples; unreadable pictures are left out and listed."""
    sklearn_metrics()  # what scoring needs is missed before the pictures are run, not after
    usable: list[Sample] = []
    rows: list[Arrays] = []
    left_out = list(skipped)
    results = recogniser.answers(s.path for s in samples)
    for done, (sample, seen) in enumerate(zip(samples, results, strict=True), start=1):
        tick(done, len(samples))
        if seen.error is not None:
            left_out.append(Skipped(sample.name, seen.error))
            continue
        usable.append(sample)
        rows.append(seen.outputs)
    if not usable:
        raise DataError(f"no picture of the {name} part could be read (the first: {left_out[len(skipped)].reason})")
    return from_outputs(recogniser, tuple(usable), collect(rows), name, note, tuple(left_out))


def from_outputs(
    recogniser: Recogniser,
    samples: tuple[Sample, ...],
    outputs: Outputs,
    name: str,
    note: str,
    skipped: tuple[Skipped, ...] = (),
) -> Evaluation:
    """The evaluation of raw outputs that are there already."""
    task, facts = recogniser.task, recogniser.facts
    predictions = task.predict([s.name for s in samples], outputs, facts)
    return Evaluation(name, note, task.score(samples, outputs, facts), samples, outputs, tuple(predictions), skipped)
