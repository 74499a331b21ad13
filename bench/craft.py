"""Fine-grained craft, trial by trial: one training of a fixed number of epochs for each, so that nothing depends on how
quick the machine is. On the field guide, 1,000 other test pictures than its own are scored, and pointed at its own.

python -m bench.craft DATA:SEED[:SETTING+SETTING...] ...          DATA: grocery, magnetic-tile, field-guide

A setting is one of `--set`, or recipe=NAME, which then trains as it does by itself. One "trial=NAME" or
"trial=NAME@TEACHER" is one of `bench.trials`, TEACHER the case of an earlier training, or the folder of a run.
"""

import csv
import shutil
import sys
from pathlib import Path
from typing import Any

from bench import budget, results

OUT = Path(__file__).parent / "out" / "craft"
BASE = {
    "grocery": ("tune.cut=blocks.4.2", "tune.epochs=5", "tune.views=3", "augment.size=0.78"),
    "magnetic-tile": ("tune.cut=blocks.4.2", "tune.epochs=20", "tune.views=10", "augment.size=1"),
    "field-guide": ("tune.cut=blocks.3.2", "tune.epochs=30", "tune.views=15", "augment.size=1"),
}
KEYS = ("n", "accuracy", "accuracy_ci", "coarse_accuracy", "coarse_accuracy_ci", "nll")


def other_birds() -> str:
    """The field guide with 100 other test pictures of each species."""
    place = OUT / "field-guide"
    table = place / "others.csv"
    if not table.exists():
        from fieldmark.data.synthetic.guide import render_field_guide

        render_field_guide(place, per_class=(60, 15, 125))
        with (place / "labels.csv").open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        own = {f"{number:03d}" for number in range(25)}
        with table.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0])
            writer.writeheader()
            writer.writerows(r for r in rows if r["split"] != "test" or Path(r["path"]).stem[-3:] not in own)
    return str(table)


def pointing(run: Path) -> dict[str, Any] | None:
    from fieldmark import load
    from fieldmark.data import open_data
    from fieldmark.field.explain.faithfulness import pointing_game

    return pointing_game(load(run), open_data("field-guide").part("test"))


def folder(case: str) -> Path:
    return OUT / budget.folder_name(case)


def changed(trial: str, data: str, place: Path, seed: str, settings: tuple[str, ...]) -> dict[str, Any]:
    """The scores of a training that a trial changes, by part; views that it changes are kept apart from others."""
    name, _, teacher = trial.partition("@")
    taught = [str(Path(teacher) if Path(teacher).is_dir() else folder(teacher))] if teacher else []
    words = [name, *taught, "--", data, str(place), seed, *settings]
    cache = f"cache-{budget.folder_name(trial)}" if name.startswith("guided") else "cache"
    command = [sys.executable, "-m", "bench.trials", *words]
    scores: dict[str, Any] = budget.answer(command, FIELDMARK_CACHE=str(OUT / cache))["scores"]
    return scores


def run(case: str) -> dict[str, Any]:
    """One training; cached features serve all cases."""
    (name, seed), words = budget.parts(case, 2)
    trial = next((word.removeprefix("trial=") for word in words if word.startswith("trial=")), "")
    named, others = budget.recipe_of(word for word in words if not word.startswith("trial="))
    settings = others if named else ("tune.patience=0", *BASE[name], *others)
    data, place = other_birds() if name == "field-guide" else budget.SETS[name](), folder(case)
    shutil.rmtree(place, ignore_errors=True)
    if trial:
        scores = changed(trial, data, place, seed, settings)
    else:
        scores = budget.train(data, place, str(OUT / "cache"), "--seed", seed, *named, settings=settings)
    found = {"settings": words, **{key: scores["test"][key] for key in KEYS if key in scores["test"]}}
    found["val_accuracy"] = scores["val"]["accuracy"]
    if name == "field-guide":
        found["pointing"] = pointing(place)
    return found


def main(cases: list[str]) -> None:
    for case in cases:
        results.keep("craft", case, run(case))


if __name__ == "__main__":
    main(sys.argv[1:])
