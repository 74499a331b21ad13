"""Class names as everything that writes them can: one line of text, which UTF-8 can hold."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from fieldmark.errors import DataError, short
from fieldmark.types import MaskFile, Outlines, Sample

from .index import Index, Note

MAX_NOTES = 1_000
_STEERING = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # line breaks and control characters


def plain(name: str) -> str:
    """A name with a single space for line breaks and control characters, and U+FFFD for what is no character."""
    text = name.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")  # halves of a pair are joined
    return (" ".join(_STEERING.sub(" ", text).split()) or "\ufffd") if _STEERING.search(text) else text


def with_plain_names(index: Index) -> Index:
    """The Index with every class under its plain name, and a note of each that was called otherwise.

    Raises DataError when two classes would have one name.
    """
    names = _names(index.samples)
    changed = {name: plain(name) for name in names if plain(name) != name}
    if not changed:
        return index
    taken: dict[str, str] = {}
    for name in sorted(names):
        twin = taken.setdefault(changed.get(name, name), name)
        if twin != name:
            raise DataError(
                f"classes {short(twin)!r} and {short(name)!r} differ only in line breaks, control characters or what "
                "is no text; rename one or merge them"
            )
    said = [Note("classes", f"{short(a)!r} is called {short(b)!r}") for a, b in sorted(changed.items())]
    if len(said) > MAX_NOTES:
        said = [*said[:MAX_NOTES], Note("...", f"{len(said) - MAX_NOTES:,} more of the kind")]
    samples = tuple(_renamed(sample, changed) for sample in index.samples)
    return replace(index, samples=samples, notes=(*index.notes, *said))


def _names(samples: Iterable[Sample]) -> set[str]:
    found: set[str] = set()
    for sample in samples:
        found.update(sample.labels)
        if sample.coarse is not None:
            found.add(sample.coarse)
        if sample.boxes is not None:
            found.update(sample.boxes.labels)
        if isinstance(sample.mask, MaskFile):
            found.update(sample.mask.names)
        elif sample.mask is not None:
            found.update(region.label for region in sample.mask.regions)
    return found


def _renamed(sample: Sample, changed: Mapping[str, str]) -> Sample:
    def renamed(names: Iterable[str]) -> tuple[str, ...]:
        return tuple(changed.get(name, name) for name in names)

    boxes, mask = sample.boxes, sample.mask
    if isinstance(mask, MaskFile):
        mask = replace(mask, names=renamed(mask.names))
    elif isinstance(mask, Outlines):
        mask = replace(mask, regions=tuple(replace(r, label=changed.get(r.label, r.label)) for r in mask.regions))
    return replace(
        sample,
        labels=tuple(sorted(renamed(sample.labels))),
        coarse=None if sample.coarse is None else changed.get(sample.coarse, sample.coarse),
        boxes=None if boxes is None else replace(boxes, labels=renamed(boxes.labels)),
        mask=mask,
    )
