"""Train, validation and test: those found are used, the missing ones are made, seeded, stratified, and by group."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fieldmark.errors import DataError
from fieldmark.types import Sample

from .index import Index

SPLITS = ("train", "val", "test")
ALIASES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class SplitRule:
    """How missing parts are made: the fraction of all pictures for each, and the seed. `test=0` makes no test part."""

    seed: int = 0
    val: float = 0.15
    test: float = 0.15

    def to_json(self) -> dict[str, Any]:
        return {"seed": self.seed, "val": self.val, "test": self.test}


def split(index: Index, rule: SplitRule) -> Index:
    """The index with every sample in "train", "val" or "test".

    Samples of one `group` stay together. Raises DataError when a split is unknown or given for some samples only, when
    a group is in two splits, or when nothing is left to train on.
    """
    index = named(index)
    given = {s.split for s in index.samples}
    if None in given and len(given) > 1:
        raise DataError("some rows have a split and some have none; fill in train, val or test for all, or for none")
    found = {name for name in given if name}
    if found and "train" not in found:
        raise DataError(f"the data has {' and '.join(sorted(found))} but no train part to learn from; name one 'train'")
    _check_groups(index)
    if not found:
        index = index.with_samples(replace(s, split="train") for s in index.samples)
    fractions = {name: getattr(rule, name) for name in ("test", "val") if name not in found}
    return _carve(index, fractions, rule.seed)


def _check_groups(index: Index) -> None:
    """DataError when given splits tear a group apart: what was learned from one part would be tested on another."""
    first: dict[str, Sample] = {}
    for sample in index.samples:
        if sample.group is not None and first.setdefault(sample.group, sample).split != sample.split:
            before = first[sample.group]
            raise DataError(
                f"group {sample.group!r} is in {before.split} ({before.name}) and in {sample.split} ({sample.name}); "
                "put it into one part, or leave the column group or split out"
            )


def named(index: Index) -> Index:
    """The index with the splits it has under their own names; DataError for an unknown one."""
    return index.with_samples(_canonical(s) for s in index.samples)


def _canonical(sample: Sample) -> Sample:
    if sample.split is None:
        return sample
    known = ALIASES.get(sample.split.strip().lower())
    if known is None:
        raise DataError(f"{sample.name}: unknown split {sample.split!r}; use train, val or test")
    return replace(sample, split=known)


def _carve(index: Index, fractions: dict[str, float], seed: int) -> Index:
    """Move fractions of all samples, taken from the training part, into other parts."""
    train = [i for i, s in enumerate(index.samples) if s.split == "train"]
    total = len(train)
    parts = [s.split for s in index.samples]
    rest = train
    for name, fraction in fractions.items():
        chosen = _choose([index.samples[i] for i in rest], fraction * total / max(1, len(rest)), seed)
        for i in (rest[j] for j in chosen):
            parts[i] = name
        rest = [i for i in rest if parts[i] == "train"]
    return index.with_samples(replace(s, split=p) for s, p in zip(index.samples, parts, strict=True))


def _choose(samples: Sequence[Sample], fraction: float, seed: int) -> list[int]:
    """Positions of about `fraction` of the samples: as many of each class, whole groups, at least one group left.

    A picture of several classes counts as one of the rarest of them: most sets of labels are there only once.

    What a class owes after rounding passes to the next one, up to half its largest group, so that many classes too
    small to give any do not empty a large one.
    """
    if fraction <= 0:
        return []
    many = Counter(label for sample in samples for label in sample.labels)
    groups: dict[str, list[int]] = defaultdict(list)
    for i, sample in enumerate(samples):
        groups[sample.group if sample.group is not None else f"\0{sample.name}\0{i}"].append(i)
    strata: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name in sorted(groups):
        common = Counter(samples[i].labels for i in groups[name]).most_common()
        labels = min(labels for labels, count in common if count == common[0][1])
        strata[tuple(sorted(labels, key=lambda label: (many[label], label))[:1])].append(name)
    rng = np.random.default_rng([seed, len(samples)])
    chosen: list[int] = []
    owed = 0.0
    for stratum in sorted(strata):
        names = [strata[stratum][k] for k in rng.permutation(len(strata[stratum]))]
        sizes = [len(groups[name]) for name in names]
        owed = min(max(owed, -max(sizes) / 2), max(sizes) / 2) + fraction * sum(sizes)
        for name in names[:-1]:  # one group of each class always stays in training
            if len(groups[name]) / 2 > owed:
                break
            chosen += groups[name]
            owed -= len(groups[name])
    return chosen
