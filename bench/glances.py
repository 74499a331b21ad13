"""What a second glance gives and costs, and what maps are worth, on test pictures of runs that are there.

python -m bench.glances DATA RUN ...      DATA: grocery, magnetic-tile, field-guide; RUN: a folder of `fieldmark train`

Both ways of a run take turns on the same pictures, warm. Of the field guide 1,000 other test pictures are used.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench import budget, craft, results

KEYS = ("n", "accuracy", "accuracy_ci", "coarse_accuracy", "coarse_accuracy_ci", "nll", "ece")
WORDS = {"one": 1, "two": 2}
TIMED, ROUNDS = 400, 3
CHECKED = 128  # pictures for deletion and insertion


def measure(name: str, run: Path) -> dict[str, Any]:
    """Scores with one and two glances, their paired difference in accuracy, what two cost, and the maps."""
    from fieldmark import load
    from fieldmark.data import open_data
    from fieldmark.data.synthetic import telling_boxes
    from fieldmark.field.evaluate.intervals import paired_interval
    from fieldmark.field.explain import check_maps
    from fieldmark.field.runtime.evaluation import score_samples

    data = craft.other_birds() if name == "field-guide" else budget.SETS[name]()
    samples = open_data(data).part("test")
    if name == "field-guide":
        marks = telling_boxes(Path(data).parent)
        samples = tuple(replace(s, boxes=marks[s.name]) for s in samples)
    ways = {count: load(run, glances=count) for count in (1, 2)}
    scored = {count: score_samples(way, samples, "test", "") for count, way in ways.items()}
    each = {n: [p.label == s.label for p, s in zip(e.predictions, e.samples, strict=True)] for n, e in scored.items()}
    assert scored[1].samples == scored[2].samples
    paths = [s.path for s in samples[:: max(1, len(samples) // TIMED)]]
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(ROUNDS):
        for count, way in ways.items():
            begun = time.perf_counter()
            list(way.predict(paths))
            seconds[count].append(time.perf_counter() - begun)
    return {
        "settled_for_two": bool(ways[2].glances.settled),
        **{word: {k: scored[n].scores[k] for k in KEYS if k in scored[n].scores} for word, n in WORDS.items()},
        "gain_ci": paired_interval(each[2], each[1]),
        "cost": float(np.median(np.divide(seconds[2], seconds[1]))),
        "maps": _brief(check_maps(ways[1], samples, CHECKED)),
    }


def _brief(maps: dict[str, Any] | None) -> dict[str, Any] | None:
    """Without the curves."""
    for game in ("deletion", "insertion"):
        (maps or {}).get("faithfulness", {}).get(game, {}).pop("curves", None)
    return maps


def main(name: str, runs: list[str]) -> None:
    for run in runs:
        results.keep("glances", f"{name} {Path(run).name}", measure(name, Path(run)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
