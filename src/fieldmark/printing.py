"""What the command line prints: tables, CSV, one line of JSON."""

import csv
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TextIO

import click

if TYPE_CHECKING:
    from fieldmark.data.index import Note
    from fieldmark.types import Prediction


TOP = 5  # of fewer classes it says nothing
NAMES_SHOWN = 5
NOTES_SHOWN = 20
LONGEST_ID = 18  # digits: below 2^63
SUMMARY_WORDS = {
    "miou": "mean IoU",
    "foreground_iou": "IoU of all things together",
    "dice": "Dice",
    "map50": "mAP at half overlap",
    "map": "mean average precision",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "subset_accuracy": "all labels right",
    "mae": "mean absolute error",
    "baseline_mae": "without a model",
    "rmse": "RMSE",
    "r2": "R²",
}
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")  # controls, line ends, bidirectional


def visible(text: object) -> str:
    """`text` on one line, with what would steer a terminal written out: "\\n", "\\x1b"."""
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def left_out(name: str, reason: str) -> None:
    """Say on standard error what was left out, and why."""
    click.echo(f"left out {visible(name)}: {visible(reason)}", err=True)


def notes(found: Sequence["Note"]) -> None:
    """Say on standard error what was mended or passed over in annotations: the first, and how many more."""
    for note in found[:NOTES_SHOWN]:
        click.echo(visible(f"{note.name}: {note.text}"), err=True)
    if len(found) > NOTES_SHOWN:
        click.echo(f"and {count(len(found) - NOTES_SHOWN, 'more note')} on annotations", err=True)


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


def write_boxes(stream: TextIO, predictions: Iterable["Prediction"]) -> None:
    """One row a box: path, label, probability, its corners in pixels, unsure, error; one without a box for a picture
    that has none."""
    table = csv.writer(stream)
    table.writerow(["path", "label", "probability", "xmin", "ymin", "xmax", "ymax", "unsure", "error"])
    for p in predictions:
        ending = ["" if p.unsure is None else str(p.unsure).lower(), p.error or ""]
        rows = [[b["label"], f"{b['probability']:.6f}", *b["xyxy"]] for b in p.extra.get("boxes", ())]
        table.writerows([p.path, *row, *ending] for row in rows or [[""] * 6])


def coco_results(predictions: Iterable["Prediction"], classes: Sequence[str]) -> list[dict[str, Any]]:
    """The boxes, or the masks of things as run lengths, as COCO results. Images' ids are the numbers that are their
    files' names, as COCO names them, where all are and no two are the same, else their places in the order given, from
    1; a category's is its place among `classes`, from 1."""
    rows, stems = list[dict[str, Any]](), list[str]()
    for place, p in enumerate(predictions, start=1):
        stems.append(PurePath(p.path).stem)
        image = {"image_id": place, "file_name": p.path}
        rows += [{**image, **row} for row in _mask_results(p, classes)]
        for box in p.extra.get("boxes", ()):
            x0, y0, x1, y1 = box["xyxy"]
            kind = {"category_id": classes.index(box["label"]) + 1, "category": box["label"]}
            xywh = [x0, y0, round(x1 - x0, 2), round(y1 - y0, 2)]
            rows.append({**image, **kind, "bbox": xywh, "score": box["probability"]})
    numbers = [int(stem) for stem in stems if stem.isdecimal() and stem.isascii() and len(stem) <= LONGEST_ID]
    if len(set(numbers)) == len(stems):
        for row in rows:
            row["image_id"] = numbers[row["image_id"] - 1]
    return rows


def _mask_results(p: "Prediction", classes: Sequence[str]) -> list[dict[str, Any]]:
    """What a picture shows but for its background, each with its pixels as run lengths."""
    from fieldmark.types import run_lengths

    numbers, rows = p.mask, list[dict[str, Any]]()
    if numbers is None:
        return rows
    for found in p.labels:
        if found.label != "background" and found.label in p.extra["shares"]:
            number = classes.index(found.label)
            kind = {"category_id": number + 1, "category": found.label}
            drawn = {"size": list(numbers.shape), "counts": run_lengths(numbers == number)}
            rows.append({**kind, "segmentation": drawn, "score": round(found.probability, 6)})
    return rows


def _cell(value: Any) -> str:
    """Several values between semicolons, as tables give them; an object as JSON, nothing for none."""
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else ";".join(map(str, value)) if isinstance(value, list) else str(value)


def print_predictions(
    form: str, predictions: Iterable["Prediction"], top: int, classes: Sequence[str], columns: Sequence[str] | None
) -> None:
    """As "jsonl", one line a picture; as "coco", one list of COCO results; as "csv", with what `columns` names of each
    picture, or a row a box where they are None; as "table", for people."""
    if form == "jsonl":
        for prediction in predictions:
            click.echo(json.dumps(prediction.to_json(top), ensure_ascii=False))
    elif form == "coco":
        click.echo(json.dumps(coco_results(predictions, classes), ensure_ascii=False))
    elif form == "csv" and columns is None:
        write_boxes(sys.stdout, predictions)
    elif form == "csv":
        write_csv(sys.stdout, predictions, top, columns or ())
    else:
        print_table(predictions, top)


def print_table(predictions: Iterable["Prediction"], top: int) -> None:
    """One line a usable picture, for people."""
    for p in predictions:
        if p.error is not None:
            continue
        click.echo(f"{visible(p.path)}\t{'unsure: ' if p.unsure else ''}{_said(p, top)}")


def _said(p: "Prediction", top: int) -> str:
    if "boxes" in p.extra:
        counts = Counter(box["label"] for box in p.extra["boxes"])
        return ", ".join(f"{n} {visible(label)}" for label, n in counts.most_common()) or "no box"
    if "value" in p.extra:
        between = " ({:g} to {:g})".format(*p.extra["interval"]) if "interval" in p.extra else ""
        return f"{p.extra['value']:g}{between}"
    if "shares" in p.extra:
        return "   ".join(f"{visible(name)} {share:.2%}" for name, share in p.extra["shares"].items())
    labels = [s for s in p.labels if s.label in p.extra["present"]] if "present" in p.extra else p.labels[:top]
    return "   ".join(f"{visible(s.label)} {s.probability:.1%}" for s in labels) or "none of the labels"


def explained(row: Mapping[str, Any]) -> str:
    """What an explanation is of: a class or a box with its probability, or a number."""
    if row["label"] is None:
        return "no box"
    return (
        f"{visible(row['label'])} {row['value'] if row['probability'] is None else format(row['probability'], '.1%')}"
    )


def summary(scores: Mapping[str, Any]) -> str:
    """The scores that tell most, in one line."""
    if "accuracy" in scores:
        return _class_summary(scores)
    if "bits_per_character" in scores:
        low, high = scores["bits_per_character_ci"]
        bits, perplexity = scores["bits_per_character"], scores["perplexity"]
        said = f"{bits:.3f} bits a character (95 % interval {low:.3f} to {high:.3f}), perplexity {perplexity:.3f}"
        pairs = scores.get("baseline_bits_per_character")
        return said if pairs is None else f"{said}; by counting pairs {pairs:.3f}"
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
