"""One training from DATA to RUN: check, split, learn, export, score, report."""

import csv
import io
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from fieldmark import bundle as bundles
from fieldmark.data import Index, SplitRule, fingerprint, open_data, split
from fieldmark.errors import DataError, UsageError, unknown_name
from fieldmark.field.report import Shown, mistakes, model_card, write_report
from fieldmark.field.runtime import Engine, Evaluation, Recogniser, compile_engine, load
from fieldmark.field.runtime.evaluation import score_samples
from fieldmark.files import PARTIAL, atomic_folder, write_text
from fieldmark.types import Preprocess, Sample
from fieldmark.workshop.export import Parity, check_parity, export_onnx, set_weights
from fieldmark.workshop.export.pack import Calibration, output_shapes, versions, weights_bytes
from fieldmark.workshop.learn.classify import check_classes
from fieldmark.workshop.models import Network, create_backbone
from fieldmark.workshop.recipe import Recipe, check, load_recipe
from fieldmark.workshop.train import augment, probe
from fieldmark.workshop.train.device import TorchEngine, choose_device
from fieldmark.workshop.train.journal import Journal, Progress, silent

TASKS = ("auto", "classify")
PARITY_PICTURES = 128
GRID_PICTURES = 24


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


@dataclass(frozen=True)
class Job:
    """Everything that one training works with."""

    recipe: Recipe
    index: Index
    classes: tuple[str, ...]
    network: Network
    preprocess: Preprocess
    device: torch.device
    run: Path
    journal: Journal


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
    chosen = _recipe(recipe, settings, task, backbone, seed)
    target = choose_device(device)
    run = Path(out)
    _check_place(run, chosen, resume)
    index = open_data(data, progress)
    _check_task(index)
    index = split(index, SplitRule(chosen.seed, chosen.data.val, chosen.data.test))
    classes = check_classes(index)
    progress("network", 0, 0)
    network, preprocess = _network(chosen, len(classes))
    journal = _open_run(run, chosen, index, progress)
    job = Job(chosen, index, classes, network, preprocess, target, run, journal)
    evaluations, skipped = _work(job)
    seconds = time.monotonic() - begun
    scores = {e.split: e.scores for e in evaluations}
    journal.write("end", seconds=round(seconds, 2), scores={k: v.get("accuracy") for k, v in scores.items()})
    return Result(run, run / "bundle", "classify", seconds, skipped, scores)


def _recipe(name: str | None, settings: Sequence[str], task: str, backbone: str | None, seed: int | None) -> Recipe:
    if task not in TASKS:
        raise UsageError(unknown_name("task", task, TASKS))
    recipe = load_recipe(name, settings)
    if recipe.task not in TASKS:
        raise UsageError(unknown_name("task", recipe.task, TASKS))
    if backbone is not None:
        recipe = replace(recipe, model=replace(recipe.model, backbone=backbone))
    if seed is not None:
        recipe = replace(recipe, seed=seed)
    return check(replace(recipe, task="classify"))


def _check_place(run: Path, recipe: Recipe, resume: bool) -> None:
    if not run.exists():
        return
    if not run.is_dir():
        raise UsageError(f"{run} is a file; give a folder that does not exist yet")
    if not any(run.iterdir()):
        return
    if not resume:
        raise UsageError(f"{run} exists; choose another --out, or add --resume to go on with it")
    if (run / "bundle").exists():
        raise UsageError(f"{run} is finished: its bundle is {run / 'bundle'}")
    if not (run / "recipe.json").is_file():
        raise UsageError(f"{run} is no run of Fieldmark; choose another --out")
    if (run / "recipe.json").read_text(encoding="utf-8") != _recipe_text(recipe):
        raise UsageError(f"{run} was begun with another recipe; repeat its options, or choose another --out")


def _recipe_text(recipe: Recipe) -> str:
    import json

    return json.dumps(recipe.to_json(), indent=2) + "\n"


