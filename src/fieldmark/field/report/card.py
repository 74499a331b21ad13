"""The model card: a bundle's README.md in plain Markdown, from its facts alone, without a date or a place."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .words import (
    PART_USES,
    SCORE_WORDS,
    clean,
    flatten,
    interval_words,
    is_number,
    last_name,
    mapping,
    number,
    percent,
    plain,
    score,
    score_keys,
)

NAMES_SHOWN = 12
FEW_CLASSES = 5  # among which "one of five" says nothing
_MARKDOWN = re.compile(r"([\\`*_\[\]|#~$])")
_SAID = {"detect": 'prediction.extra["boxes"], prediction.unsure'}
_ALWAYS = {
    "classify": "It always answers with one of its classes, also for a picture that shows none of them.",
    "detect": "Whatever looks to it like one of its classes gets a box; other things get none, or a wrong one.",
}
_FITS = {
    "squash": "resized whole without keeping its proportions",
    "crop": "resized and cut to its middle",
    "pad": "resized whole with grey borders",
}


def model_card(facts: Mapping[str, Any]) -> str:
    """The card of a bundle; the same facts give the same text, and what the facts lack is left out."""
    made = (_head, _scores, _sureness, _use, _inside, _data, _limits, _versions)
    return clean("\n\n".join(section for build in made if (section := build(facts)))) + "\n"


def escaped(text: Any) -> str:
    """A name for the inside of a Markdown line or table: one line, nothing that Markdown or HTML would read."""
    line = " ".join(str(text).split())
    return _MARKDOWN.sub(r"\\\1", line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def code(text: Any) -> str:
    """A name as Markdown code on one line, also inside a table."""
    return f"`{' '.join(re.sub('[`|]', ' ', str(text)).split())}`"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _source(facts: Mapping[str, Any]) -> str:
    return last_name(mapping(facts.get("data")).get("source") or "")


def _head(facts: Mapping[str, Any]) -> str:
    classes = list(facts.get("classes") or ())
    source = _source(facts)
    of = f" of {escaped(source)}" if source else ""
    task = code(facts.get("task", "classify"))
    title = f"# {escaped(source)}: a Fieldmark recogniser" if source else "# A Fieldmark recogniser"
    if not classes:
        return f"{title}\n\nTask {task}."
    shown = ", ".join(escaped(name) for name in classes[:NAMES_SHOWN])
    more = f" and {len(classes) - NAMES_SHOWN:,} more (all in `bundle.json`)" if len(classes) > NAMES_SHOWN else ""
    kinds = f"{len(classes):,} class{'es' if len(classes) != 1 else ''}"
    return f"{title}\n\nTask {task}: it tells {kinds}{of} apart: {shown}{more}."


def _scores(facts: Mapping[str, Any]) -> str:
    parts = {split: s for split, s in mapping(facts.get("scores")).items() if isinstance(s, Mapping)}
    keys = score_keys({key: value for s in parts.values() for key, value in s.items()})
    if len(facts.get("classes") or ()) <= FEW_CLASSES:
        keys = [key for key in keys if key != "top5"]
    if not keys:
        return ""
    rows = []
    for key in keys:
        name = f"{SCORE_WORDS[key].name} ({code(key)})" if key in SCORE_WORDS else code(key)
        rows.append((name, *(_cell(key, s) for s in parts.values())))
    counts = [f"{split}: {number(s['n'])} pictures" for split, s in parts.items() if is_number(s.get("n"))]
    counted = f" ({'; '.join(counts)})" if counts else ""
    table = markdown_table(("score", *(escaped(split) for split in parts)), rows)
    note = "`test` pictures took no part in training or in choosing settings; `val` pictures helped to choose them."
    return f"## Scores\n\nIn brackets: 95 % intervals, bootstrap over the pictures{counted}. {note}\n\n{table}"


def _cell(key: str, scores: Mapping[str, Any]) -> str:
    between = interval_words(key, scores)
    value = score(key, scores.get(key))
    return f"{value} ({between})" if between else value


def _sureness(facts: Mapping[str, Any]) -> str:
    if facts.get("task") == "detect":
        return _sure_of_boxes(facts)
    said = []
    temperature = mapping(facts.get("calibration")).get("temperature")
    if is_number(temperature):
        said.append(
            f"Probabilities are calibrated on validation pictures by one temperature, {number(temperature)} "
            "(logits are divided by it; the network's own output is uncalibrated)."
        )
    below = mapping(facts.get("thresholds")).get("unsure_below")
    if is_number(below):
        said.append(f"An answer is marked “unsure” where the best probability is below {percent(below, 0)}.")
    return f"## How sure it is\n\n{' '.join(said)}" if said else ""


def _sure_of_boxes(facts: Mapping[str, Any]) -> str:
    bounds = mapping(facts.get("thresholds"))
    return f"""## How sure it is

