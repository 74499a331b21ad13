"""The doors for whatever a bundle holds: a recogniser of pictures, a character model, or a model of numbers."""

from pathlib import Path
from typing import Any

from fieldmark import bundle as bundles
from fieldmark.errors import UsageError

from .evaluation import Evaluation, Tick, silent
from .evaluation import evaluate as evaluate_pictures
from .forecaster import Forecaster
from .recogniser import Recogniser
from .writer import Writer

Loaded = Recogniser | Writer | Forecaster
SEQUENCES: dict[str, type[Writer] | type[Forecaster]] = {"text": Writer, "series": Forecaster}


def load(place: str | Path, precision: str = "auto", engine: str = "auto", glances: int | None = None) -> Loaded:
    """Load a bundle (folder, RUN or `*.fieldmark`), verified; BundleError when it must not be used.

    `glances`, of pictures alone: 2 looks at every picture again, at the region that decided; None is what the bundle
    says.
    """
    bundle = bundles.load(place)
    if bundle.task != bundles.SEQUENCE:
        return Recogniser(bundle, precision, engine, glances)
    if glances is not None:
        raise UsageError(f"{place} reads sequences, which have no glances; leave them away")
    return SEQUENCES.get(str(bundle.facts.get("kind")), Writer)(bundle, precision, engine)


def evaluate(bundle: str | Path | Loaded, data: Any, part: str | None = None, tick: Tick = silent) -> Evaluation:
    """Score a bundle on DATA: pictures, a text, or a table of numbers, as it needs.

    The part recorded at training is used when the data is the same ("test" unless `part` names another); other data is
    scored whole. Raises DataError when the part is empty or nothing of it can be read.
    """
    loaded = load(bundle) if isinstance(bundle, (str, Path)) else bundle
    if isinstance(loaded, Recogniser):
        return evaluate_pictures(loaded, data, part, tick)
    return loaded.evaluate(data, part, tick)


def recogniser_of(loaded: Loaded) -> Recogniser:
    """A bundle that was loaded as a recogniser of pictures; UsageError, with what to use instead, for any other."""
    if isinstance(loaded, Recogniser):
        return loaded
    place = loaded.bundle.path
    how = f"write text with fieldmark generate {place}" if isinstance(loaded, Writer) else "give it tables of numbers"
    raise UsageError(f"{place} reads sequences and recognises no pictures; {how}")


def load_writer(place: str | Path) -> Writer:
    """A character model; UsageError, with what to use instead, for any other bundle."""
    loaded = load(place)
    if isinstance(loaded, Recogniser):
        raise UsageError(f"{place} recognises pictures and writes no text; use fieldmark predict")
    if isinstance(loaded, Forecaster):
        raise UsageError(f"{place} foresees numbers and writes no text; use fieldmark predict {place} TABLE.csv")
    return loaded
