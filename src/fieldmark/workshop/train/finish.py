"""How a training ends: the head into the network, the bundle scored by itself, the report."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from fieldmark import bundle as bundles
from fieldmark.data import SplitRule, fingerprint
from fieldmark.errors import DataError
from fieldmark.field.report import Shown, mistakes, model_card, write_report
from fieldmark.field.runtime import Evaluation, Recogniser, load
from fieldmark.field.runtime.evaluation import score_samples
from fieldmark.types import Sample
from fieldmark.workshop.export import Parity, check_parity, set_weights, with_notes
from fieldmark.workshop.export.pack import Calibration, output_shapes, versions, weights_bytes
from fieldmark.workshop.models import Network
from fieldmark.workshop.train import augment, probe
from fieldmark.workshop.train.job import Job

PARITY_PICTURES = 128
GRID_PICTURES = 24


def head_facts(fitted: probe.Fitted) -> dict[str, Any]:
    choice = fitted.choice
    return {
        "kind": "linear discriminant",
        "views": fitted.views,
        "power": choice.power,
        "shrinkage": choice.shrinkage,
        "cross_validated": {"accuracy": choice.accuracy, "table": [list(row) for row in choice.table]},
    }


def put_head(network: Network, onnx: bytes, fitted: probe.Fitted) -> bytes:
    """Put the fitted head into the torch network, in place, and into its ONNX form, which is returned."""
    head = fitted.head
    network.cpu()
    network.head.weight.copy_(torch.from_numpy(head.weight))
    network.head.bias.copy_(torch.from_numpy(head.bias))
    network.power.exponent.fill_(head.power)
    names = ("head.weight", "head.bias", "power.exponent")
    state = network.state_dict()
    return set_weights(onnx, {name: state[name].numpy() for name in names})


def write_bundle(job: Job, partial: Path, onnx: bytes, fitted: probe.Fitted) -> list[Evaluation]:
    """Fill the partial bundle folder, score the very bundle, and write the report beside it."""
    facts = _facts(job, fitted)
    with job.journal.step("bundle"):
        samples = fitted.samples
        most, seed = job.recipe.bundle.calibration, job.recipe.seed
        known = Calibration.choose(samples, job.classes, job.preprocess, max(most, PARITY_PICTURES), seed)
        parity = check_parity(job.network, onnx, known.pictures[:PARITY_PICTURES], job.recipe.bundle.precision)
        facts |= parity_facts(parity)
        notes = {key: facts[key] for key in ("task", "classes", "preprocess", "calibration", "thresholds")}
        files = {
            bundles.MODEL: with_notes(onnx, notes),
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
        "head": head_facts(fitted),
        "recipe": recipe.to_json(),
        "calibration": {"temperature": fitted.choice.temperature},
        "thresholds": {"unsure_below": recipe.decide.unsure_below},
        "data": {
            "source": "/".join(Path(index.source).parts[-2:]),
            "fingerprint": fingerprint(index.samples),
            "split": SplitRule(recipe.seed, recipe.data.val, recipe.data.test).to_json(),
            "skipped": len(index.skipped) + len(fitted.skipped),
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
