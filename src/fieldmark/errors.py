"""The exceptions that Fieldmark raises for what a user can mend; each message is one sentence that says what to do."""

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST_SAID = 80  # characters of what was given


class FieldmarkError(Exception):
    """Base of all errors a user can mend; the command line prints its message and exits with 2."""


class UsageError(FieldmarkError):
    """What was asked does not fit together (options, names, places)."""


class DataError(FieldmarkError):
    """DATA cannot be used as it is."""


class PictureError(FieldmarkError):
    """One picture cannot be used; it is reported and left out, and never stops a run."""


class BundleError(FieldmarkError):
    """A bundle is missing, incomplete, changed, or newer than this version reads."""


class WeightsError(FieldmarkError):
    """Pretrained weights cannot be had or do not fit the network."""


class MissingExtraError(FieldmarkError):
    """A part of Fieldmark needs packages that are not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs more packages: pip install 'fieldmark[{extra}]'")


def short(text: str) -> str:
    """Given text as a sentence may repeat it."""
    return text if len(text) <= LONGEST_SAID else text[:LONGEST_SAID] + "..."


def first_line(error: Exception) -> str:
    """What another library's exception says, as much as a sentence may repeat."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Sentence that `name` is no known `kind`, with the names nearest to it."""
    known, name = sorted(known), short(name)
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return f"unknown {kind} {name!r}; did you mean {' or '.join(near)}?"
    some = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
    return f"unknown {kind} {name!r}; known are: {some}"
