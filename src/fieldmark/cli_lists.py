"""What the command line lists: `models` and `data`. Rooms are imported inside."""

import json

import click

from fieldmark import printing


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the whole table as one JSON line.")
@click.argument("words", nargs=-1)
def models(words: tuple[str, ...], as_json: bool) -> None:
    """List the backbones (those whose name contains all WORDS): parameters, input, source, pretrained weights."""
    from importlib.resources import files

    table = json.loads((files("fieldmark") / "models.json").read_text(encoding="utf-8"))
    rows = [row for row in table if all(word in row["name"] for word in words)]
    if as_json:
        printing.print_json({"models": rows})
        return
    for row in rows:
        millions = row["parameters"] / 1e6
        click.echo(
            f"{row['name']:48} {millions:8.2f} M  {row['input']:>4} px  {row['pretrained'] or '-':9} {row['source']}"
        )


@click.command()
@click.argument("name", required=False)
@click.option("--download", is_flag=True, help="Get NAME from its makers: resumed, checked, unpacked.")
@click.option("--json", "as_json", is_flag=True, help="Print what is known as one JSON line.")
def data(name: str | None, download: bool, as_json: bool) -> None:
    """List the data sets known by name, or say of NAME what it is, whether it is there, and how to get it."""
    from fieldmark.data.sources.named.listing import tell
    from fieldmark.progress import Reporter

    with Reporter() as report:
        rows, said = tell(name, report if download else None)
    printing.print_json({"datasets": rows}) if as_json else click.echo(said)
