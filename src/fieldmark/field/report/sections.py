"""The parts of the page as plain values for the template: verdict, one section a scored part, data, run, facts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fieldmark.data import Skipped
from fieldmark.data.index import Note
from fieldmark.field.evaluate.classification import reliability
from fieldmark.field.runtime.evaluation import Evaluation

from . import charts, figures, findings
from .words import (
    NOTHING,
    PART_USES,
    SCORE_WORDS,
    TASK_WORDS,
    TASKS_WITH_CLASS_ANSWERS,
    ScoreWord,
    TaskWord,
    flatten,
    interval,
    interval_words,
    is_number,
    last_name,
    mapping,
    number,
    percent,
    plain,
    score,
    score_keys,
    seconds,
    things,
)

Values = dict[str, Any]
HEADLINE_ORDER = ("test", "all", "val", "train")
CARDS_WITHOUT = ("precision", "recall", "nll")
UNFOLDED_CLASSES = 25
WORST_CLASSES = 10
BINS = 10
FEWEST_ON_CURVE = 10
MOST_LISTED = 100
FACTS_SHOWN_ELSEWHERE = ("scores", "learning", "comparison", "classes", "coarse", "files", "alphabet", "samples")


def parts_of(facts: Mapping[str, Any], evaluations: Sequence[Evaluation]) -> list[Values]:
    """The scored parts, the one that counts most first; the bundle's recorded scores where there is no evaluation."""
    if evaluations:
        parts = [part_section(facts, e.split, e.scores, e) for e in evaluations]
    else:
        recorded = mapping(facts.get("scores"))
        parts = [part_section(facts, split, mapping(scores), None) for split, scores in recorded.items()]
    rank = {name: i for i, name in enumerate(HEADLINE_ORDER)}
    return sorted(parts, key=lambda part: rank.get(part["split"], len(rank)))


def part_section(
    facts: Mapping[str, Any], split: str, scores: Mapping[str, Any], evaluation: Evaluation | None
) -> Values:
    """One scored part: its heading, cards, and, for class answers, its charts and tables."""
    n = scores.get("n", len(evaluation.samples) if evaluation else None)
    name = {"all": "All of the data", "val": "Validation part"}.get(split, f"{split.capitalize()} part")
    kind = things(facts)
    pictures = {"all": f"all {kind}", "val": f"the validation {kind}"}.get(split, f"the {split} {kind}")
    note = evaluation.note if evaluation else ""
    part: Values = {
        "split": split,
        "pictures": pictures,
        "things": kind,
        "heading": f"{name}, {number(n)} {kind}" if is_number(n) else name,
        "note": f"{note[:1].upper()}{note[1:]}." if note else "",
        "scores": scores,
        "cards": cards(scores, facts),
        "unknown": list(scores.get("unknown_classes") or ()),
        "has_answers": False,
        "figures": figures.figures(facts, evaluation) if evaluation is not None else [],
        "tables": figures.tables(facts, scores),
    }
    if evaluation is not None and facts.get("task", "classify") in TASKS_WITH_CLASS_ANSWERS:
        found = findings.answers(evaluation)
        if found.truth:
            part |= answer_section(found, scores, facts)
    return part


def cards(scores: Mapping[str, Any], facts: Mapping[str, Any]) -> list[Values]:
    """One card a score that says something; "among five" says nothing of five classes or fewer."""
    few = len(facts.get("classes") or ()) in range(1, 6)
    found = []
    for key in score_keys(scores):
        if key in CARDS_WITHOUT or (key == "top5" and few):
            continue
        word = SCORE_WORDS.get(key, ScoreWord(key, "", "number"))
        bounds = interval(key, scores) if word.form == "percent" else None
        card = {"name": word.name, "value": score(key, scores[key]), "meaning": word.meaning, "whisker": ""}
        card["between"] = interval_words(key, scores)
        if bounds:
            card["whisker"] = charts.whisker(scores[key], *bounds)
        found.append(card)
    return found


