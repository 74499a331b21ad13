"""What the command line does with sequences: `generate`, and `predict` of numbers. Rooms are imported inside."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from fieldmark import printing

if TYPE_CHECKING:
    from fieldmark.field.runtime.forecaster import Forecaster


@click.command()
@click.argument("bundle")
@click.option("--prompt", default="", metavar="TEXT", help="What the text begins with.")
@click.option("--length", default=500, type=click.IntRange(0, 1_000_000), help="Characters to write; default 500.")
@click.option("--temperature", default=0.8, type=click.FloatRange(0, 100), help="0: the most probable; default 0.8.")
@click.option("--top-p", default=1.0, type=click.FloatRange(0, 1, min_open=True), help="Leave out improbable ones.")
@click.option("--seed", default=0, type=click.IntRange(0), help="The same seed writes the same text; default 0.")
def generate(bundle: str, prompt: str, length: int, temperature: float, top_p: float, seed: int) -> None:
    """Write text with a character model, after TEXT where that is given."""
    from fieldmark.field.runtime.loading import load_writer

    writer = load_writer(bundle)
    show = printing.harmless if sys.stdout.isatty() else str
    click.echo(show(prompt), nl=False)
    for piece in writer.stream(prompt, length, temperature, top_p, seed):
        click.echo(show(piece), nl=False)
    click.echo()


def print_forecasts(forecaster: "Forecaster", paths: Sequence[str], steps: int, form: str) -> int:
    """The next rows after each table, one a line; 1 when some tables could not be used, as exit status."""
    from fieldmark.errors import DataError

    failed = 0
    if form == "csv":
        click.echo(",".join(["path", "step", *(printing.quoted(name) for name in forecaster.columns)]))
    for path in paths:
        try:
            rows, error = forecaster.predict(path, steps).tolist(), None
        except DataError as found:
            rows, error, failed = [], str(found), 1
        if form == "jsonl":
            ahead = [dict(zip(forecaster.columns, row, strict=True)) for row in rows]
            printing.print_json({"path": path, "next": ahead, "error": error})
            continue
        if error is not None:
            printing.left_out(path, error)
        for step, row in enumerate(rows, start=1):
            cells = [f"{value:.6g}" for value in row]
            name, between = (printing.quoted(path), ",") if form == "csv" else (printing.visible(path), "\t")
            click.echo(between.join([name, str(step), *cells]))
    return failed
