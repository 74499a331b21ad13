"""The ten species of the field guide: one bird, told apart by small field marks only."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

MARK_KINDS: tuple[str, ...] = (
    "eye_ring", "wing_bars", "throat", "crest", "tail", "legs", "bill_tip", "eyebrow", "rump", "cap",
)  # fmt: skip

MARK_WORDS: dict[tuple[str, str], str] = {  # what a birder calls the value of a mark
    ("eye_ring", "white"): "white eye ring",
    ("wing_bars", "one"): "one wing bar",
    ("wing_bars", "two"): "two wing bars",
    ("throat", "black"): "black throat",
    ("throat", "rufous"): "rufous throat",
    ("crest", "raised"): "crest",
    ("tail", "square"): "square tail",
    ("tail", "notched"): "notched tail",
    ("legs", "dark"): "dark legs",
    ("legs", "orange"): "orange legs",
    ("bill_tip", "dark"): "dark bill tip",
    ("bill_tip", "yellow"): "yellow bill tip",
    ("eyebrow", "cream"): "cream eyebrow",
    ("rump", "yellow"): "yellow rump",
    ("cap", "black"): "black cap",
}


@dataclass(frozen=True)
class Marks:
    """The value of every field mark of one species; `none` means that the mark is absent."""

    eye_ring: Literal["none", "white"] = "none"
    wing_bars: Literal["none", "one", "two"] = "none"
    throat: Literal["none", "black", "rufous"] = "none"
    crest: Literal["none", "raised"] = "none"
    tail: Literal["square", "notched"] = "square"
    legs: Literal["dark", "orange"] = "dark"
    bill_tip: Literal["dark", "yellow"] = "dark"
    eyebrow: Literal["none", "cream"] = "none"
    rump: Literal["none", "yellow"] = "none"
    cap: Literal["none", "black"] = "none"

    def as_dict(self) -> dict[str, str]:
        """Return kind → value, in the order of `MARK_KINDS`."""
        return {field.name: str(getattr(self, field.name)) for field in fields(self)}


@dataclass(frozen=True)
class Species:
    """One class of the field guide: its name, its marks and one sentence on how to tell it."""

    name: str
    marks: Marks
    description: str


SPECIES: tuple[Species, ...] = (
    Species(
        "single-barred-warbler",
        Marks(eye_ring="white", wing_bars="one", tail="notched"),
        "White eye ring and notched tail; like the double-barred warbler, but with a single pale wing bar.",
    ),
    Species(
        "double-barred-warbler",
        Marks(eye_ring="white", wing_bars="two", tail="notched"),
        "White eye ring and notched tail; like the single-barred warbler, but with two pale wing bars.",
    ),
    Species(
        "black-bibbed-warbler",
        Marks(eyebrow="cream", wing_bars="two", legs="orange", throat="black"),
        "Cream eyebrow, two wing bars, orange legs; like the rusty-bibbed warbler, but with a black throat.",
    ),
    Species(
        "rusty-bibbed-warbler",
        Marks(eyebrow="cream", wing_bars="two", legs="orange", throat="rufous"),
        "Cream eyebrow, two wing bars, orange legs; like the black-bibbed warbler, but with a rufous throat.",
    ),
    Species(
        "dusky-legged-warbler",
        Marks(crest="raised", wing_bars="one", throat="rufous", rump="yellow", legs="dark"),
        "Crest, rufous throat, one wing bar, yellow rump; like the flame-legged warbler, but with dark legs.",
    ),
    Species(
        "flame-legged-warbler",
        Marks(crest="raised", wing_bars="one", throat="rufous", rump="yellow", legs="orange"),
        "Crest, rufous throat, one wing bar, yellow rump; like the dusky-legged warbler, but with orange legs.",
    ),
    Species(
        "square-tailed-warbler",
        Marks(cap="black", eye_ring="white", rump="yellow", bill_tip="yellow", tail="square"),
        "Black cap, white eye ring, yellow rump and bill tip; like the notch-tailed warbler, but with a square tail.",
    ),
    Species(
        "notch-tailed-warbler",
        Marks(cap="black", eye_ring="white", rump="yellow", bill_tip="yellow", tail="notched"),
        "Black cap, white eye ring, yellow rump and bill tip; like the square-tailed warbler, but with a notched tail.",
    ),
    Species(
        "golden-billed-warbler",
        Marks(cap="black", eyebrow="cream", throat="black", bill_tip="yellow"),
        "Black cap, cream eyebrow and black throat; like the ebony-billed warbler, but with a yellow bill tip.",
    ),
    Species(
        "ebony-billed-warbler",
        Marks(cap="black", eyebrow="cream", throat="black", bill_tip="dark"),
        "Black cap, cream eyebrow and black throat; like the golden-billed warbler, but with an all-dark bill.",
    ),
)


def species_named(name: str) -> Species:
    """Return the species of that name; raise KeyError if there is none."""
    return {one.name: one for one in SPECIES}[name]


def differing_marks(one: Species, other: Species) -> frozenset[str]:
    """Return the kinds of mark in which two species differ."""
    mine, theirs = one.marks.as_dict(), other.marks.as_dict()
    return frozenset(kind for kind in MARK_KINDS if mine[kind] != theirs[kind])


def twins(species: Species) -> tuple[Species, ...]:
    """Return the nearest species: those that differ in the fewest marks."""
    others = [one for one in SPECIES if one.name != species.name]
    fewest = min(len(differing_marks(species, one)) for one in others)
    return tuple(one for one in others if len(differing_marks(species, one)) == fewest)


def telling_marks(species: Species) -> frozenset[str]:
    """Return the visible marks that tell a species from its nearest twins."""
    values = species.marks.as_dict()
    differing = frozenset[str]().union(*(differing_marks(species, twin) for twin in twins(species)))
    return frozenset(kind for kind in differing if values[kind] != "none")