def _check_task(index: Index) -> None:
    several = next((s for s in index.samples if len(s.labels) != 1), None)
    if several is not None:
        raise UsageError(
            f"{several.name} has {len(several.labels)} labels; give a table whose column label holds one a picture"
        )


def _network(recipe: Recipe, n_classes: int) -> tuple[Network, Preprocess]:
    torch.manual_seed(recipe.seed)
    backbone = create_backbone(recipe.model.backbone, recipe.model.weights, recipe.picture.size)
    network = Network(backbone, n_classes).eval().requires_grad_(False)
    size = (backbone.size, backbone.size)
    return network, Preprocess(size, recipe.picture.fit, recipe.picture.resample)


def _open_run(run: Path, recipe: Recipe, index: Index, progress: Progress) -> Journal:
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make {run}: {error.strerror}; choose another --out") from error
    write_text(run / "recipe.json", _recipe_text(recipe))
    for left in run.glob(f".*{PARTIAL}*"):  # of a run that was killed while it wrote
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(("path", "label", "split"))
    table.writerows((s.name, s.label, s.split) for s in index.samples)
    write_text(run / "split.csv", out.getvalue())
    journal = Journal(run / "log.jsonl", progress)
    journal.write("begin", recipe=recipe.to_json(), splits=dict(index.splits), skipped=len(index.skipped))
    return journal


def _work(job: Job) -> tuple[list[Evaluation], int]:
    """Learn, export, score and report; the evaluations of val and test, and how many pictures were left out."""
    with job.journal.step("network to ONNX"):
        onnx = export_onnx(job.network, job.preprocess.size_wh)
        engine = _extractor(job, onnx)
    learn_from = [s for s in job.index.samples if s.split != "test"]
    fitted = probe.fit(learn_from, job.classes, job.network, engine, job.preprocess, job.recipe, job.journal)
    job.journal.write("head", **_head_facts(fitted))
    onnx = _put_head(job.network, onnx, fitted)
    with atomic_folder(job.run / "bundle") as partial:
        evaluations = _write_bundle(job, partial, onnx, fitted)
    scored = sum(len(e.samples) for e in evaluations if e.split == "test")
    untested = len(job.index.part("test")) - scored
    return evaluations, len(job.index.skipped) + len(fitted.skipped) + untested


def _extractor(job: Job, onnx: bytes) -> Engine:
    if job.device.type == "cuda":
        return TorchEngine(job.network, job.device)
    return compile_engine(onnx, job.recipe.bundle.precision)


def _head_facts(fitted: probe.Fitted) -> dict[str, Any]:
    choice = fitted.choice
    return {
        "kind": "linear discriminant",
        "views": fitted.views,
        "power": choice.power,
        "shrinkage": choice.shrinkage,
        "cross_validated": {"accuracy": choice.accuracy, "table": [list(row) for row in choice.table]},
    }


def _put_head(network: Network, onnx: bytes, fitted: probe.Fitted) -> bytes:
    """Put the fitted head into the torch network, in place, and into its ONNX form, which is returned."""
    head = fitted.head
    network.cpu()
    network.head.weight.copy_(torch.from_numpy(head.weight))
    network.head.bias.copy_(torch.from_numpy(head.bias))
    network.power.exponent.fill_(head.power)
    names = ("head.weight", "head.bias", "power.exponent")
    state = network.state_dict()
    return set_weights(onnx, {name: state[name].numpy() for name in names})


