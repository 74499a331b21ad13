"""What the command line prints: tables, CSV, one line of JSON."""

import csv
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

import click

if TYPE_CHECKING:
    from fieldmark.types import Prediction


TOP = 5  # of fewer classes it says nothing
NAMES_SHOWN = 5
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")  # controls, line ends, bidirectional


def visible(text: object) -> str:
    """`text` on one line, with what would steer a terminal written out: "\\n", "\\x1b"."""
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def left_out(name: str, reason: str) -> None:
    """Say on standard error what was left out, and why."""
    click.echo(f"left out {visible(name)}: {visible(reason)}", err=True)


def harmless(text: str) -> str:
    """`text` with its lines and tabs, and whatever else would steer a terminal written out."""
    return "".join(c if c in "\n\t" else visible(c) for c in text)


def quoted(cell: str) -> str:
    """A cell of a CSV table, in quotes where it needs them."""
    return '"' + cell.replace('"', '""') + '"' if any(c in cell for c in ',"\r\n') else cell


def count(number: int, what: str) -> str:
    """ "1 picture", "2 pictures"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def some(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    listed = list(names)
    more = len(listed) - NAMES_SHOWN
    return ", ".join(visible(name) for name in listed[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def write_csv(stream: TextIO, predictions: Iterable["Prediction"], top: int) -> None:
    """One row a picture: path, the `top` labels with their probabilities, unsure, error."""
    table = csv.writer(stream)
    heads = [f"{what}_{i + 1}" for i in range(top) for what in ("label", "probability")]
    table.writerow(["path", *heads, "unsure", "error"])
    for p in predictions:
        cells = [cell for s in p.labels[:top] for cell in (s.label, f"{s.probability:.6f}")]
        cells += [""] * (2 * top - len(cells))
        table.writerow([p.path, *cells, "" if p.unsure is None else str(p.unsure).lower(), p.error or ""])


def print_table(predictions: Iterable["Prediction"], top: int) -> None:
    """One line a usable picture, for people."""
    for p in predictions:
        if p.error is not None:
            continue
        said = "   ".join(f"{visible(s.label)} {s.probability:.1%}" for s in p.labels[:top])
        click.echo(f"{visible(p.path)}\t{'unsure: ' if p.unsure else ''}{said}")


def summary(scores: Mapping[str, Any]) -> str:
    """The scores in one line."""
    if "bits_per_character" in scores:
        low, high = scores["bits_per_character_ci"]
        bits, perplexity = scores["bits_per_character"], scores["perplexity"]
        return f"{bits:.3f} bits a character (95 % interval {low:.3f} to {high:.3f}), perplexity {perplexity:.3f}"
    if "baseline_mae" in scores:
        low, high = scores["mae_ci"]
        mae, base = scores["mae"], scores["baseline_mae"]
        return f"mean error {mae:.4g} (95 % interval {low:.4g} to {high:.4g}); without a model {base:.4g}"
    low, high = scores["accuracy_ci"]
    text = f"accuracy {scores['accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%})"
    if "coarse_accuracy" in scores:
        text += f", coarse {scores['coarse_accuracy']:.1%}"
    if len(scores["per_class"]) > TOP:
        text += f", top {TOP} {scores['top5']:.1%}"
    return text + f", macro F1 {scores['macro_f1']:.3f}, calibration error {scores['ece']:.3f}"


def print_json(value: Any) -> None:
    """`value` as one JSON object on one line."""
    click.echo(json.dumps(finite(value), ensure_ascii=False))


def finite(value: Any) -> Any:
    """NaN and infinity, which JSON does not have, as null."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
