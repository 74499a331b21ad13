"""`fieldmark train DATA --budget TIME` as a user runs it: a fresh process, an empty cache, wall-clock to the end of the
process. Each figure is kept as it comes; those of `bench.time_to_accuracy` are measured by it too.

python -m bench.budget [DATA:BUDGET:SEED[:SETTING+SETTING...] ...]     (without words: the whole table, seventy minutes)

A setting is one of `--set`, or recipe=NAME.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench import data, results

OUT = Path(__file__).parent / "out" / "budget"
SETS = {
    "grocery": lambda: str(data.folder("grocery") / "labels.csv"),
    "magnetic-tile": lambda: str(data.folder("magnetic_tile") / "labels.csv"),
    "field-guide": lambda: "field-guide",
}
KEPT = [
    *(f"field-guide:{budget}:0" for budget in ("1m", "2m", "5m")),
    *(f"field-guide:10m:{seed}" for seed in range(2)),
    "grocery:10m:0:model.backbone=tf_efficientnet_lite2",
    "grocery:30m:0",
]


def train(data: str, out: Path, cache: str, *words: str, settings: Iterable[str] = ()) -> dict[str, Any]:
    """The scores of `fieldmark train` in a process of its own, by part."""
    command = [sys.executable, "-m", "fieldmark", "train", data, "--out", str(out), "--json", *words]
    for setting in settings:
        command += ["--set", setting]
    scores: dict[str, Any] = answer(command, FIELDMARK_CACHE=cache)["scores"]
    return scores


def answer(command: list[str], **variables: str) -> Any:
    """What a process prints last, as JSON; the end of its errors, and the end, where it fails."""
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def parts(case: str, count: int) -> tuple[list[str], list[str]]:
    """The first words of a case, `count` of them, and its settings."""
    words = case.split(":", count)
    return words[:count], [setting for more in words[count:] for setting in more.split("+")]


def recipe_of(given: Iterable[str]) -> tuple[list[str], list[str]]:
    """What of a case's settings names a recipe, as words of a command, and the others."""
    settings = list(given)
    named = [word for s in settings if s.startswith("recipe=") for word in ("--recipe", s.removeprefix("recipe="))]
    return named, [s for s in settings if not s.startswith("recipe=")]


def folder_name(case: str) -> str:
    return re.sub(r"[^\w.=-]+", "-", case)


def run(case: str) -> dict[str, Any]:
    """One training from an empty cache."""
    (name, budget, seed), settings = parts(case, 3)
    named, settings = recipe_of(settings)
    place = OUT / folder_name(case)
    shutil.rmtree(place, ignore_errors=True)
    with tempfile.TemporaryDirectory() as cache:
        begun = time.perf_counter()
        scores = train(SETS[name](), place, cache, "--budget", budget, "--seed", seed, *named, settings=settings)
        seconds = time.perf_counter() - begun
    facts = json.loads((place / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    plan = json.loads((place / "plan.json").read_text(encoding="utf-8"))
    keys = ("n", "accuracy", "accuracy_ci", "coarse_accuracy", "coarse_accuracy_ci", "macro_f1", "ece", "nll")
    return {
        "seconds": round(seconds, 1),
        "overrun": round(seconds / plan["budget_s"] - 1, 4),
        **{key: scores["test"][key] for key in keys if key in scores["test"]},
        "val_accuracy": scores["val"]["accuracy"],
        "comparison": facts.get("comparison"),
        "stages": [
            {k: s[k] for k in ("name", "cut", "views", "steps", "stopped")} for s in facts.get("learning") or ()
        ],
    }


def main(cases: list[str]) -> None:
    for case in cases or KEPT:
        results.keep("budget", case, run(case))


if __name__ == "__main__":
    main(sys.argv[1:])
