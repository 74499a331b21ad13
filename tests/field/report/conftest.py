"""Made-up evaluations of random numbers: the report needs no network and no training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fieldmark.data import Skipped
from fieldmark.field.runtime.evaluation import Evaluation
from fieldmark.field.tasks import TaskFacts, get_task
from fieldmark.types import Sample

HOSTILE = (
    "<script>alert(1)</script>",
    "\" onload='x' &amp; ]]> -->",
    "{{ 7*7 }} {% raw %}",
    "杜鹃花 Rhododendron",
    "وقواق شائع",
    "🦜 Macaw",
    "a" * 120,
    "bell\x07 \udc80 | `tick` *star* [x](y)",
)


def make_evaluation(
    names: tuple[str, ...],
    n: int = 120,
    seed: int = 0,
    split: str = "test",
    skill: float = 2.0,
    truths: list[str] | None = None,
    skipped: tuple[Skipped, ...] = (),
    coarse: dict[str, str] | None = None,
) -> Evaluation:
    """`n` pictures whose logits [N, L] favour the truth by `skill`; `truths` overrides the random truth."""
    rng = np.random.default_rng(seed)
    truths = truths if truths is not None else [names[i] for i in rng.integers(0, len(names), n)]
    samples = tuple(Sample(Path(f"pics/{i:04}.jpg"), f"pics/{i:04}.jpg", (t,)) for i, t in enumerate(truths))
    logits = rng.normal(size=(len(truths), len(names))).astype(np.float32)
    for i, truth in enumerate(truths):
        if truth in names:
            logits[i, names.index(truth)] += skill
    facts = TaskFacts(names, coarse or {})
    outputs = {"logits": logits}
    task = get_task("classify")
    predictions = tuple(task.predict([s.name for s in samples], outputs, facts))
    scores = task.score(samples, outputs, facts)
    return Evaluation(split, f"the {split} part recorded at training", scores, samples, outputs, predictions, skipped)


def make_facts(names: tuple[str, ...], evaluations: tuple[Evaluation, ...] = ()) -> dict[str, Any]:
    """A bundle's facts as training writes them."""
    counts = {"train": 10 * len(names), "val": 3 * len(names), "test": 4 * len(names)}
    return {
        "format": 1,
        "task": "classify",
        "classes": list(names),
        "coarse": None,
        "preprocess": {"size_wh": [224, 224], "fit": "squash", "resample": "bilinear"},
        "precision": "bf16",
        "input": {"pictures": ["N", 224, 224, 3]},
        "outputs": {"logits": ["N", len(names)], "attention": ["N", 1, 7, 7]},
        "backbone": {"name": "tf_efficientnet_lite0", "parameters": 4_652_008, "weights": "embedded"},
        "recipe": {"data": {"test": "auto"}, "train": {"lr": 0.003, "stages": [{"epochs": 4}], "mixup": True}},
        "scores": {e.split: e.scores for e in evaluations},
        "calibration": {"temperature": 1.2345},
        "thresholds": {"unsure_below": 0.5},
        "data": {
            "source": "/home/somebody/secret/birds",
            "fingerprint": "ab" * 32,
            "split": {"seed": 0, "val": 0.15, "test": 0.15},
            "parts": {k: {"n": v, "fingerprint": f"{k}{'0' * 60}"} for k, v in counts.items()},
            "skipped": 2,
        },
        "parity": {"max_difference": 0.0003},
        "versions": {"fieldmark": "0.1.0", "numpy": "2.2.0"},
    }


@pytest.fixture
def evaluation_of() -> Callable[..., Evaluation]:
    return make_evaluation


@pytest.fixture
def facts_of() -> Callable[..., dict[str, Any]]:
    return make_facts


@pytest.fixture
def hostile() -> tuple[str, ...]:
    return HOSTILE
