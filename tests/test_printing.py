"""What the command line says in words."""

from fieldmark import printing
from fieldmark.data.index import Note


def test_many_notes_are_said_in_part(capsys):
    printing.notes([Note(f"boxes.csv, row {i}", "outside\x1b[2J") for i in range(22)])
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "boxes.csv, row 0: outside\\x1b[2J"
    assert len(said) == 21
    assert said[-1] == "and 2 more notes on annotations"


def test_few_notes_are_all_said(capsys):
    printing.notes([Note("a.xml", "mended")])
    assert capsys.readouterr().err == "a.xml: mended\n"
