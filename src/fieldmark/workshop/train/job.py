"""How a training begins: recipe, task, network and place are checked before anything is written."""

import contextlib
import csv
import io
import json
import shutil
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from fieldmark.data import Index, Skipped
from fieldmark.data.frame import read_frame
from fieldmark.errors import PictureError, UsageError
from fieldmark.field.runtime import Evaluation
from fieldmark.files import PARTIAL, available_memory, is_file, write_text
from fieldmark.printing import visible
from fieldmark.types import Preprocess, Sample
from fieldmark.workshop.learn import Learner
from fieldmark.workshop.models import BaseNetwork, create_backbone
from fieldmark.workshop.recipe import LOCATED, AugmentRecipe, Recipe, flat
from fieldmark.workshop.recipe.tasks import for_task
from fieldmark.workshop.train.augment import PLAIN, SIDE_STEP, view_side
from fieldmark.workshop.train.journal import Journal, Progress
from fieldmark.workshop.train.trackers import open_trackers
from fieldmark.workshop.train.wish import recorded_recipe

LOCK = ".lock"
MOST_SAID = 20
MEASURED, WIDEST = 200, 2.0  # pictures whose shape is looked at, and the largest ratio of sides of an input
MOST_DIFFERENCES = 3
ENGINE_BYTES_A_PIXEL = 1_000  # of the input, with the pictures that are computed at a time


@dataclass(frozen=True)
class Job:
    """Everything that one training works with. `view_size`: what its plan decides where the recipe leaves that open."""

    recipe: Recipe
    index: Index
    learner: Learner
    network: BaseNetwork
    preprocess: Preprocess
    device: torch.device
    run: Path
    journal: Journal
    begun: float  # on the clock of time.monotonic()
    budget_s: float | None = None
    view_size: float = 1.0

    @property
    def classes(self) -> tuple[str, ...]:
        return self.learner.classes

    @property
    def augment(self) -> AugmentRecipe:
        """The recipe's, with the size of views that it leaves open."""
        recipe = self.recipe.augment
        return replace(recipe, size=recipe.size or self.view_size)

    def preprocess_of(self, view: int, views: int = 1) -> Preprocess:
        """How view number `view` of so many is made: the plain one as at prediction, later ones in later sizes."""
        return self.preprocess if view == PLAIN else self.preprocess_at((view - 1) / max(1, views - 2))

    def preprocess_at(self, done: float) -> Preprocess:
        """How views are made when so much of the training (0..1) is done."""
        if not self.scalable:
            return self.preprocess
        width, height = (view_side(side, self.augment, min(1.0, done)) for side in self.preprocess.size_wh)
        return replace(self.preprocess, size_wh=(width, height))

    @cached_property
    def scalable(self) -> bool:
        """Whether the network takes views of other sizes."""
        backbone = self.network.backbone
        sides = {view_side(backbone.size, self.augment, done) for done in (0.0, 1.0)} - {backbone.size}
        return all(backbone.takes(side) for side in sides)

    def elapsed(self) -> float:
        """Seconds since the budget's clock began."""
        return time.monotonic() - self.begun


def check_place(run: Path, recipe: Recipe, resume: bool) -> None:
    if not run.exists():
        return
    if not run.is_dir():
        raise UsageError(f"{run} is a file; give a folder that does not exist yet")
    if all(path.name == LOCK for path in run.iterdir()):
        return
    if not resume:
        raise UsageError(f"{run} exists; choose another --out, or add --resume to go on with it")
    if (run / "bundle").exists():
        raise UsageError(f"{run} is finished: its bundle is {run / 'bundle'}")
    if not (run / "recipe.json").is_file():
        raise UsageError(f"{run} is no run of Fieldmark; choose another --out")
    begun = recorded_recipe(run)
    recipe = for_task(recipe, begun.task if recipe.task == "auto" else recipe.task)
    if begun != recipe:
        raise UsageError(
            f"{run} was begun with another recipe ({_differences(begun, recipe)}); give --resume without other options "
            "to go on with it, or choose another --out"
        )


def _differences(begun: Recipe, asked: Recipe) -> str:
    """The first values that differ, in words."""
    a, b = flat(begun), flat(asked)
    found = [f"{key} was {_said(a[key])}, not {_said(b[key])}" for key in a if a[key] != b[key]]
    return "; ".join(found[:MOST_DIFFERENCES]) + ("; ..." if len(found) > MOST_DIFFERENCES else "")


def _said(value: Any) -> str:
    return ",".join(str(v) for v in value) if isinstance(value, tuple) else str(value)


def recipe_text(recipe: Recipe) -> str:
    return json.dumps(recipe.to_json(), indent=2) + "\n"


