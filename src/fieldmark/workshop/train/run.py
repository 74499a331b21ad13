"""One training from DATA to RUN: check, split, learn, export, score, report."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldmark.data import SplitRule, open_data, split
from fieldmark.field.runtime import Engine, Evaluation, compile_engine
from fieldmark.files import atomic_folder
from fieldmark.workshop.export import export_onnx
from fieldmark.workshop.learn.classify import check_classes
from fieldmark.workshop.train import probe
from fieldmark.workshop.train.device import TorchEngine, choose_device
from fieldmark.workshop.train.finish import head_facts, put_head, write_bundle
from fieldmark.workshop.train.job import Job, check_place, check_task, make_network, open_run, resolve_recipe
from fieldmark.workshop.train.journal import Progress, silent


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
    recipe: str | None = None,
    settings: Sequence[str] = (),
    device: str = "auto",
    seed: int | None = None,
    resume: bool = False,
    progress: Progress = silent,
) -> Result:
    """Learn to recognise the classes of DATA; the bundle is in `out`/bundle.

    `settings` are `key=value` on top of the recipe. Raises FieldmarkError, before anything is written, when DATA, the
    recipe or the place cannot be used; an existing `out` is only continued with `resume`.
    """
    begun = time.monotonic()
    chosen = resolve_recipe(recipe, settings, task, backbone, seed)
    target = choose_device(device)
    run = Path(out)
    check_place(run, chosen, resume)
    index = open_data(data, progress)
    check_task(index)
    index = split(index, SplitRule(chosen.seed, chosen.data.val, chosen.data.test))
    classes = check_classes(index)
    progress("network", 0, 0)
    network, preprocess = make_network(chosen, len(classes))
    journal = open_run(run, chosen, index, progress)
    job = Job(chosen, index, classes, network, preprocess, target, run, journal)
    evaluations, skipped = _work(job)
    seconds = time.monotonic() - begun
    scores = {e.split: e.scores for e in evaluations}
    journal.write("end", seconds=round(seconds, 2), scores={k: v.get("accuracy") for k, v in scores.items()})
    return Result(run, run / "bundle", "classify", seconds, skipped, scores)


def _work(job: Job) -> tuple[list[Evaluation], int]:
    """Learn, export, score and report; the evaluations of val and test, and how many pictures were left out."""
    with job.journal.step("network to ONNX"):
        onnx = export_onnx(job.network, job.preprocess.size_wh)
        engine = _extractor(job, onnx)
    learn_from = [s for s in job.index.samples if s.split != "test"]
    fitted = probe.fit(learn_from, job.classes, job.network, engine, job.preprocess, job.recipe, job.journal)
    job.journal.write("head", **head_facts(fitted))
    onnx = put_head(job.network, onnx, fitted)
    with atomic_folder(job.run / "bundle") as partial:
        evaluations = write_bundle(job, partial, onnx, fitted)
    scored = sum(len(e.samples) for e in evaluations if e.split == "test")
    untested = len(job.index.part("test")) - scored
    return evaluations, len(job.index.skipped) + len(fitted.skipped) + untested


def _extractor(job: Job, onnx: bytes) -> Engine:
    if job.device.type == "cuda":
        return TorchEngine(job.network, job.device)
    return compile_engine(onnx, job.recipe.bundle.precision)
