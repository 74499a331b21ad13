"""How a training ends: the head into the network, the bundle scored by itself, the report."""

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldmark import bundle as bundles
from fieldmark.data import SplitRule, fingerprint
from fieldmark.errors import DataError, PictureError
from fieldmark.field.evaluate.intervals import paired_interval
from fieldmark.field.explain import check_maps
from fieldmark.field.explain.faithfulness import some_of
from fieldmark.field.report import Shown, mistakes, model_card, write_report
from fieldmark.field.runtime import Evaluation, Recogniser, compile_engine, load, stream
from fieldmark.field.runtime.evaluation import score_samples
from fieldmark.field.tasks import TaskFacts, get_task
from fieldmark.pictures import load as load_picture
from fieldmark.pictures import read_bytes
from fieldmark.types import Sample
from fieldmark.workshop.export import Parity, check_parity, with_notes
from fieldmark.workshop.export.pack import Calibration, versions, weights_bytes
from fieldmark.workshop.learn import OnLogits
from fieldmark.workshop.train import augment
from fieldmark.workshop.train.job import Job
from fieldmark.workshop.train.occlude import learn_occlusion
from fieldmark.workshop.train.planner import COMPARED
from fieldmark.workshop.train.stages import Learned

PARITY_PICTURES = 128
GRID_PICTURES = 24
POINTED = 64


@dataclass(frozen=True)
class Finished:
    """The recogniser of a bundle, its facts, and its evaluations of val and test."""

    recogniser: Recogniser
    facts: dict[str, Any]
    evaluations: list[Evaluation]


def write_bundle(job: Job, partial: Path, learned: Learned) -> Finished:
    """Fill the partial bundle folder and score the very bundle."""
    facts, decide = _facts(job, learned), job.recipe.decide
    if (decide.sensitivity or decide.specificity) and "positive_at" not in facts["thresholds"]:
        wish = "sensitivity" if decide.sensitivity else "specificity"
        job.journal.say(f"decide.{wish}: no held-out picture can tell where it is reached, so that one half stays")
    with job.journal.step("bundle"):
        samples, onnx = learned.samples, learned.onnx
        most, seed = job.recipe.bundle.calibration, job.recipe.seed
        known = Calibration.choose(samples, job.learner, job.preprocess, max(most, PARITY_PICTURES), seed)
        shown, task, decided = known.pictures[:PARITY_PICTURES], get_task(job.recipe.task), TaskFacts.from_bundle(facts)
        parity = check_parity(job.network, onnx, shown, job.recipe.bundle.precision, task, decided)
        facts |= parity_facts(parity)
        notes = {key: facts[key] for key in ("task", "classes", "preprocess", *learned.settled)}
        files = {
            bundles.MODEL: with_notes(onnx, notes),
            bundles.WEIGHTS: weights_bytes(job.network),
            bundles.CALIBRATION: known.first(most).to_npz(),
        }
        bundles.save(partial, facts, files)
    recogniser = load(partial)
    facts["glances"] = _glances(job, recogniser, [s for s in samples if s.split == "val"], learned.glances)
    if learned.occlusions:
        with job.journal.step("what covering takes") as tick:
            engine, looks = compile_engine(onnx, job.recipe.bundle.precision), learned.occlusions
            found = learn_occlusion(recogniser, engine, samples, looks, job.recipe.seed, tick)
        if found is not None:
            files[bundles.OCCLUSION] = found.to_bytes()
    if facts["glances"] is not None or bundles.OCCLUSION in files:
        bundles.save(partial, facts, files)
        recogniser = load(partial)
    evaluations = []
    for name, part in (("val", [s for s in samples if s.split == "val"]), ("test", job.index.part("test"))):
        if part:
            evaluations += _score(job, recogniser, tuple(part), name)
    if evaluations:
        _warn_of_guessing(job, recogniser, evaluations[-1])
    else:
        job.journal.say("nothing was measured: no picture was left for validation or test; give more pictures")
    facts["scores"] = {e.split: e.scores for e in evaluations}
    if learned.before is not None and evaluations:
        facts["comparison"] = _compare(job, learned.before, learned.settled_before, recogniser, evaluations[-1])
    bundles.save(partial, facts, files | {bundles.CARD: model_card(facts).encode()})
    return Finished(recogniser, facts, evaluations)


def _warn_of_guessing(job: Job, recogniser: Recogniser, evaluation: Evaluation) -> None:
    """Say so when the scores are not surely better than a guess that needs no picture."""
    guess = recogniser.task.guess(evaluation.samples, recogniser.facts)
    bounds = evaluation.scores.get(f"{guess.key}_ci")
    if bounds and bounds[0] <= guess.score:
        job.journal.say(
            f"on {evaluation.split} this is not surely better than {guess.words}; give it more time, more pictures, or "
            "pretrained weights"
        )


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


