"""`report.html`: one file that needs nothing else, no network and no JavaScript."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from PIL import Image

from fieldmark import files
from fieldmark.errors import MissingExtraError
from fieldmark.field.runtime.evaluation import Evaluation
from fieldmark.types import Picture

from . import charts, sections
from .maps import map_check
from .verdict import verdict
from .words import clean, last_name, mapping, percent, seconds, things
from .worst import Mistake

TEMPLATE = "report.html.jinja"
STYLE = "report.css"
JPEG_QUALITY = 82
MISTAKE_SIDE = 400
GRID_SIDE = 224


@dataclass(frozen=True)
class Shown:
    """One picture of the report, uint8 [H, W, 3], and what stands below it."""

    picture: Picture
    caption: str


def write_report(
    path: Path,
    *,
    facts: Mapping[str, Any],
    evaluations: Sequence[Evaluation],
    mistakes: Sequence[Mistake] = (),
    training_grid: Sequence[Shown] = (),
    steps: Sequence[tuple[str, float]] = (),
    maps: Mapping[str, Any] | None = None,
) -> None:
    """Write the report to `path`, atomically; the same input gives the same bytes.

    `facts` are a bundle's; `maps`, what `check_maps` measured; `steps` are names and seconds in the order they ran.
    MissingExtraError without jinja2.
    """
    files.write_text(path, page(facts, evaluations, mistakes, training_grid, steps, maps))


def page(
    facts: Mapping[str, Any],
    evaluations: Sequence[Evaluation],
    mistakes: Sequence[Mistake] = (),
    training_grid: Sequence[Shown] = (),
    steps: Sequence[tuple[str, float]] = (),
    maps: Mapping[str, Any] | None = None,
) -> str:
    """The report as HTML."""
    parts = sections.parts_of(facts, evaluations)
    n_skipped, skipped = sections.skipped_rows(facts, evaluations)
    n_notes, notes = sections.note_rows(evaluations)
    ran = sections.finite(steps)
    source = last_name(mapping(facts.get("data")).get("source") or "")
    values = {
        "title": f"{source} · Fieldmark report" if source else "Fieldmark report",
        "heading": source or "A recogniser and its scores",
        "verdict": verdict(parts),
        "parts": parts,
        "every_score": sections.every_score(parts),
        "has_coarse": bool(mapping(facts.get("coarse"))),
        "data_parts": sections.data_parts(facts),
        "mistakes": [_mistake_values(m) for m in mistakes],
        "mistakes_words": mistakes[0].words if mistakes else "",
        "has_overlays": any(m.overlay is not None and not m.words for m in mistakes),
        "training_grid": [{"caption": s.caption, "picture": jpeg_uri(s.picture, GRID_SIDE)} for s in training_grid],
        "maps": map_check(maps),
        "learning": sections.learning(facts),
        "samples": sections.samples(facts),
        "things": things(facts),
        "steps": sections.run_steps(ran),
        "timeline": charts.timeline(ran),
        "total_time": seconds(sum(s for _, s in ran)),
        "n_skipped": n_skipped,
        "skipped": [(row.name, row.reason) for row in skipped],
        "n_notes": n_notes,
        "notes": [(note.name, note.text) for note in notes],
        "facts": sections.fact_groups(facts),
    }
    return clean(_render({**values, "contents": _contents(values), "style": _text(STYLE)}))


def _contents(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The sections that the page has, as (id, words)."""
    sequence = values["things"] != "pictures"
    answered = any(part["has_answers"] or part["figures"] or part["tables"] for part in values["parts"])
    asked = [
        ("scores", "Scores", True),
        ("data", f"The {values['things']}", values["data_parts"]),
        ("answers-1", "The answers", answered),
        ("mistakes", "Worst mistakes", values["mistakes"]),
        ("maps", "Where it looks", values["maps"]),
        ("training", "Training pictures", values["training_grid"]),
        ("samples", "What it writes", values["samples"]),
        ("learning", "Learning" if sequence else "Before and after", values["learning"]),
        ("run", "The run", values["steps"]),
        ("skipped", "Left out", values["n_skipped"]),
        ("notes", "Annotations", values["n_notes"]),
        ("facts", "How it was made", values["facts"]),
    ]
    return [(name, words) for name, words, there in asked if there]


def _mistake_values(mistake: Mistake) -> dict[str, Any]:
    return {
        "path": mistake.path,
        "part": mistake.part,
        "truth": mistake.truth,
        "predicted": mistake.predicted,
        "told": mistake.told,
        "probability": percent(mistake.probability, 0),
        "of_truth": percent(mistake.probability_of_truth, 0),
        "picture": jpeg_uri(mistake.picture, MISTAKE_SIDE),
        "overlay": jpeg_uri(mistake.overlay, MISTAKE_SIDE) if mistake.overlay is not None else "",
    }


def jpeg_uri(picture: Picture, long_side: int) -> str:
    """A picture, at most `long_side` pixels long, as a data URI of a JPEG."""
    image = Image.fromarray(picture)
    image.thumbnail((long_side, long_side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode('ascii')}"


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _render(values: Mapping[str, Any]) -> str:
    try:
        import jinja2
    except ImportError:
        raise MissingExtraError("the report", "report") from None
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_text),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(values)
