"""The Index: a data set as one value, whatever form it came in."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from fieldmark.errors import DataError
from fieldmark.files import sha256
from fieldmark.types import MaskFile, Sample


@dataclass(frozen=True)
class Skipped:
    """A picture or a row that was left out, and why, in one sentence without the name."""

    name: str
    reason: str


@dataclass(frozen=True)
class Note:
    """What was mended or passed over within an annotation, in one sentence without the file; no picture is lost."""

    name: str
    text: str


@dataclass(frozen=True)
class Index:
    """The samples of a data set in its own order, and what was left out on the way; `kind`, what tells their truth:
    "label" (one a picture), "labels" (any number), "target" (a number), "boxes", "mask"; `notes`, what was wrong in
    annotations."""

    source: str
    samples: tuple[Sample, ...]
    skipped: tuple[Skipped, ...] = ()
    kind: str = "label"
    notes: tuple[Note, ...] = ()

    def part(self, name: str) -> tuple[Sample, ...]:
        """The samples of one split: "train", "val", "test"."""
        return tuple(s for s in self.samples if s.split == name)

    @cached_property
    def splits(self) -> Counter[str]:
        """Number of samples a split; samples without one count under ""."""
        return Counter(s.split or "" for s in self.samples)

    @cached_property
    def coarse_of(self) -> dict[str, str]:
        """Coarse label of each fine one, where given; DataError when a fine label has two."""
        found: dict[str, str] = {}
        for sample in self.samples:
            if sample.coarse is not None and len(sample.labels) == 1:
                before = found.setdefault(sample.label, sample.coarse)
                if before != sample.coarse:
                    raise DataError(
                        f"label {sample.label!r} has two coarse labels, {before!r} and {sample.coarse!r}; keep one"
                    )
        return found

    def with_samples(self, samples: Iterable[Sample]) -> "Index":
        return replace(self, samples=tuple(samples))


def check_named(index: Index) -> None:
    """DataError when what is known of the pictures is not a name each."""
    if index.kind in ("boxes", "mask"):
        what = {"boxes": "boxes", "mask": "masks"}[index.kind]
        raise DataError(
            f"{index.source} holds {what}, not one name a picture; give class folders or a table of labels, or train "
            "with --task multilabel"
        )


def numbered(index: Index) -> Index:
    """The samples with a number, for which alone it is asked; DataError when there is none."""
    known = tuple(replace(s, labels=(), coarse=None) for s in index.samples if s.target is not None)
    if not known:
        raise DataError(f"{index.source} has no numbers; give a table with the column target")
    lacking = tuple(Skipped(s.name, "it has no target") for s in index.samples if s.target is None)
    return replace(index, samples=known, skipped=index.skipped + lacking, kind="target")


def boxed(index: Index) -> Index:
    """The samples whose boxes are known, with the names of these as their labels; DataError when there is none."""
    known = tuple(
        replace(s, labels=tuple(sorted(set(s.boxes.labels))), coarse=None, target=None)
        for s in index.samples
        if s.boxes is not None
    )
    if not any(s.labels for s in known):
        why = f" ({index.notes[0].name}: {index.notes[0].text})" if index.notes else ""
        advice = "give a COCO, VOC or YOLO set or a table with a row for each box"
        raise DataError(f"{index.source} has no boxes{why}; {'mend them' if why and index.kind == 'boxes' else advice}")
    lacking = tuple(Skipped(s.name, "its boxes are not known") for s in index.samples if s.boxes is None)
    return replace(index, samples=known, skipped=index.skipped + lacking, kind="boxes")


def class_names(samples: Sequence[Sample]) -> tuple[str, ...]:
    """The classes of these samples in order of name; DataError when two differ only in case."""
    return distinct(label for s in samples for label in s.labels)


def distinct(found: Iterable[str]) -> tuple[str, ...]:
    """Names in order, each once; DataError when two differ only in case."""
    names = sorted(set(found))
    folded: dict[str, str] = {}
    for name in names:
        twin = folded.setdefault(name.casefold(), name)
        if twin != name:
            raise DataError(f"classes {twin!r} and {name!r} differ only in case; rename one or merge them")
    return tuple(names)


def fingerprint(samples: Iterable[Sample]) -> str:
    """SHA-256 over name, truth and size in bytes of every sample, whatever their order."""
    rows = sorted(json.dumps([s.name, s.labels, _size(s.path), *_more(s)]) for s in samples)
    return sha256("\n".join(rows).encode())


def _more(sample: Sample) -> list[Any]:
    """What JSON can tell numbers, boxes and masks apart by; nothing for a sample without."""
    found: list[Any] = [] if sample.target is None else [sample.target]
    if sample.boxes is not None:
        found.append(["boxes", sample.boxes.labels, sha256(sample.boxes.xyxy.astype("<f4").tobytes())])
    if isinstance(sample.mask, MaskFile):
        found.append(["mask", sample.mask.names, sample.mask.binary, _size(sample.mask.path)])
    elif sample.mask is not None:
        drawn = [
            [r.label, r.runs, [sha256(p.astype("<f4").tobytes()) for p in r.polygons]] for r in sample.mask.regions
        ]
        found.append(["outlines", sample.mask.size_wh, drawn])
    return found


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
