"""What the command line prints: tables, CSV, one line of JSON."""

import csv
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

import click

if TYPE_CHECKING:
    from fieldmark.types import Prediction


TOP = 5  # of fewer classes it says nothing
NAMES_SHOWN = 5
SUMMARY_WORDS = {
    "miou": "mean IoU",
    "foreground_iou": "IoU of all things together",
    "dice": "Dice",
    "map": "mean average precision",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "subset_accuracy": "all labels right",
    "mae": "mean absolute error",
    "baseline_mae": "that of the mean",
    "rmse": "RMSE",
    "r2": "R²",
}
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")  # controls, line ends, bidirectional


def visible(text: object) -> str:
    """`text` on one line, with what would steer a terminal written out: "\\n", "\\x1b"."""
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def count(number: int, what: str) -> str:
    """ "1 picture", "2 pictures"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def some(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    listed = list(names)
    more = len(listed) - NAMES_SHOWN
    return ", ".join(visible(name) for name in listed[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def write_csv(stream: TextIO, predictions: Iterable["Prediction"], top: int, extra: Sequence[str] = ()) -> None:
    """One row a picture: path, the `top` labels with their probabilities, what `extra` names, unsure, error."""
    table = csv.writer(stream)
    heads = [f"{what}_{i + 1}" for i in range(top) for what in ("label", "probability")]
    table.writerow(["path", *heads, *extra, "unsure", "error"])
    for p in predictions:
        cells = [cell for s in p.labels[:top] for cell in (s.label, f"{s.probability:.6f}")]
        cells += [""] * (2 * top - len(cells))
        cells += [_cell(p.extra.get(key, "")) for key in extra]
        table.writerow([p.path, *cells, "" if p.unsure is None else str(p.unsure).lower(), p.error or ""])


def _cell(value: Any) -> str:
    """Several values between semicolons, as tables give them; an object as JSON, nothing for none."""
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else ";".join(map(str, value)) if isinstance(value, list) else str(value)


def print_table(predictions: Iterable["Prediction"], top: int) -> None:
    """One line a usable picture, for people."""
    for p in predictions:
        if p.error is not None:
            continue
        click.echo(f"{visible(p.path)}\t{'unsure: ' if p.unsure else ''}{_said(p, top)}")


def _said(p: "Prediction", top: int) -> str:
    if "value" in p.extra:
        between = " ({:g} to {:g})".format(*p.extra["interval"]) if "interval" in p.extra else ""
        return f"{p.extra['value']:g}{between}"
    if "shares" in p.extra:
        return "   ".join(f"{visible(name)} {share:.2%}" for name, share in p.extra["shares"].items())
    labels = [s for s in p.labels if s.label in p.extra["present"]] if "present" in p.extra else p.labels[:top]
    return "   ".join(f"{visible(s.label)} {s.probability:.1%}" for s in labels) or "none of the labels"


def summary(scores: Mapping[str, Any]) -> str:
    """The scores that tell most, in one line."""
    if "accuracy" in scores:
        return _class_summary(scores)
    told = {key: scores[key] for key in SUMMARY_WORDS if isinstance(scores.get(key), float)}
    return ", ".join(f"{SUMMARY_WORDS[key]} {value:.4g}{_between(scores, key)}" for key, value in told.items())


def _class_summary(scores: Mapping[str, Any]) -> str:
    low, high = scores["accuracy_ci"]
    text = f"accuracy {scores['accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%})"
    if "coarse_accuracy" in scores:
        text += f", coarse {scores['coarse_accuracy']:.1%}"
    if len(scores["per_class"]) > TOP:
        text += f", top {TOP} {scores['top5']:.1%}"
    return text + f", macro F1 {scores['macro_f1']:.3f}, calibration error {scores['ece']:.3f}"


def _between(scores: Mapping[str, Any], key: str) -> str:
    bounds = scores.get(f"{key}_ci")
    return f" (95 % interval {bounds[0]:.4g} to {bounds[1]:.4g})" if bounds else ""


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
