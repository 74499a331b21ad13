"""How scores, counts and names are written, on the page and on the model card alike."""

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

NOTHING = "–"
TASKS_WITH_CLASS_ANSWERS = ("classify",)
ERROR_WORDS = {
    "class": "on a true box of another class",
    "localisation": "beside a true box of their class",
    "both": "beside one of another class",
    "duplicate": "on a true box that a better one has",
    "background": "on nothing",
    "missed": "true boxes missed",
}
PART_USES = {
    "train": "learning",
    "val": "choosing settings, when to stop, calibration",
    "test": "these scores, and nothing else",
}
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_JOINERS = "\u200d\ufe0e\ufe0f"


@dataclass(frozen=True)
class ScoreWord:
    """What a score is called, what it means in half a sentence, and how it is written."""

    name: str
    meaning: str
    form: Literal["percent", "points", "number"] = "percent"


SCORE_WORDS: dict[str, ScoreWord] = {
    "accuracy": ScoreWord("Named right", "share of pictures whose first answer is true"),
    "coarse_accuracy": ScoreWord("Group right", "share whose coarser group is true"),
    "top5": ScoreWord("Among the first five", "share whose truth is one of the five most probable answers"),
    "macro_f1": ScoreWord("Macro F1", "balance of recall and precision, every class counting the same"),
    "accuracy_when_sure": ScoreWord("Right when sure", "share named right of those it is sure about"),
    "unsure": ScoreWord("Says “unsure”", "share of pictures it would rather hand to a person"),
    "ece": ScoreWord("Calibration error", "mean gap between stated probability and truth; 0 is ideal", "points"),
    "roc_auc": ScoreWord("ROC AUC", "chance that a positive is ranked above a negative"),
    "pr_auc": ScoreWord("PR AUC", "average precision over all thresholds"),
    "sensitivity": ScoreWord("Sensitivity", "share of the positives found"),
    "specificity": ScoreWord("Specificity", "share of the negatives recognised as such"),
    "map50": ScoreWord("mAP 50", "mean average precision at half overlap"),
    "map": ScoreWord("mAP", "mean average precision over classes"),
    "micro_f1": ScoreWord("Micro F1", "balance of recall and precision over all labels"),
    "subset_accuracy": ScoreWord("All labels right", "share of pictures with exactly the true labels"),
    "miou": ScoreWord("Mean IoU", "overlap with the truth, averaged over classes"),
    "dice": ScoreWord("Dice", "twice the overlap over the sum of both areas, averaged over classes"),
    "boundary_f": ScoreWord("Boundary F", "share of outlines that are where the true ones are"),
    "pixel_accuracy": ScoreWord("Pixels right", "share of all pixels named right"),
    "foreground_iou": ScoreWord(
        "IoU of all things", "overlap with the truth, all things together against the background"
    ),
    "foreground_roc_auc": ScoreWord("Thing or none", "chance that a picture with a thing is ranked above one without"),
    "mae": ScoreWord("Mean error", "mean absolute difference from the truth", "number"),
    "baseline_mae": ScoreWord("Mean error, baseline", "the same for a guess that needs no training", "number"),
    "last_value_mae": ScoreWord("Mean error, last value", "the same for the last value again", "number"),
    "seasonal_mae": ScoreWord("Mean error, last cycle", "the same for the value one period before", "number"),
    "rmse": ScoreWord("RMSE", "root of the mean squared error", "number"),
    "r2": ScoreWord("R²", "share of the variation explained", "number"),
    "perplexity": ScoreWord("Perplexity", "how many choices it hesitates between", "number"),
    "bits_per_character": ScoreWord("Bits per character", "lower is better", "number"),
    "baseline_bits_per_character": ScoreWord("Bits per character, counting pairs", "without a network", "number"),
    "precision": ScoreWord("Precision", "of what is called a class, the share that is it; mean over classes"),
    "recall": ScoreWord("Recall", "of what is a class, the share called it; mean over classes"),
    "nll": ScoreWord("Log loss", "mean surprise at the truth in nats; 0 is ideal", "number"),
}


@dataclass(frozen=True)
class TaskWord:
    """How learning is told of a task: `key`, the validation score that is drawn, `drawn`, what it is called;
    `compared`, the words around a compared figure, a share unless in the data's `own_units`."""

    key: str
    drawn: str
    compared: str
    own_units: bool = False


