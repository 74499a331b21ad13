"""Is the automatic learning rate a good one? A short tail at shares and multiples of it: validation and test.

python -m bench.rates [DATA:BACKBONE ...]     DATA: grocery, magnetic-tile, field-guide
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import budget, results
from fieldmark.workshop.recipe import Recipe
from fieldmark.workshop.train.optim import automatic_rate

CASES = (
    "grocery:tf_efficientnet_lite0",
    "magnetic-tile:tf_efficientnet_lite0",
    "field-guide:tf_efficientnet_lite0",
    "magnetic-tile:tf_efficientnet_lite2",
    "field-guide:tf_efficientnet_lite2",
)
MULTIPLES = (0.1, 0.3, 1.0, 3.0)
EPOCHS = {"grocery": 3, "magnetic-tile": 10, "field-guide": 10}


def run(case: str, multiple: float, cache: str) -> dict[str, Any]:
    """One training of the tail after `blocks.4.2`; cached features serve all rates."""
    name, backbone = case.split(":")
    rate = multiple * automatic_rate("adamw", Recipe().tune.batch)
    tune = ("tune.cut=blocks.4.2", "tune.views=3", f"tune.epochs={EPOCHS[name]}", "tune.patience=0")
    with tempfile.TemporaryDirectory() as place:
        out, settings = Path(place) / "run", (f"optim.rate={rate}", *tune)
        scores = budget.train(budget.SETS[name](), out, cache, "--backbone", backbone, settings=settings)
        log = (out / "log.jsonl").read_text(encoding="utf-8").splitlines()
    checks = [event for event in map(json.loads, log) if event["event"] == "check"]
    best = max(checks, key=lambda event: event["score"])
    return {"rate": rate, "tuned_val_nll": -best["score"], "test": scores["test"]["accuracy"]}


def main(cases: list[str]) -> None:
    for case in cases or CASES:
        with tempfile.TemporaryDirectory() as cache:
            results.keep("rates", case, {str(multiple): run(case, multiple, cache) for multiple in MULTIPLES})


if __name__ == "__main__":
    main(sys.argv[1:])