def answer_section(found: findings.Answers, scores: Mapping[str, Any], facts: Mapping[str, Any]) -> Values:
    """The confusions, the trust in probabilities and the classes of one part."""
    matrix = findings.confusion_matrix(found, tuple(facts.get("classes") or ()))
    curve = findings.coverage_curve(found.confidence, found.correct, FEWEST_ON_CURVE)
    unsure, when_sure = scores.get("unsure"), scores.get("accuracy_when_sure")
    marked = is_number(unsure) and is_number(when_sure)
    mark = (1 - scores["unsure"], scores["accuracy_when_sure"]) if marked else None
    rows = [class_row(row) for row in findings.class_rows(scores, mapping(facts.get("coarse")))]
    shown = len(rows) if len(rows) <= UNFOLDED_CLASSES else WORST_CLASSES
    return {
        "has_answers": True,
        "baseline": findings.most_frequent_share(found),
        "pairs": findings.confused_pairs(found),
        "matrix": charts.heat_map(matrix.names, matrix.counts, matrix.totals) if matrix.names else "",
        "matrix_left_out": matrix.left_out,
        "reliability": charts.reliability_diagram(reliability(found.confidence, found.correct, BINS)),
        "coverage": charts.coverage_chart(curve, mark),
        "has_mark": mark is not None,
        "classes": rows[:shown],
        "more_classes": rows[shown:],
    }


def class_row(row: Mapping[str, Any]) -> Values:
    """A row of the class table in words; a class without pictures has no recall."""
    recall: float | None = row["recall"] if row.get("n") and is_number(row.get("recall")) else None
    return {
        "name": row["name"],
        "coarse": row["coarse"],
        "recall": percent(recall, 0),
        "meter": charts.meter(recall) if recall is not None else "",
        "precision": percent(row.get("precision"), 0),
        "n": number(row.get("n")),
    }


def every_score(parts: Sequence[Values]) -> list[Values]:
    """All scores of all parts side by side, with their intervals."""
    keys = score_keys({key: value for part in reversed(parts) for key, value in part["scores"].items()})
    rows = []
    for key in keys:
        cells = []
        for part in parts:
            between = interval_words(key, part["scores"])
            value = score(key, part["scores"].get(key))
            cells.append(f"{value} ({between})" if between else value)
        rows.append({"key": key, "name": SCORE_WORDS[key].name if key in SCORE_WORDS else "", "cells": cells})
    return rows


def learning(facts: Mapping[str, Any]) -> Values | None:
    """Before and after the stages that changed the backbone, and how they went; None where there were none."""
    stages = [mapping(stage) for stage in facts.get("learning") or ()]
    if not stages:
        return None
    word = TASK_WORDS.get(str(facts.get("task")), TASK_WORDS["classify"])
    curves = [
        (str(s.get("name")), [(p["fraction"], max(0.0, p[word.key])) for p in s.get("history", ()) if word.key in p])
        for s in stages
    ]
    recorded = mapping(mapping(facts.get("head")).get("validation")).get(word.key)
    before: float | None = recorded if is_number(recorded) else None
    told: Values = {"curve": "", "rows": [], "sentence": "", "drawn": word.drawn, "dashed": before is not None}
    losses = [(p["fraction"], p["loss"]) for s in stages for p in s.get("history", ()) if "loss" in p]
    told["losses"] = bool(losses)
    if losses:
        told["curve"] = charts.loss_chart(losses, "nats a code" if facts.get("kind") == "text" else "mean steps")
    if any(points for _, points in curves):
        told["curve"] = charts.learning_chart(curves, None if before is None else max(0.0, before), word.drawn)
    told["rows"] = [
        {"name": s.get("name"), "trains": s.get("trains"), "steps": number(s.get("steps")), "stopped": s.get("stopped")}
        for s in stages
    ]
    found = mapping(facts.get("comparison"))
    if not found and before is not None:
        told["sentence"] = (
            "On the validation pictures the trained network did not clearly beat the linear head on the untouched "
            "backbone, so the linear head is what the bundle holds."
        )
    if found:
        told["sentence"] = _compared(found, word)
    return told


