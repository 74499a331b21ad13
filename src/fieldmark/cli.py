"""One function a verb. Rooms are imported inside the functions, so that `--help` is quick."""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fieldmark import __version__, printing
from fieldmark.cli_lists import data, models
from fieldmark.cli_sequence import generate, print_forecasts
from fieldmark.errors import UsageError

if TYPE_CHECKING:
    from fieldmark.types import Prediction

BEGUN = time.monotonic()
FORMATS = ("table", "jsonl", "csv", "coco")
TASKS = ("auto", "classify", "multilabel", "regress", "detect", "segment", "sequence")
EXISTING = click.Path(path_type=Path)
GLANCES = click.option(
    "--glances",
    type=click.Choice(("auto", "1", "2")),
    callback=lambda context, option, value: None if value in (None, "auto") else int(value),
    help="2: look again at the region that decided, for twice the time; default auto: as the bundle says.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="fieldmark")
def cli() -> None:
    """Fine-grained image recognition: learn from labelled pictures, predict, show where it looked."""


@cli.command()
@click.argument("data")
@click.option("--out", required=True, type=EXISTING, help="New folder for the run; its bundle is RUN/bundle.")
@click.option("--task", default="auto", type=click.Choice(TASKS), help="What to learn; default: what the data tells.")
@click.option("--backbone", help="A timm name (fieldmark models lists them); default tf_efficientnet_lite0.")
@click.option("--head", help="average (default), gem, additive, gated, dot or self: how features are read.")
@click.option("--budget", metavar="TIME", help="How long it may take, such as 90s, 5m or 2h.")
@click.option("--recipe", help="quick, standard (default), thorough, scratch, or a .toml file.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change one value of the recipe.")
@click.option("--device", default="auto", type=click.Choice(["auto", "cpu", "cuda"]), help="Where to train.")
@click.option("--seed", type=int, help="Decides splits and augmentation; default 0.")
@click.option("--resume", is_flag=True, help="Go on with a run that was stopped.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON line.")
def train(
    data: str,
    out: Path,
    task: str,
    backbone: str | None,
    head: str | None,
    budget: str | None,
    recipe: str | None,
    settings: tuple[str, ...],
    device: str,
    seed: int | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Learn what DATA tells of its pictures: their class, their labels, a number, the boxes in them, or every pixel.

    DATA is a folder of class folders (or of train/val/test folders of those), a CSV, TSV or Parquet table with the
    columns path and label (or labels, or target), a COCO, VOC or YOLO set, or a name: field-guide, or one that
    `fieldmark data` lists. With --task sequence it is a text, a folder of texts, or a CSV or TSV table of numbers in
    time order.
    """
    from fieldmark.progress import Reporter

    if not resume:
        _check_new(out, ", or add --resume to go on with it")
    with Reporter() as report:
        report.say("loading torch")
        try:
            from fieldmark.workshop.train import train as run_training
        except ImportError as error:
            if error.name not in ("torch", "timm", "sklearn", "jinja2"):
                raise
            from fieldmark.errors import MissingExtraError

            raise MissingExtraError("training", "train") from None
        result = run_training(
            data,
            out,
            task=task,
            backbone=backbone,
            head=head,
            budget=budget,
            begun=BEGUN,
            recipe=recipe,
            settings=settings,
            device=device,
            seed=seed,
            resume=resume,
            progress=report,
        )
    if as_json:
        printing.print_json(result.to_json())
        return
    for part, scores in result.scores.items():
        click.echo(f"{part:5}  {printing.summary(scores)}")
    if result.skipped:
        what = "file or cell" if result.task == "sequence" else "picture"
        click.echo(f"{printing.count(result.skipped, what)} left out; {result.run / 'report.html'} lists all")
    click.echo(f"report  {result.run / 'report.html'}\nbundle  {result.bundle}   ({result.seconds:.0f} s)")


@cli.command()
@click.argument("bundle")
@click.argument("data")
@click.option("--split", "part", help="train, val, test or all; default: test as recorded at training.")
@click.option(
    "--out", type=EXISTING, help="Also write report.html, and of pictures predictions.csv, into this new folder."
)
@GLANCES
@click.option("--json", "as_json", is_flag=True, help="Print the scores as one JSON line.")
def evaluate(bundle: str, data: str, part: str | None, out: Path | None, glances: int | None, as_json: bool) -> None:
    """Score BUNDLE on DATA, with 95 % intervals."""
    from fieldmark.field.report.words import things
    from fieldmark.field.runtime.loading import evaluate as run_evaluation
    from fieldmark.field.runtime.loading import load
    from fieldmark.files import atomic_folder
    from fieldmark.progress import Reporter

    _check_new(out)
    recogniser = load(bundle, glances=glances)
    with ExitStack() as stack:
        report, partial, maps = stack.enter_context(Reporter()), None, None
        if out is not None:
            partial = stack.enter_context(atomic_folder(out))
        evaluation = run_evaluation(recogniser, data, part, lambda done, total: report("scoring", done, total))
        if partial is not None:
            maps = _write_evaluation(partial, recogniser, evaluation, report)
    for skip in evaluation.skipped:
        printing.left_out(skip.name, skip.reason)
    printing.notes(evaluation.notes)
    if as_json:
        printing.print_json(evaluation.to_json() | ({"maps": maps} if maps else {}))
        return
    click.echo(f"{evaluation.split} ({evaluation.note}), {evaluation.scores['n']} {things(recogniser.bundle.facts)}")
    click.echo(printing.summary(evaluation.scores))
    unknown = evaluation.scores.get("unknown_classes", ())
    if unknown:
        click.echo(f"unknown to the recogniser, and so counted as wrong: {printing.some(unknown)}")
    if out is not None:
        click.echo(f"report  {out / 'report.html'}")


def _write_evaluation(folder: Path, recogniser: Any, evaluation: Any, report: Any) -> dict[str, Any] | None:
    """The report and the table of predictions; what was measured of the maps."""
    from fieldmark.field.explain import check_maps
    from fieldmark.field.report import mistakes, write_report

    facts = recogniser.bundle.facts
    if not evaluation.samples:
        write_report(folder / "report.html", facts=facts, evaluations=[evaluation])
        return None
    worst = mistakes(recogniser, evaluation)
    maps = check_maps(recogniser, evaluation.samples, tick=lambda done, n: report("checking its maps", done, n))
    write_report(folder / "report.html", facts=facts, evaluations=[evaluation], mistakes=worst, maps=maps)
    table = folder / "predictions.csv"
    with table.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
        if recogniser.task.name == "detect":
            printing.write_boxes(stream, evaluation.predictions)
        else:
            columns = recogniser.task.columns(recogniser.facts)
            printing.write_csv(stream, evaluation.predictions, 1, columns)
    return maps


@cli.command()
@click.argument("bundle")
@click.argument("paths", nargs=-1, required=True)
@click.option("--top", default=5, type=click.IntRange(1, 10_000), help="Labels a picture.")
@click.option("--format", "form", default="table", type=click.Choice(FORMATS))
@click.option("--out", type=EXISTING, help="New folder for masks (segmentation): a PNG of class numbers each.")
@click.option("--steps", default=1, type=click.IntRange(1, 10_000), help="Rows ahead, of numbers in time order.")
@GLANCES
def predict(
    bundle: str, paths: tuple[str, ...], top: int, form: str, out: Path | None, steps: int, glances: int | None
) -> None:
    """Recognise pictures: files, or folders read recursively. Exits with 1 when some could not be used.

    With a bundle of numbers in time order: what comes next after each table.
    """
    from fieldmark.field.runtime.forecaster import Forecaster
    from fieldmark.field.runtime.loading import load, recogniser_of
    from fieldmark.field.runtime.mask_files import mask_files
    from fieldmark.pictures import expand

    _check_new(out)
    loaded = load(bundle, glances=glances)
    if isinstance(loaded, Forecaster):
        sys.exit(print_forecasts(loaded, paths, steps, form))
    recogniser, failed = recogniser_of(loaded), 0
    if form == "coco" and not recogniser.task.located:
        raise UsageError("--format coco is for recognisers that find boxes or masks; take jsonl or csv")
    files = mask_files(recogniser, out)

    def rows() -> Iterator["Prediction"]:
        nonlocal failed
        for prediction in recogniser.predict_many(expand(paths)):
            failed += prediction.error is not None
            if prediction.error is not None and form != "jsonl":
                printing.left_out(prediction.path, prediction.error)
            yield prediction if files is None else files.write(prediction)

    columns = None if recogniser.task.name == "detect" else recogniser.task.columns(recogniser.facts)
    printing.print_predictions(form, rows(), top, recogniser.classes, columns)
    if failed:
        sys.exit(1)


for listed in (data, generate, models):
    cli.add_command(listed)


@cli.command()
@click.argument("bundle")
@click.argument("paths", nargs=-1, required=True)
@click.option("--out", required=True, type=EXISTING, help="New folder for the pictures and explain.jsonl.")
@click.option("--class", "label", metavar="CLASS", help="Explain this class; default: the most probable one.")
@click.option("--against", metavar="CLASS", help="Explain why rather than this class.")
def explain(bundle: str, paths: tuple[str, ...], out: Path, label: str | None, against: str | None) -> None:
    """Draw what speaks for a class, or a box, (orange) and against it (blue) over each picture, at full resolution."""
    from fieldmark.field.explain import Question
    from fieldmark.field.explain.draw import explain_files
    from fieldmark.field.runtime import load
    from fieldmark.files import atomic_folder
    from fieldmark.pictures import expand
    from fieldmark.progress import Reporter

    _check_new(out)
    recogniser = load(bundle)
    sources = list(expand(paths))
    found = []
    with Reporter() as report, atomic_folder(out) as partial:
        for made in explain_files(recogniser, sources, partial, Question(label, against)):
            found.append(made)
            report("explaining", len(found), len(sources))
    for name, row in found:  # only now are the files where these lines say
        if row["error"] is not None:
            printing.left_out(row["path"], row["error"])
        else:
            click.echo(f"{printing.visible(row['path'])}\t{printing.explained(row)}\t{printing.visible(out / name)}")
    if any(row["error"] is not None for _, row in found):
        sys.exit(1)


@cli.command()
@click.argument("bundle")
@click.option("--to", "kind", required=True, type=click.Choice(["onnx", "zip"]), help="What to write.")
@click.option("--out", required=True, type=EXISTING, help="The new file (a zip is best named *.fieldmark).")
def export(bundle: str, kind: str, out: Path) -> None:
    """Write BUNDLE as one file."""
    from fieldmark import bundle as bundles
    from fieldmark.files import new_file

    loaded = bundles.load(bundle)
    if kind == "zip":
        bundles.write_zip(loaded, out)
    else:
        with new_file(out) as partial:
            partial.write_bytes(loaded.read(bundles.MODEL))
    click.echo(str(out))


@cli.command()
@click.option("--out", default="runs/demo", type=EXISTING, help="New folder for what the demo makes.")
def demo(out: Path) -> None:
    """Draw the field guide, learn its birds, score, explain, and say where the report is."""
    from fieldmark.progress import Reporter

    with Reporter() as report:
        report.say("loading torch")
        from fieldmark.workshop.demo import run_demo

        made = run_demo(out, report)
    click.echo("\n".join(made))


def _check_new(out: Path | None, otherwise: str = "") -> None:
    if out is None or (not out.exists() and not out.is_symlink()):
        return
    if not out.is_dir() or any(out.iterdir()):
        raise UsageError(f"{out} exists; choose another --out{otherwise}")
