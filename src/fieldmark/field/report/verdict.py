"""What the scores mean, in plain sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

from .words import SCORE_WORDS, interval, is_number, number, percent, score, score_keys

Values = dict[str, Any]


def verdict(parts: Sequence[Values]) -> list[str]:
    """What the scores mean in plain sentences, the first one alone telling the most; from the first part."""
    if not parts:
        return ["Nothing has been scored yet."]
    part, scores = parts[0], parts[0]["scores"]
    accuracy = scores.get("accuracy")
    if not is_number(accuracy):
        return [_other_verdict(part), *_caveats(part)]
    bounds = interval("accuracy", scores)
    spread = f" ({hundred(bounds[0])} to {hundred(bounds[1])})" if bounds else ""
    whose = "pictures of this data" if part["split"] == "all" else "new pictures like these"
    first = f"Of 100 {whose}, about {hundred(accuracy)}{spread} are named right"
    unsure, when_sure = scores.get("unsure"), scores.get("accuracy_when_sure")
    if is_number(unsure) and is_number(when_sure) and 0 < unsure < 1:
        first += (
            f"; it is unsure about {hundred(unsure)} of them, "
            f"and where it is sure, about {hundred(when_sure)} of 100 are right"
        )
    return [f"{first}.", *_caveats(part)]


def _other_verdict(part: Mapping[str, Any]) -> str:
    """What the scores mean where they are not of single classes."""
    scores = part["scores"]
    if part["things"] == "pictures" and is_number(scores.get("mae")):
        beside = f", where always stating the mean is off by {number(scores.get('baseline_mae'))}"
        explained = (
            f"; it explains {percent(scores.get('r2'), 0)} of the variation" if is_number(scores.get("r2")) else ""
        )
        return f"On {part['pictures']} a stated number is off by {number(scores['mae'])} on average{beside}{explained}."
    if is_number(scores.get("subset_accuracy")):
        whole = hundred(scores["subset_accuracy"])
        return (
            f"Of 100 new pictures like these, about {whole} get exactly their labels; over all labels, recall and "
            f"precision balance at {percent(scores.get('micro_f1'), 0)}."
        )
    if is_number(scores.get("map50")) and is_number(scores.get("recall")) and is_number(scores.get("precision")):
        return (
            f"Of 100 true boxes in {part['pictures']}, about {hundred(scores['recall'])} are found, and of 100 boxes "
            f"shown about {hundred(scores['precision'])} are right."
        )
    if is_number(scores.get("foreground_iou")):
        return (
            f"Of all pixels of {part['pictures']} that show a thing or are said to, "
            f"{percent(scores['foreground_iou'], 0)} are both; by kinds, and the background with them, mean IoU is "
            f"{percent(scores.get('miou'), 0)}."
        )
    keys = score_keys(scores)
    said = ", ".join(f"{SCORE_WORDS[k].name if k in SCORE_WORDS else k} {score(k, scores[k])}" for k in keys[:3])
    return f"On {part['pictures']}: {said}." if said else "Nothing has been scored yet."


def _caveats(part: Mapping[str, Any]) -> list[str]:
    tested = {
        "test": f"Measured on {part['things']} that took no part in training or in choosing settings.",
        "val": f"Measured on {part['things']} that also helped to choose settings: new ones may do a little worse.",
        "train": f"Measured on the training {part['things']} themselves: new ones will do worse.",
    }.get(part["split"], "")
    base = part.get("baseline")
    guess = f"Always naming the most frequent class would get {hundred(base)} of 100." if base is not None else ""
    both = " ".join(sentence for sentence in (tested, guess) if sentence)
    return [both] if both else []


def hundred(fraction: float) -> str:
    """A fraction as a whole number of 100; never "0" or "100" for what is not quite."""
    whole = round(100 * fraction)
    if whole == 100 and fraction < 1:
        return f"{100 * fraction:.1f}" if fraction < 0.9995 else "over 99.9"
    if whole == 0 and fraction > 0:
        return "fewer than 1"
    return str(whole)
