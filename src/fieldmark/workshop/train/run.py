"""One training from DATA to RUN: check, split, learn, export, score, report."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldmark.data import SplitRule, open_data, split
from fieldmark.field.runtime import Evaluation
from fieldmark.field.tasks import get_task
from fieldmark.files import atomic_folder, is_file
from fieldmark.workshop.learn import make_learner
from fieldmark.workshop.recipe.tasks import for_task, task_of
from fieldmark.workshop.train import sequence
from fieldmark.workshop.train.cache import check_writable
from fieldmark.workshop.train.device import choose_device
from fieldmark.workshop.train.finish import write_bundle
from fieldmark.workshop.train.job import (
    Job,
    aspect_of,
    check_place,
    hold_run,
    make_network,
    open_run,
    recorded_recipe,
    resolve_recipe,
)
from fieldmark.workshop.train.journal import Progress, silent
from fieldmark.workshop.train.plan import seconds_of
from fieldmark.workshop.train.small import settle, side_of
from fieldmark.workshop.train.stages import Stages


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
    run = Path(out)
    if sequence.asked(task, data, run, recipe, resume):
        wish = sequence.Wish(
            data, run, backbone, head, recipe, settings, device, seed, budget_s, resume, begun, progress
        )
        read, skipped = sequence.train_sequence(wish)
        scores = {e.split: e.scores for e in read}
        return Result(run, run / "bundle", sequence.TASK, time.monotonic() - begun, skipped, scores)
    if resume and not (recipe or settings or backbone or head or seed is not None) and is_file(run / "recipe.json"):
        chosen = recorded_recipe(run)
    else:
        asked = recorded_recipe(run).task if resume and task == "auto" and is_file(run / "recipe.json") else task
        chosen = resolve_recipe(recipe, settings, asked, backbone, head, seed)
    target = choose_device(device)
    check_place(run, chosen, resume)
    check_writable()
    index = open_data(data, progress)
    if chosen.task == "auto":
        chosen = resolve_recipe(recipe, settings, task_of(index), backbone, head, seed)
    chosen = for_task(chosen, chosen.task)
    index = get_task(chosen.task).select(index)
    index = split(index, SplitRule(chosen.seed, chosen.data.val, chosen.data.test))
    learner = make_learner(index, chosen)
    progress("network", 0, 0)
    network, preprocess = make_network(chosen, learner, aspect_of(index.part("train"), chosen), side_of(index.samples))
    with hold_run(run):
        check_place(run, chosen, resume)  # again, now that nobody else can write there
        journal = open_run(run, chosen, index, progress, begun)
        for note in learner.notes:
            journal.say(note)
        if network.backbone.form:
            journal.say(f"form of {network.backbone.name} for {preprocess.size_wh[0]} px: {network.backbone.form}")
        settled = settle(chosen, max(preprocess.size_wh), len(index.part("train")))
        job = Job(settled, index, learner, network, preprocess, target, run, journal, begun, budget_s)
        evaluations, skipped = _work(job)
        seconds = time.monotonic() - begun
        scores = {e.split: e.scores for e in evaluations}
        for found in evaluations:
            numbers = {k: float(v) for k, v in found.scores.items() if isinstance(v, (int, float))}
            journal.measure("scores", found.split, 0, **numbers)
        journal.close()
        headline = get_task(chosen.task).headline
        journal.write("end", took=round(seconds, 2), scores={k: v.get(headline) for k, v in scores.items()})
    return Result(run, run / "bundle", chosen.task, seconds, skipped, scores)


def _work(job: Job) -> tuple[list[Evaluation], int]:
    """Learn, export, score and report; the evaluations of val and test, and how many pictures were left out."""
    stages = Stages(job)
    learned = stages.run()
    job = stages.job  # with what its plan decided
    with atomic_folder(job.run / "bundle") as partial:
        evaluations = write_bundle(job, partial, learned)
    for left in job.run.glob("checkpoint-*.safetensors"):
        left.unlink()
    scored = sum(len(e.samples) for e in evaluations if e.split == "test")
    untested = len(job.index.part("test")) - scored
    return evaluations, len(job.index.skipped) + len(learned.skipped) + untested