def _compared(found: Mapping[str, Any], word: TaskWord) -> str:
    """The sentence of a comparison on the same pictures."""
    before, after, difference = found["before"], found["after"], found["difference"]
    low, high = found["difference_ci"]
    if word.own_units:  # errors, which are kept negative: the higher the better
        one, other, by = number(-before), number(-after), f"{-difference:+.4g}"
        between = f"{-high:+.4g} to {-low:+.4g}"
    else:
        one, other, by = percent(before), percent(after), f"{100 * difference:+.1f} points"
        between = f"{100 * low:+.1f} to {100 * high:+.1f}"
    return (
        f"On the same {number(found['n'])} {found['part']} pictures the untouched backbone with its linear head "
        f"{word.compared.format(one)}, the trained network {other}: a difference of {by}, 95 % interval {between} "
        "(paired bootstrap)."
    )


def samples(facts: Mapping[str, Any]) -> list[Values]:
    """Texts that a character model wrote, each with how it was drawn."""
    rows = [mapping(row) for row in facts.get("samples") or ()]
    return [{"text": str(row.get("text")), "how": f"temperature {plain(row.get('temperature'))}"} for row in rows]


def data_parts(facts: Mapping[str, Any]) -> list[Values]:
    """How many pictures each part of the data holds and what it is for."""
    parts = mapping(mapping(facts.get("data")).get("parts"))
    return [
        {
            "name": name,
            "n": number(mapping(values).get("n")),
            "use": PART_USES.get(name, ""),
            "fingerprint": str(mapping(values).get("fingerprint") or NOTHING)[:12],
        }
        for name, values in parts.items()
    ]


def run_steps(steps: Sequence[tuple[str, float]]) -> list[Values]:
    """The steps of the run with their time, share and colour."""
    total = sum(s for _, s in steps) or 1.0
    return [
        {"name": name, "time": seconds(s), "share": percent(s / total, 0), "colour": i % charts.STEP_COLOURS}
        for i, (name, s) in enumerate(steps)
    ]


def skipped_rows(facts: Mapping[str, Any], evaluations: Sequence[Evaluation]) -> tuple[int, list[Skipped]]:
    """How many were left out, each counted once, and the first of them; the bundle's count where that is all."""
    unique = list(dict.fromkeys(row for e in evaluations for row in e.skipped))
    recorded = mapping(facts.get("data")).get("skipped")
    if not unique and not evaluations:
        count = recorded if isinstance(recorded, int) else len(recorded) if isinstance(recorded, Sequence) else 0
        return count, []
    return len(unique), unique[:MOST_LISTED]


def note_rows(evaluations: Sequence[Evaluation]) -> tuple[int, list[Note]]:
    """How many notes on annotations there are, each counted once, and the first of them."""
    unique = list(dict.fromkeys(note for e in evaluations for note in e.notes))
    return len(unique), unique[:MOST_LISTED]


def fact_groups(facts: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Everything else that the bundle records, one group a key; classes and scores stand elsewhere."""
    data = {k: v for k, v in mapping(facts.get("data")).items() if k not in ("parts", "skipped")}
    if "source" in data:
        data["source"] = last_name(data["source"])
    groups: list[tuple[str, list[tuple[str, str]]]] = []
    single: list[tuple[str, str]] = []
    for key, value in {**facts, "data": data}.items():
        if key in FACTS_SHOWN_ELSEWHERE or value in (None, {}):
            continue
        if isinstance(value, Mapping):
            groups.append((str(key).capitalize(), list(flatten(value))))
        else:
            single.append((str(key), plain(value)))
    return [("Bundle", single), *groups] if single else groups


def finite(values: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """The steps whose seconds are a number that can be drawn."""
    return [(name, float(s)) for name, s in values if is_number(s) and np.isfinite(s) and s >= 0]