TASK_WORDS: dict[str, TaskWord] = {
    "classify": TaskWord("accuracy", "the share of validation pictures named right", "names {} right"),
    "multilabel": TaskWord("map", "mean average precision on validation", "reaches a mean F1 of {} a picture"),
    "segment": TaskWord("miou", "the mean IoU on validation", "reaches a mean IoU of {}"),
    "detect": TaskWord("map50", "mean average precision at half overlap on validation", "reaches a mean F1 of {}"),
    "regress": TaskWord("r2", "the share of validation's variation explained", "is off by {} on average", True),
}
SEQUENCES = {"text": "characters", "series": "rows"}
_NO_SCORES = ("n", "boxes", "threshold", "skipped")


def things(facts: Mapping[str, Any]) -> str:
    """What a bundle's data consists of, in the plural."""
    return SEQUENCES.get(str(facts.get("kind")), "pictures")


def clean(text: Any) -> str:
    """`text` without characters that XML or UTF-8 cannot carry or that turn what follows; each becomes U+FFFD."""
    return _UNPRINTABLE.sub("\ufffd", str(text))


def is_number(value: Any) -> bool:
    """Whether `value` is a finite number (a bool is none)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def percent(value: Any, digits: int = 1) -> str:
    """A fraction as "76.3 %", or a dash."""
    return f"{100 * value:.{digits}f} %" if is_number(value) else NOTHING


def number(value: Any) -> str:
    """A number to four digits, whole ones with separators, or a dash."""
    if not is_number(value):
        return NOTHING
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def score(key: str, value: Any) -> str:
    """One score as it is written under its key."""
    form = SCORE_WORDS[key].form if key in SCORE_WORDS else "number"
    if form == "points":
        return f"{100 * value:.1f} points" if is_number(value) else NOTHING
    return percent(value) if form == "percent" else number(value)


def interval(key: str, scores: Mapping[str, Any]) -> tuple[float, float] | None:
    """The 95 % interval of a score, where there is one."""
    found = scores.get(f"{key}_ci")
    if not isinstance(found, Sequence) or len(found) != 2 or not all(is_number(v) for v in found):
        return None
    return float(found[0]), float(found[1])


def interval_words(key: str, scores: Mapping[str, Any]) -> str:
    """The interval as "74.1 to 78.4 %", or nothing."""
    found = interval(key, scores)
    if found is None:
        return ""
    low, high = found
    is_share = key not in SCORE_WORDS or SCORE_WORDS[key].form == "percent"
    return f"{100 * low:.1f} to {100 * high:.1f} %" if is_share else f"{number(low)} to {number(high)}"


def score_keys(scores: Mapping[str, Any]) -> list[str]:
    """The keys that hold one number each: known ones in the order of SCORE_WORDS, then the others."""
    own = [key for key, value in scores.items() if is_number(value) and key not in _NO_SCORES]
    return [key for key in SCORE_WORDS if key in own] + [key for key in own if key not in SCORE_WORDS]


def mapping(value: Any) -> Mapping[str, Any]:
    """`value` where it is a mapping, an empty one otherwise: facts may lack any key."""
    return value if isinstance(value, Mapping) else {}


def last_name(place: Any) -> str:
    """The end of a path, with its folder for a file such as labels.csv; shown text must not tell where things lie."""
    parts = [part for part in re.split(r"[\\/]", str(place)) if part not in ("", ".", "..")] or [""]
    return "/".join(parts[-2:]) if "." in parts[-1] else parts[-1]


def seconds(value: float) -> str:
    """A duration as "48 s", "3 min 05 s" or "2 h 10 min"."""
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(value / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def width(text: str) -> int:
    """Columns that `text` takes: wide characters (Chinese, emoji) count two, combining ones none."""
    return sum(_columns(c) for c in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character) or character in _JOINERS:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def shorten(text: str, columns: int) -> str:
    """`text` cut to at most `columns` columns, ending in "…" when it was longer."""
    if width(text) <= columns:
        return text
    kept, used = "", 0
    for character in text:
        used += _columns(character)
        if used > columns - 1:
            break
        kept += character
    return kept.rstrip(_JOINERS + " ") + "…"


def plain(value: Any) -> str:
    """A JSON value as a person writes it: "224 × 224", "on", "none"."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {plain(v)}" for key, v in value.items())
    if isinstance(value, (list, tuple)):
        numbers = all(isinstance(v, (int, str)) for v in value) and any(isinstance(v, int) for v in value)
        return (" × " if numbers else ", ").join(plain(v) for v in value)
    return str(value)


def flatten(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of nested facts as (dotted name, value in words)."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from flatten(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, plain(value)
