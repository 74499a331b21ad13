"""The demo: the field guide drawn, learned, scored and explained."""

import os
import shutil
import sys
from pathlib import Path

from fieldmark.data import open_data, split
from fieldmark.data.split import SplitRule
from fieldmark.data.synthetic import plate
from fieldmark.errors import UsageError
from fieldmark.field.explain import Question
from fieldmark.field.explain.draw import explain_files
from fieldmark.field.runtime import load
from fieldmark.files import atomic_folder
from fieldmark.progress import SENTENCE
from fieldmark.workshop.train import train
from fieldmark.workshop.train.journal import Progress

BUDGET = "2m"


def _command() -> str:
    """The command as this shell finds it: by name where it is on the path, else by its place."""
    beside = Path(sys.executable).with_name("fieldmark")
    return "fieldmark" if shutil.which("fieldmark") or not beside.exists() else os.path.relpath(beside)


def run_demo(out: Path, progress: Progress) -> list[str]:
    """Train on the embedded field guide below `out`, which must be new; the lines that say what came of it."""
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} exists; choose another --out, or delete it")
    try:
        result = train("field-guide", out / "run", budget=BUDGET, progress=progress)
    except UsageError as error:  # too slow a machine for that: the linear stage alone
        progress(str(error), SENTENCE, SENTENCE)
        result = train("field-guide", out / "run", recipe="quick", progress=progress)
    plate(out / "field-guide.png")
    index = split(open_data("field-guide"), SplitRule())
    some = {s.label: s for s in index.part("test")}.values()  # one of each species
    with atomic_folder(out / "explained") as partial:
        drawn = explain_files(load(result.bundle), (s.path for s in some), partial, Question())
        for done, _ in enumerate(drawn, start=1):
            progress("explanations", done, len(some))
    scores = result.scores["test"]
    low, high = scores["accuracy_ci"]
    return [
        f"Of {scores['n']} pictures it never saw, {scores['accuracy']:.1%} are named right "
        f"(95 % interval {low:.1%} to {high:.1%}); chance is {1 / len(scores['per_class']):.0%}.",
        f"the birds and their field marks  {out / 'field-guide.png'}",
        f"where it looked                  {out / 'explained'}",
        f"report                           {result.run / 'report.html'}",
        f"try it                           {_command()} predict {result.run} PICTURE",
    ]