def _write_bundle(job: Job, partial: Path, onnx: bytes, fitted: probe.Fitted) -> list[Evaluation]:
    """Fill the partial bundle folder, score the very bundle, and write the report beside it."""
    facts = _facts(job, fitted)
    with job.journal.step("bundle"):
        samples = fitted.samples
        most, seed = job.recipe.bundle.calibration, job.recipe.seed
        known = Calibration.choose(samples, job.classes, job.preprocess, max(most, PARITY_PICTURES), seed)
        parity = check_parity(job.network, onnx, known.pictures[:PARITY_PICTURES], job.recipe.bundle.precision)
        facts |= parity_facts(parity)
        files = {
            bundles.MODEL: onnx,
            bundles.WEIGHTS: weights_bytes(job.network),
            bundles.CALIBRATION: known.first(most).to_npz(),
        }
        bundles.save(partial, facts, files)
    recogniser = load(partial)
    evaluations = []
    for name, part in (("val", [s for s in samples if s.split == "val"]), ("test", job.index.part("test"))):
        if part:
            evaluations += _score(job, recogniser, tuple(part), name)
    facts["scores"] = {e.split: e.scores for e in evaluations}
    bundles.save(partial, facts, files | {bundles.CARD: model_card(facts).encode()})
    with job.journal.step("report"):
        _report(job, recogniser, facts, evaluations, fitted)
    return evaluations


def parity_facts(parity: Parity) -> dict[str, Any]:
    """What the field must know of precision: the default one only where its decisions are float32's."""
    precision = "auto" if parity.holds else "f32"
    return {"precision": precision, "recheck_margin": parity.recheck_margin, "parity": parity.to_json()}


def _score(job: Job, recogniser: Recogniser, samples: tuple[Sample, ...], name: str) -> list[Evaluation]:
    """The evaluation of one part; none, said in the log, when not one of its pictures can be read."""
    with job.journal.step(f"scores on {name}") as tick:
        try:
            return [score_samples(recogniser, samples, name, f"the {name} part", tick=tick)]
        except DataError as error:
            job.journal.write("unscored", part=name, reason=str(error))
            return []


def _facts(job: Job, fitted: probe.Fitted) -> dict[str, Any]:
    recipe, backbone, index = job.recipe, job.network.backbone, job.index
    parts = {name: index.part(name) for name in ("train", "val", "test")}
    width, height = job.preprocess.size_wh
    return {
        "task": recipe.task,
        "classes": list(job.classes),
        "coarse": index.coarse_of or None,
        "preprocess": job.preprocess.to_json(),
        "input": {"name": "pictures", "dtype": "uint8", "layout": "NHWC", "size_wh": [width, height]},
        "outputs": output_shapes(job.network),
        "backbone": {
            "name": backbone.name,
            "weights": backbone.source,
            "parameters": sum(p.numel() for p in backbone.parameters()),
        },
        "head": _head_facts(fitted),
        "recipe": recipe.to_json(),
        "calibration": {"temperature": fitted.choice.temperature},
        "thresholds": {"unsure_below": recipe.decide.unsure_below},
        "data": {
            "source": "/".join(Path(index.source).parts[-2:]),
            "fingerprint": fingerprint(index.samples),
            "split": SplitRule(recipe.seed, recipe.data.val, recipe.data.test).to_json(),
            "parts": {name: {"n": len(p), "fingerprint": fingerprint(p)} for name, p in parts.items() if p},
        },
        "versions": versions(),
    }


def _report(
    job: Job, recogniser: Recogniser, facts: dict[str, Any], evaluations: list[Evaluation], fitted: probe.Fitted
) -> None:
    grid = []
    train = [(s, d) for s, d in zip(fitted.samples, fitted.digests, strict=True) if s.split == "train"]
    step = max(1, len(train) // GRID_PICTURES)
    for place, (sample, digest) in enumerate(train[::step][:GRID_PICTURES]):
        data = sample.path.read_bytes()
        number = place % fitted.views
        picture = augment.view(data, digest, number, job.recipe.seed, job.preprocess, job.recipe.augment)
        grid.append(Shown(picture, sample.label))
    worst = mistakes(recogniser, evaluations[-1]) if evaluations else []
    if evaluations:  # the report lists what each evaluation left out, and with the first what training did
        before = (*job.index.skipped, *fitted.skipped, *evaluations[0].skipped)
        evaluations = [replace(evaluations[0], skipped=before), *evaluations[1:]]
    write_report(
        job.run / "report.html",
        facts=facts,
        evaluations=evaluations,
        mistakes=worst,
        training_grid=grid,
        steps=job.journal.steps,
    )
