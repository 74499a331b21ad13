"""One training of the task `sequence`: from a text, or a table of numbers, to RUN."""

import time
from dataclasses import replace
from pathlib import Path

import torch

from fieldmark.errors import UsageError
from fieldmark.field.report import write_report
from fieldmark.field.runtime import Evaluation, compile_engine, cores
from fieldmark.files import atomic_folder, is_file, sha256, write_text
from fieldmark.workshop.recipe import Recipe, check, flat, load_recipe
from fieldmark.workshop.train import plan as plans
from fieldmark.workshop.train.cache import check_writable
from fieldmark.workshop.train.device import choose_device, computes_bf16, keep_freed_memory
from fieldmark.workshop.train.job import (
    check_place,
    clear_partial,
    end_run,
    hold_run,
    recipe_text,
    say_skipped,
)
from fieldmark.workshop.train.journal import Journal
from fieldmark.workshop.train.loop import Fit
from fieldmark.workshop.train.loop import Progress as Fitted
from fieldmark.workshop.train.material import Material, open_material
from fieldmark.workshop.train.optim import make_optimiser
from fieldmark.workshop.train.pace import Pace, Revision
from fieldmark.workshop.train.plan import Plan, StagePlan
from fieldmark.workshop.train.reading import ReadingLesson
from fieldmark.workshop.train.sequence_bundle import export_material, write_sequence_bundle
from fieldmark.workshop.train.trackers import open_trackers
from fieldmark.workshop.train.wish import Wish, recorded_recipe

TASK = "sequence"
NETWORKS = (None, "charrnn")  # what --backbone may say
TEXT_SUFFIX = ".txt"
MARGIN = 0.02  # of the budget, kept for what no measurement foresees
LEAST_SHARE = 0.1  # of a budget that learning must have
FINISH_S = 6.0  # export, checks, samples, report
STAGE = "full"
FIRST_GUESS = 1_000  # steps, which the clock soon revises
LOOKS = 3


def asked(wish: Wish) -> bool:
    """Whether what `train` is to learn is a sequence: by name, by the recipe, or since DATA is a text file."""
    if wish.task != "auto":
        return wish.task == TASK
    if wish.goes_on:
        return recorded_recipe(wish.run).task == TASK
    if wish.recipe is not None:
        return load_recipe(wish.recipe).task == TASK
    return Path(wish.data).suffix.lower() == TEXT_SUFFIX and is_file(Path(wish.data))


def train_sequence(wish: Wish) -> tuple[list[Evaluation], int]:
    """Learn, export, score and report; the evaluations of val and test, and how many files or cells were left out."""
    recipe = _recipe(wish)
    device = choose_device(wish.device)
    check_place(wish.run, recipe, wish.resume)
    check_writable()
    with hold_run(wish.run):
        check_place(wish.run, recipe, wish.resume)
        wish.progress("reading", 0, 0)
        material = open_material(wish.data, recipe, wish.progress)
        journal = _open_run(wish, recipe, material)
        with journal.step("network"):
            torch.manual_seed(recipe.seed)
            network = material.network()
        bf16 = {"auto": computes_bf16(device), "bf16": True, "f32": False}[recipe.tune.compute]
        lesson = ReadingLesson(network, material.source, material.task, material.wanted.dropout, device, bf16)
        fitted = _fit(wish, recipe, material, lesson, journal, bf16)
        with atomic_folder(wish.run / "bundle") as partial:
            evaluations, facts = write_sequence_bundle(partial, recipe, material, network, fitted.facts(), journal)
        with journal.step("report"):
            write_report(wish.run / "report.html", facts=facts, evaluations=evaluations, steps=journal.steps)
        for left in wish.run.glob("checkpoint-*.safetensors"):
            left.unlink()
        end_run(journal, wish.begun, evaluations, material.headline)
    return evaluations, len(material.skipped)


def _recipe(wish: Wish) -> Recipe:
    """The recipe that was asked for, or that of the run to go on with; UsageError for options of pictures."""
    if wish.backbone not in NETWORKS or wish.head is not None:
        raise UsageError(
            "the task sequence has one network, charrnn, without backbone and head; change it with "
            "--set sequence.cell=gru, sequence.hidden, sequence.layers"
        )
    if wish.as_begun:
        return recorded_recipe(wish.run)
    recipe = load_recipe(wish.recipe or TASK, wish.settings)
    return check(replace(recipe, task=TASK, seed=recipe.seed if wish.seed is None else wish.seed))


def _open_run(wish: Wish, recipe: Recipe, material: Material) -> Journal:
    """Write down what the run is, and open its journal. UsageError when it was begun with other data."""
    run, file = wish.run, wish.run / "split.csv"
    rows = [("part", "begin", "end"), *((name, *map(str, place)) for name, place in material.parts.items())]
    text = "\n".join(",".join(row) for row in rows) + f"\nfingerprint,{material.fingerprint},\n"
    if is_file(file) and file.read_text(encoding="utf-8", errors="replace") != text:
        raise UsageError(f"{run} was begun with other data; give the same DATA, or choose another --out")
    clear_partial(run)
    write_text(run / "recipe.json", recipe_text(recipe))
    write_text(file, text)
    journal = Journal(run / "log.jsonl", wish.progress, wish.begun, open_trackers(recipe.log, run, flat(recipe)))
    parts = {name: end - begin for name, (begin, end) in material.parts.items()}
    journal.write("begin", recipe=recipe.to_json(), splits=parts, skipped=len(material.skipped))
    say_skipped(journal, material.skipped)
    return journal


