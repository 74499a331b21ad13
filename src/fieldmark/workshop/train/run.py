"""One training from DATA to RUN: check, split, learn, export, score, report."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldmark.data import SplitRule, open_data, split
from fieldmark.field.runtime import Evaluation
from fieldmark.field.tasks import get_task
from fieldmark.files import atomic_folder
from fieldmark.workshop.learn import make_learner
from fieldmark.workshop.recipe import Recipe
from fieldmark.workshop.recipe.tasks import for_task, task_of
from fieldmark.workshop.train import sequence
from fieldmark.workshop.train.cache import check_writable
from fieldmark.workshop.train.device import choose_device
from fieldmark.workshop.train.finish import report_run, write_bundle
from fieldmark.workshop.train.job import (
    Job,
    aspect_of,
    check_place,
    end_run,
    hold_run,
    make_network,
    open_run,
)
from fieldmark.workshop.train.journal import Progress, silent
from fieldmark.workshop.train.plan import seconds_of
from fieldmark.workshop.train.small import settle, side_of
from fieldmark.workshop.train.stages import Stages
from fieldmark.workshop.train.wish import Wish, recorded_recipe, resolve_recipe


@dataclass(frozen=True)
class Result:
    """What a training gives: its folder, its bundle, and the scores of each part with `evaluate`'s keys."""

    run: Path
    bundle: Path
    task: str
    seconds: float
    skipped: int
    scores: dict[str, dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        return {
            "run": str(self.run),
            "bundle": str(self.bundle),
            "task": self.task,
            "seconds": round(self.seconds, 2),
            "skipped": self.skipped,
            "scores": self.scores,
        }


def train(
    data: str | Path,
    out: str | Path,
    *,
    task: str = "auto",
    backbone: str | None = None,
    head: str | None = None,
    recipe: str | None = None,
    settings: Sequence[str] = (),
    device: str = "auto",
    seed: int | None = None,
    budget: str | float | None = None,
    resume: bool = False,
    begun: float | None = None,
    progress: Progress = silent,
) -> Result:
    """Learn what DATA tells of its pictures, or what comes next in it (the task `sequence`); the bundle is in
    `out`/bundle.

    `settings` are `key=value` on top of the recipe. `budget` is a time ("90s", "5m", "2h", or seconds) at whose end
    the best bundle that it allows is on disk; its clock begins now, or at `begun` of time.monotonic().

    Raises FieldmarkError, before anything is written, when DATA, the recipe or the place cannot be used; an existing
    `out` is only continued with `resume`.
    """
    begun = time.monotonic() if begun is None else begun
    budget_s = None if budget is None else seconds_of(budget)
    wish = Wish(
        data, Path(out), task, backbone, head, recipe, settings, device, seed, budget_s, resume, begun, progress
    )
    if sequence.asked(wish):
        task = sequence.TASK
        evaluations, skipped = sequence.train_sequence(wish)
    else:
        task, evaluations, skipped = _train_pictures(wish)
    scores = {e.split: e.scores for e in evaluations}
    return Result(wish.run, wish.run / "bundle", task, time.monotonic() - begun, skipped, scores)


def _train_pictures(wish: Wish) -> tuple[str, list[Evaluation], int]:
    """Learn from pictures: the task, the evaluations of val and test, and how many pictures were left out."""
    run, progress = wish.run, wish.progress
    recipe, target = _recipe(wish), choose_device(wish.device)
    check_place(run, recipe, wish.resume)
    check_writable()
    index = open_data(wish.data, progress)
    if recipe.task == "auto":
        recipe = resolve_recipe(wish, task_of(index))
    recipe = for_task(recipe, recipe.task)
    task = get_task(recipe.task)
    index = split(task.select(index), SplitRule(recipe.seed, recipe.data.val, recipe.data.test))
    learner = make_learner(index, recipe)
    progress("network", 0, 0)
    network, preprocess = make_network(recipe, learner, aspect_of(index.part("train"), recipe), side_of(index.samples))
    with hold_run(run):
        check_place(run, recipe, wish.resume)  # again, now that nobody else can write there
        journal = open_run(run, recipe, index, progress, wish.begun)
        for note in learner.notes:
            journal.say(note)
        if network.backbone.form:
            journal.say(f"form of {network.backbone.name} for {preprocess.size_wh[0]} px: {network.backbone.form}")
        settled = settle(recipe, max(preprocess.size_wh), len(index.part("train")))
        job = Job(settled, index, learner, network, preprocess, target, run, journal, wish.begun, wish.budget_s)
        evaluations, skipped = _work(job)
        end_run(journal, wish.begun, evaluations, task.headline)
    return recipe.task, evaluations, skipped


def _recipe(wish: Wish) -> Recipe:
    """The recipe that was asked for, or that of the run to go on with; its task may be "auto"."""
    if not wish.goes_on:
        return resolve_recipe(wish, wish.task)
    recorded = recorded_recipe(wish.run)
    return recorded if wish.as_begun else resolve_recipe(wish, recorded.task if wish.task == "auto" else wish.task)


def _work(job: Job) -> tuple[list[Evaluation], int]:
    """Learn, export, score and report; the evaluations of val and test, and how many pictures were left out."""
    stages = Stages(job)
    learned = stages.run()
    job = stages.job  # with what its plan decided
    with atomic_folder(job.run / "bundle") as partial:
        finished = write_bundle(job, partial, learned)
    with job.journal.step("report"):
        report_run(job, finished, learned)
    for left in job.run.glob("checkpoint-*.safetensors"):
        left.unlink()
    scored = sum(len(e.samples) for e in finished.evaluations if e.split == "test")
    untested = len(job.index.part("test")) - scored
    return finished.evaluations, len(job.index.skipped) + len(learned.skipped) + untested