def make_network(
    recipe: Recipe, learner: Learner, aspect: float = 1.0, pictures: int = 0
) -> tuple[BaseNetwork, Preprocess]:
    """The untrained network, and how pictures, of sides of `pictures` pixels where that is known, become its input: of
    the backbone's size, in a shape of this ratio of width to height."""
    _check_memory(recipe.picture.size)
    torch.manual_seed(recipe.seed)
    backbone = create_backbone(recipe.model.backbone, recipe.model.weights, recipe.picture.size, pictures)
    network = learner.network(backbone).eval().requires_grad_(False)
    size_wh = (backbone.size, backbone.size)
    if aspect != 1:
        width, height = (max(1, round(backbone.size * f / SIDE_STEP)) for f in (aspect**0.5, aspect**-0.5))
        size_wh = SIDE_STEP * width, SIDE_STEP * height
    picture = recipe.picture
    return network, Preprocess(size_wh, picture.fit, picture.resample, picture.tile)


def aspect_of(samples: Sequence[Sample], recipe: Recipe) -> float:
    """The ratio of width to height that an input should have: where pictures are padded, that of most of them, so that
    little of it is grey."""
    if recipe.task not in LOCATED or recipe.picture.fit != "pad" or recipe.picture.tile:
        return 1.0
    ratios = []
    for sample in samples[:: max(1, len(samples) // MEASURED)]:
        with contextlib.suppress(PictureError):  # reported where it is used for training
            width, height = read_frame(sample.path).size_wh
            ratios.append(width / height)
    return min(WIDEST, max(1 / WIDEST, statistics.median(ratios))) if ratios else 1.0


def _check_memory(size: int) -> None:
    """UsageError when the engine would not have the memory for pictures of this size."""
    needed, free = ENGINE_BYTES_A_PIXEL * size * size, available_memory()
    if needed > free:
        raise UsageError(
            f"pictures of {size} px need about {needed / 1e9:.0f} GB of memory, and {free / 1e9:.0f} GB are free; set "
            "picture.size lower"
        )


@contextlib.contextmanager
def hold_run(run: Path) -> Iterator[None]:
    """Make the run's folder and keep other trainings out of it; a new folder goes again when the training cannot be
    done as asked, unless something was learned already."""
    from filelock import FileLock, Timeout

    new = not run.exists()
    try:
        run.mkdir(parents=True, exist_ok=True)
        lock = FileLock(run / LOCK, blocking=False)
        lock.acquire()
    except Timeout:
        raise UsageError(f"{run} is in use by another training; choose another --out") from None
    except OSError as error:
        raise UsageError(f"cannot make {run}: {error.strerror}; choose another --out") from error
    try:
        yield
    except Exception:
        if new and not any(run.glob("checkpoint-*")) and not (run / "bundle").exists():
            shutil.rmtree(run, ignore_errors=True)
        raise
    finally:
        (run / LOCK).unlink(missing_ok=True)
        lock.release()


def open_run(run: Path, recipe: Recipe, index: Index, progress: Progress, begun: float) -> Journal:
    """Write down what the run is, and open its journal. UsageError when it was begun with other data."""
    _check_same_split(run, _split_text(index))
    write_text(run / "recipe.json", recipe_text(recipe))
    clear_partial(run)
    write_text(run / "split.csv", _split_text(index))
    journal = Journal(run / "log.jsonl", progress, begun, open_trackers(recipe.log, run, flat(recipe)))
    journal.write("begin", recipe=recipe.to_json(), splits=dict(index.splits), skipped=len(index.skipped))
    say_skipped(journal, index.skipped)
    if index.notes:
        journal.write("annotations", notes=[[note.name, note.text] for note in index.notes])
    for note in index.notes[:MOST_SAID]:
        journal.say(visible(f"{note.name}: {note.text}"))
    if len(index.notes) > MOST_SAID:
        journal.say(f"{len(index.notes) - MOST_SAID:,} more notes on annotations; log.jsonl has them")
    return journal


def end_run(journal: Journal, begun: float, evaluations: Sequence[Evaluation], headline: str) -> None:
    """Write down the scores, and that the run is finished."""
    for found in evaluations:
        numbers = {k: float(v) for k, v in found.scores.items() if isinstance(v, (int, float))}
        journal.measure("scores", found.split, 0, **numbers)
    journal.close()
    scores = {found.split: found.scores.get(headline) for found in evaluations}
    journal.write("end", took=round(time.monotonic() - begun, 2), scores=scores)


def clear_partial(run: Path) -> None:
    """Remove what a run that was killed while it wrote has left."""
    for left in run.glob(f".*{PARTIAL}*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def say_skipped(journal: Journal, skipped: Sequence[Skipped]) -> None:
    """The first of what was left out, and how many more."""
    for skip in skipped[:MOST_SAID]:
        journal.say(visible(f"left out {skip.name}: {skip.reason}"))
    if len(skipped) > MOST_SAID:
        journal.say(f"left out {len(skipped) - MOST_SAID:,} more; the report lists all")


def _split_text(index: Index) -> str:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(("path", index.kind, "split"))
    table.writerows((s.name, s.truth, s.split) for s in index.samples)
    return out.getvalue()


def _check_same_split(run: Path, text: str) -> None:
    """UsageError when a run to go on with was begun on other data."""
    there = run / "split.csv"
    if is_file(there) and there.read_bytes() != text.encode("utf-8", "backslashreplace"):
        raise UsageError(f"{run} was begun with other data; give the same DATA, or choose another --out")