def _fit(wish: Wish, recipe: Recipe, material: Material, lesson: ReadingLesson, journal: Journal, bf16: bool) -> Fitted:
    """Train the network; it ends with the best weights by validation."""
    keep_freed_memory()
    network, source = lesson.network, material.source
    plan, replayed = _plan(wish, recipe, material, lesson, journal)
    pace = _pace(wish, plan, replayed, source.an_epoch)
    tune = plans.settled(recipe.tune, plan.budget_s)
    with lesson.open():
        rows = [list(network.named_parameters())]
        fit = Fit(
            "training",
            lesson,
            make_optimiser(rows, (), recipe.optim, source.batch, plain=True),
            pace,
            (recipe.optim, tune),
            journal,
            autocast=bf16,
            seed=recipe.seed,
            file=wish.run / "checkpoint-full.safetensors",
            identity=plan.identity,
        )
        found = fit.run()
    journal.write("stage", name=STAGE, **vars(found))
    return found


def _plan(wish: Wish, recipe: Recipe, material: Material, lesson: ReadingLesson, journal: Journal) -> tuple[Plan, bool]:
    """How long to learn, in RUN/plan.json, and whether an earlier run made it. UsageError for a budget that is too
    short or another than at the beginning."""
    path = wish.run / "plan.json"
    identity = sha256(repr([recipe, material.fingerprint, lesson.parts]).encode())
    earlier = Plan.load(path)
    if earlier is not None:
        _check_earlier(wish, earlier, identity)
        return earlier, True
    with journal.step("network to ONNX"):
        finish_s = FINISH_S + material.scored * _seconds_a_position(material, lesson)
    source, tune = material.source, plans.settled(recipe.tune, wish.budget_s)
    epochs = tune.epochs or tune.most_epochs
    steps, seconds = max(1, round(epochs * source.an_epoch)), 0.0
    if wish.budget_s is not None:
        seconds = wish.budget_s * (1 - MARGIN) - finish_s - (time.monotonic() - wish.begun)
        if seconds < LEAST_SHARE * wish.budget_s:
            needed = (time.monotonic() - wish.begun + finish_s) / (1 - MARGIN - 2 * LEAST_SHARE)
            raise UsageError(
                f"a budget of {wish.budget_s:.0f} s is too short for this data on this machine; "
                f"give at least {needed:.0f} s"
            )
        steps = steps if tune.epochs else min(steps, FIRST_GUESS)
    stage = StagePlan(STAGE, "the whole network", "", 0, steps, epochs, seconds)
    plan = Plan(wish.budget_s, 0.0, finish_s, 0, identity, [stage])
    plan.save(path)
    how = f"{seconds:.0f} s" if seconds else f"at most {epochs:g} epochs, {steps:,} steps"
    width = f"{source.batch} windows of {source.window} steps"
    journal.say(f"plan  train  {how}, {width} at a time; finish  {finish_s:.0f} s")
    return plan, False


def _check_earlier(wish: Wish, plan: Plan, identity: str) -> None:
    if plan.identity != identity or [s.name for s in plan.stages] != [STAGE]:
        raise UsageError(f"{wish.run} was begun with other data or on another machine; choose another --out")
    if wish.budget_s is not None and wish.budget_s != plan.budget_s:
        was = "without a budget" if plan.budget_s is None else f"with a budget of {plan.budget_s:.0f} s"
        raise UsageError(f"{wish.run} was begun {was} and goes on as planned; leave --budget away")


def _seconds_a_position(material: Material, lesson: ReadingLesson) -> float:
    """What scoring costs in the engine on all cores, by the untrained network."""
    engine, example = compile_engine(export_material(material, lesson.network)), material.example()
    states = zip(lesson.network.states, lesson.network.begin(example.shape[1]), strict=True)
    given = {material.names[0]: example, **{name: state.numpy() for name, state in states}}
    took: list[float] = []
    for _ in range(LOOKS):
        began = time.monotonic()
        engine.run(given, material.names[1:])
        took.append(time.monotonic() - began)
    return min(took) / (len(example) * int(example.shape[1]) * cores())


def _pace(wish: Wish, plan: Plan, replayed: bool, an_epoch: int) -> Pace:
    """By the clock where there is a budget; as it was where an earlier run goes on."""
    stage, path = plan.stages[0], wish.run / "plan.json"
    revisions = plan.revisions.setdefault(STAGE, [])
    deadline = None
    if not replayed and wish.budget_s is not None:
        deadline = wish.begun + wish.budget_s * (1 - MARGIN) - plan.finish_s

    def on_revise(revision: Revision) -> None:
        revisions.append(revision)
        plan.save(path)

    most = max(stage.steps, round(stage.epochs * an_epoch))
    return Pace(stage.steps, deadline, most, tuple(revisions), on_revise)