def _glances(job: Job, recogniser: Recogniser, samples: list[Sample], wanted: int) -> dict[str, Any] | None:
    """How many glances are wanted or, of 0, validation speaks for, with what it settles for their joined logits; None
    for one, without a question."""
    if wanted == 1:
        return None
    learner, headline = job.learner, recogniser.task.headline
    assert isinstance(learner, OnLogits)
    logits: dict[int, dict[int, NDArray[np.float32]]] = {}  # by glances and place
    for count in (1, 2):
        looking = recogniser if count == recogniser.glances.count else Recogniser(recogniser.bundle, glances=count)
        with job.journal.step(f"{count} of 2 glances on val") as tick:
            logits[count] = {}
            for place, seen in enumerate(looking.run((s.path for s in samples), ("logits",))):
                if seen.error is None:
                    logits[count][place] = seen.outputs["logits"]
                tick(place + 1, len(samples))
    usable = sorted(logits[1].keys() & logits[2].keys())
    if not usable:
        return {"count": wanted or 1}
    one, two = (np.stack([rows[place] for place in usable]) for rows in logits.values())
    targets = learner.targets([samples[place] for place in usable])
    chosen = wanted or (2 if learner.gains(two, one, targets) else 1)
    scores = {"one": learner.score(one, targets), "two": learner.score(two, targets)}
    val = {key: {word: s[key] for word, s in scores.items()} for key in (headline, "nll")}
    if not wanted:
        said = "; ".join(f"{key} {row['one']:.3f} with one, {row['two']:.3f} with two" for key, row in val.items())
        job.journal.say(f"{'two glances' if chosen == 2 else 'one glance'} at each picture; on validation {said}")
    facts = {f"val_{key}": row for key, row in val.items()}
    return {"count": chosen, "settled": learner.settle(two, targets), **facts}


def _compare(
    job: Job, before: bytes, settled: dict[str, Any], recogniser: Recogniser, after: Evaluation
) -> dict[str, Any]:
    """The untouched backbone with its linear head beside the trained network, on the same pictures."""
    chosen = some_of(range(len(after.samples)), COMPARED, job.recipe.seed)
    paths = [after.samples[i].path for i in chosen]
    task, now = recogniser.task, recogniser.facts
    was = TaskFacts.from_bundle({"classes": job.classes, **settled})
    engine = compile_engine(before, job.recipe.bundle.precision)
    with job.journal.step("the linear head beside it") as tick:
        rows, places = [], []
        for done, seen in enumerate(stream(engine, paths, lambda p: load_picture(p, job.preprocess), ("logits",))):
            tick(done + 1, len(paths))
            if seen.error is None:
                rows.append(seen.outputs["logits"])
                places.append(chosen[done])
    samples, later = [after.samples[i] for i in places], {k: v[places] for k, v in after.outputs.items()}
    old = task.each(samples, {"logits": np.stack(rows)}, was)
    new = task.each(samples, later, now)
    return {
        "part": after.split,
        "n": len(places),
        "before": float(old.mean()),
        "after": float(new.mean()),
        "difference": float(new.mean() - old.mean()),
        "difference_ci": paired_interval(new, old),
    }


def _facts(job: Job, learned: Learned) -> dict[str, Any]:
    recipe, backbone, index = job.recipe, job.network.backbone, job.index
    parts = {name: index.part(name) for name in ("train", "val", "test")}
    width, height = job.preprocess.size_wh
    return {
        "task": recipe.task,
        "classes": list(job.classes),
        "coarse": index.coarse_of or None,
        "preprocess": job.preprocess.to_json(),
        "input": {"name": "pictures", "dtype": "uint8", "layout": "NHWC", "size_wh": [width, height]},
        "outputs": job.network.output_shapes(job.preprocess.size_wh),
        "backbone": {
            "name": backbone.name,
            "weights": backbone.source,
            "parameters": sum(p.numel() for p in backbone.parameters()),
            "form": backbone.form or None,
        },
        "head": learned.head,
        "notes": list(job.learner.notes) or None,
        "learning": [
            {"name": stage.name, "trains": stage.trains, "cut": stage.cut, "views": stage.views, **found.facts()}
            for stage, found in learned.fits
        ]
        or None,
        "recipe": recipe.to_json(),
        **learned.settled,
        "data": {
            "source": "/".join(Path(index.source).parts[-2:]),
            "fingerprint": fingerprint(index.samples),
            "split": SplitRule(recipe.seed, recipe.data.val, recipe.data.test).to_json(),
            "skipped": len(index.skipped) + len(learned.skipped),
            "parts": {name: {"n": len(p), "fingerprint": fingerprint(p)} for name, p in parts.items() if p},
        },
        "versions": versions(),
    }


def report_run(job: Job, finished: Finished, learned: Learned) -> None:
    """Write the run's report; its bundle is in its place by now, so that nothing that happens here can lose it."""
    recogniser, evaluations, grid = finished.recogniser, finished.evaluations, []
    recogniser.bundle = replace(recogniser.bundle, path=job.run / "bundle")
    train = [(s, d) for s, d in zip(learned.samples, learned.digests, strict=True) if s.split == "train"]
    for place, (sample, digest) in enumerate(some_of(train, GRID_PICTURES, job.recipe.seed)):
        with contextlib.suppress(PictureError):  # one that has gone since is not worth losing a report for
            data, number = read_bytes(sample.path), place % learned.views
            preprocess = job.preprocess_of(number, learned.views)
            recipe, around = job.recipe, learned.guide.get(digest)
            picture = augment.view(data, digest, number, recipe.seed, preprocess, recipe.augment, around)
            grid.append(Shown(picture, sample.truth))
    worst = mistakes(recogniser, evaluations[-1]) if evaluations else []
    tested = [e.samples for e in evaluations if e.split == "test"]
    maps = check_maps(recogniser, tested[0], learned.maps_checked, POINTED) if tested else None
    if evaluations:  # the report lists what each evaluation left out, and with the first what training did
        before = (*job.index.skipped, *learned.skipped, *evaluations[0].skipped)
        evaluations = [replace(evaluations[0], skipped=before, notes=job.index.notes), *evaluations[1:]]
    write_report(
        job.run / "report.html",
        facts=finished.facts,
        evaluations=evaluations,
        mistakes=worst,
        training_grid=grid,
        steps=job.journal.steps,
        maps=maps,
    )
