"""A recogniser on labelled pictures: which ones, what it said, and how well."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fieldmark.data import Index, Skipped, SplitRule, fingerprint, open_data, split
from fieldmark.errors import DataError, UsageError, unknown_name
from fieldmark.field.tasks.base import Outputs
from fieldmark.types import Prediction, Sample

from .recogniser import Recogniser, load

ALL = "all"


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

    def to_json(self) -> dict[str, Any]:
        return {"split": self.split, "note": self.note, **self.scores, "skipped": len(self.skipped)}


def evaluate(bundle: str | Path | Recogniser, data: str | Path | Index, part: str | None = None) -> Evaluation:
    """Score a recogniser on DATA.

    The split recorded at training is used when the data is the same ("test" unless `part` names another); other data
    is scored whole. Raises DataError when the part is empty or no picture of it can be read.
    """
    recogniser = bundle if isinstance(bundle, Recogniser) else load(bundle)
    index = data if isinstance(data, Index) else open_data(data)
    samples, name, note = choose_part(recogniser, index, part)
    return score_samples(recogniser, samples, name, note, index.skipped)


def choose_part(recogniser: Recogniser, index: Index, part: str | None) -> tuple[tuple[Sample, ...], str, str]:
    """The samples to score, the name of that part, and a sentence on why these."""
    recorded = recogniser.bundle.facts.get("data", {})
    if fingerprint(index.samples) == recorded.get("fingerprint"):
        made = split(index, SplitRule(**recorded["split"]))
        name = part or ("test" if made.part("test") else "val")
        return _part(made, name), name, f"the {name} part recorded at training"
    if part not in (None, ALL):
        if part in ("train", "val", "test") and any(s.split for s in index.samples):
            made = split(index, SplitRule())
            return _part(made, part), part, f"other data than at training: its own {part} part"
        raise UsageError(
            f"this is other data than at training, without a {part} part; leave --split away to score it all"
        )
    return index.samples, ALL, "other data than at training: all of it"


def _part(index: Index, name: str) -> tuple[Sample, ...]:
    if name == ALL:
        return index.samples
    if name not in ("train", "val", "test"):
        raise UsageError(unknown_name("split", name, ("train", "val", "test", ALL)))
    samples = index.part(name)
    if not samples:
        raise DataError(f"the {name} part of the data is empty; choose another with --split")
    return samples


def score_samples(
    recogniser: Recogniser, samples: tuple[Sample, ...], name: str, note: str, skipped: tuple[Skipped, ...] = ()
) -> Evaluation:
    """Run and score labelled samples; unreadable pictures are left out and listed."""
    usable: list[Sample] = []
    rows: dict[str, list[Any]] = {key: [] for key in recogniser.task.outputs}
    left_out = list(skipped)
    for sample, seen in zip(samples, recogniser.run((s.path for s in samples), recogniser.task.outputs), strict=True):
        if seen.error is not None:
            left_out.append(Skipped(sample.name, seen.error))
            continue
        usable.append(sample)
        for key, values in rows.items():
            values.append(seen.outputs[key])
    if not usable:
        raise DataError(f"no picture of the {name} part could be read (the first: {left_out[-1].reason})")
    outputs = {key: np.stack(values) for key, values in rows.items()}
    return from_outputs(recogniser, tuple(usable), outputs, name, note, tuple(left_out))


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