The probability of a box is the chance that it overlaps a true one of its class by half or more, by a line on its score
that was fitted on validation pictures. Boxes are shown from {percent(bounds.get("shown_from"), 0)} on, where F1 was
best there. A picture is marked “unsure” where a shown box is below {percent(bounds.get("unsure_below"), 0)}."""


def _use(facts: Mapping[str, Any]) -> str:
    said = _SAID.get(str(facts.get("task")), "prediction.label, prediction.labels[0].probability, prediction.unsure")
    return f"""## How to use it

```
fieldmark predict BUNDLE photo.jpg
```

```python
import fieldmark

recogniser = fieldmark.load("BUNDLE")
prediction = recogniser.predict("photo.jpg")
print({said})
```

`BUNDLE` is this folder, the run that holds it, or either zipped. `model.onnx` also runs in any ONNX runtime."""


def _inside(facts: Mapping[str, Any]) -> str:
    rows: list[tuple[str, str]] = []
    preprocess = mapping(facts.get("preprocess"))
    if preprocess:
        fit = _FITS.get(str(preprocess.get("fit")), plain(preprocess.get("fit")))
        size = plain(preprocess.get("size_wh"))
        rows.append(("preprocessing", f"upright RGB, {fit}, {size} pixels, {plain(preprocess.get('resample'))}"))
    if facts.get("input") is not None:
        rows.append(("input", f"{escaped(plain(facts['input']))}, uint8, normalised inside the network"))
    outputs = facts.get("outputs")
    named = outputs.items() if isinstance(outputs, Mapping) else [(name, None) for name in outputs or ()]
    rows += [(f"output {code(name)}", escaped(plain(shape)) if shape else "") for name, shape in named]
    backbone = mapping(facts.get("backbone"))
    if backbone:
        size = f", {number(backbone['parameters'])} parameters" if is_number(backbone.get("parameters")) else ""
        weights = f", starting from {escaped(plain(backbone['weights']))}" if backbone.get("weights") else ""
        rows.append(("backbone", f"{escaped(plain(backbone.get('name', 'unnamed')))}{size}{weights}"))
    if facts.get("precision") is not None:
        rows.append(("precision", escaped(plain(facts["precision"]))))
    return f"## Inside\n\n{markdown_table(('what', 'value'), rows)}" if rows else ""


def _data(facts: Mapping[str, Any]) -> str:
    data = mapping(facts.get("data"))
    parts = mapping(data.get("parts"))
    rows = [
        (escaped(name), number(mapping(p).get("n")), PART_USES.get(name, ""), _short(mapping(p)))
        for name, p in parts.items()
    ]
    said = [f"Source: {escaped(_source(facts))}."] if _source(facts) else []
    said += [f"{escaped(note[:1].upper() + note[1:])}." for note in facts.get("notes") or () if isinstance(note, str)]
    if data.get("fingerprint"):
        said.append(f"Fingerprint of the whole: {code(data['fingerprint'])}.")
    table = f"\n\n{markdown_table(('part', 'pictures', 'used for', 'fingerprint'), rows)}" if rows else ""
    body = f"{' '.join(said)}{table}".strip()
    return f"## Data\n\n{body}" if body else ""


def _short(part: Mapping[str, Any]) -> str:
    return code(str(part["fingerprint"])[:12]) if part.get("fingerprint") else "none"


def _limits(facts: Mapping[str, Any]) -> str:
    always = _ALWAYS.get(str(facts.get("task")), _ALWAYS["classify"])
    return f"""## Limits

- Tested on this data only. Pictures unlike it (other cameras, places, seasons, kinds) may be recognised wrongly,
  and with confidence.
- {always}
- The scores are averages: single classes can be much worse; `bundle.json` has each of them.
- `calibration.npz` holds up to 512 training and validation pictures at model size. If the pictures are private, do not
  hand the bundle out."""


def _versions(facts: Mapping[str, Any]) -> str:
    versions = [(escaped(name), escaped(value)) for name, value in flatten(mapping(facts.get("versions"))) if name]
    return f"## Versions\n\n{markdown_table(('library', 'version'), versions)}" if versions else ""
