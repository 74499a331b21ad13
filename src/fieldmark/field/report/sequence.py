"""The model card of a bundle of the task `sequence`: plain Markdown from its facts alone, without a date or a place."""

from collections.abc import Mapping
from typing import Any

from .card import code, escaped, markdown_table
from .words import (
    SCORE_WORDS,
    clean,
    flatten,
    interval_words,
    last_name,
    mapping,
    number,
    plain,
    score,
    score_keys,
    things,
)

SAMPLE_LINES = 12
LIMITS = {
    "text": """- It imitates its text and knows nothing else: what it writes may sound right and be false.
- It may repeat passages of its text word for word. If the text is private, do not hand the bundle out.""",
    "series": """- It foresees one row from those before it; what lies further ahead rests on its own forecasts.
- What never happened in its training part it does not foresee.""",
}


def sequence_card(facts: Mapping[str, Any]) -> str:
    """The card; the same facts give the same text, and what the facts lack is left out."""
    made = (_head, _scores, _use, _sample, _inside, _data, _limits, _versions)
    return clean("\n\n".join(section for build in made if (section := build(facts)))) + "\n"


def _head(facts: Mapping[str, Any]) -> str:
    source = escaped(last_name(mapping(facts.get("data")).get("source") or ""))
    if facts.get("kind") == "text":
        said = "it says which character comes next, and writes text of its own"
        return f"# {source}: a Fieldmark character model\n\nTask `sequence`: {said}."
    columns = ", ".join(escaped(name) for name in facts.get("columns") or ())
    return f"# {source}: a Fieldmark series model\n\nTask `sequence`: it foresees the next values of {columns}."


def _scores(facts: Mapping[str, Any]) -> str:
    parts = {split: mapping(s) for split, s in mapping(facts.get("scores")).items()}
    keys = score_keys({key: value for s in parts.values() for key, value in s.items()})
    if not keys:
        return ""
    rows = []
    for key in keys:
        name = f"{SCORE_WORDS[key].name} ({code(key)})" if key in SCORE_WORDS else code(key)
        cells = [_cell(key, part) for part in parts.values()]
        rows.append((name, *cells))
    counts = "; ".join(f"{split}: {number(s.get('n'))} {things(facts)}" for split, s in parts.items())
    note = "The `test` part is the end of the data and took no part in training; `val`, before it, chose when to stop."
    head = f"In brackets: 95 % intervals, bootstrap over blocks of neighbours ({counts}). {note}"
    return f"## Scores\n\n{head}\n\n{markdown_table(('score', *parts), rows)}"


def _cell(key: str, part: Mapping[str, Any]) -> str:
    between = interval_words(key, part)
    return f"{score(key, part.get(key))} ({between})" if between else score(key, part.get(key))


def _use(facts: Mapping[str, Any]) -> str:
    if facts.get("kind") == "text":
        lines = 'fieldmark generate BUNDLE --prompt "Once" --length 500\nfieldmark evaluate BUNDLE book.txt'
    else:
        lines = "fieldmark predict BUNDLE table.csv --steps 1\nfieldmark evaluate BUNDLE table.csv"
    return f"## How to use it\n\n```\n{lines}\n```\n\n`BUNDLE` is this folder, the run that holds it, or either zipped."


def _sample(facts: Mapping[str, Any]) -> str:
    samples = [mapping(row) for row in facts.get("samples") or ()]
    if not samples:
        return ""
    lines = str(samples[0].get("text")).splitlines()[:SAMPLE_LINES]
    quoted = "\n".join(f"    {line}" for line in lines)
    return f"## What it writes\n\nDrawn with temperature {plain(samples[0].get('temperature'))}:\n\n{quoted}"


def _inside(facts: Mapping[str, Any]) -> str:
    rows = [(escaped(key), escaped(plain(value))) for key, value in mapping(facts.get("network")).items()]
    alphabet = str(mapping(facts.get("alphabet")).get("characters", ""))
    if facts.get("kind") == "text":
        rows.append(("alphabet", f"256 bytes of UTF-8 and {len(alphabet):,} characters beyond ASCII"))
    rows.append(("input", escaped(plain(facts.get("input")))))
    rows += [
        (f"state {code(name)}", f"{escaped(plain(shape))}; out as {code(name + '_next')}")
        for name, shape in mapping(facts.get("states")).items()
    ]
    rows += [(f"output {code(name)}", escaped(plain(shape))) for name, shape in mapping(facts.get("outputs")).items()]
    rows.append(("precision", escaped(plain(facts.get("precision")))))
    return f"## Inside\n\n{markdown_table(('what', 'value'), rows)}"


def _data(facts: Mapping[str, Any]) -> str:
    data = mapping(facts.get("data"))
    rows = [(escaped(name), number(mapping(part).get("n"))) for name, part in mapping(data.get("parts")).items()]
    return (
        f"## Data\n\nFingerprint: {code(data.get('fingerprint'))}.\n\n{markdown_table(('part', things(facts)), rows)}"
    )


def _limits(facts: Mapping[str, Any]) -> str:
    return f"## Limits\n\n{LIMITS['text' if facts.get('kind') == 'text' else 'series']}"


def _versions(facts: Mapping[str, Any]) -> str:
    versions = [(escaped(name), escaped(value)) for name, value in flatten(mapping(facts.get("versions"))) if name]
    return f"## Versions\n\n{markdown_table(('library', 'version'), versions)}" if versions else ""
