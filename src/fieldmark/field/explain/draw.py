"""Explanations as files: one picture each and a line in `explain.jsonl`."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from fieldmark import pictures
from fieldmark.errors import PictureError
from fieldmark.field.explain.boxes import explain_boxes
from fieldmark.field.explain.evidence import Question, explain_picture
from fieldmark.field.explain.overlay import REGION_COLOUR, draw_overlay, outlined
from fieldmark.field.explain.regions import explain_region
from fieldmark.field.runtime.recogniser import Recogniser
from fieldmark.field.runtime.source import name_of
from fieldmark.pictures import Unusable


def explain_files(
    recogniser: Recogniser, paths: Iterable[str | Path | Unusable], folder: Path, question: Question
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Draw each picture's evidence into `folder`; yields its file name there ("" when unusable) and its row."""
    if recogniser.task.name not in EXPLAINERS:
        question.check(recogniser.classes)
    with (folder / "explain.jsonl").open("w", encoding="utf-8", errors="backslashreplace") as table:
        for number, path in enumerate(paths, start=1):
            name, row = _explain_one(recogniser, path, folder, f"{number:04d}", question)
            table.write(json.dumps({**row, "file": name or None}, ensure_ascii=False) + "\n")
            yield name, row


def _explain_one(
    recogniser: Recogniser, source: str | Path | Unusable, folder: Path, number: str, question: Question
) -> tuple[str, dict[str, Any]]:
    row: dict[str, Any] = {"path": name_of(source), "label": None, "against": question.against, "probability": None}
    path = Path(row["path"])
    try:
        if isinstance(source, Unusable):
            raise PictureError(source.reason)
        drawn, said = EXPLAINERS.get(recogniser.task.name, _explain_class)(recogniser, path, question)
    except PictureError as error:
        return "", {**row, "error": str(error)}
    name = f"{number}-{path.stem[:40]}.png"
    drawn.save(folder / name)
    return name, {**row, **said, "error": None}


def _explain_class(recogniser: Recogniser, path: Path, question: Question) -> tuple[Image.Image, dict[str, Any]]:
    data = pictures.read_bytes(path)
    found = explain_picture(recogniser, data, question)
    chances = {s.label: s.probability for s in found.prediction.labels}
    said = {"label": found.label, "probability": chances.get(found.label), **found.prediction.extra}
    told = found.telling if question == Question() else found.evidence
    return draw_overlay(pictures.decode(data), told, recogniser.preprocess), said


def _explain_region(recogniser: Recogniser, path: Path, question: Question) -> tuple[Image.Image, dict[str, Any]]:
    data = pictures.read_bytes(path)
    found = explain_region(recogniser, data, question)
    chances = {s.label: s.probability for s in found.prediction.labels}
    said = {"label": found.label, "probability": chances.get(found.label), **found.prediction.extra}
    drawn = pictures.decode(data)
    box = found.box or (0, 0, *drawn.size)
    drawn.paste(draw_overlay(drawn.crop(box), found.evidence, recogniser.preprocess), box[:2])
    if found.box is not None:
        ImageDraw.Draw(drawn).rectangle(found.box, outline=REGION_COLOUR)
    numbers = found.prediction.mask
    return drawn if numbers is None else outlined(drawn, numbers, REGION_COLOUR), said


Explain = Callable[[Recogniser, Path, Question], tuple[Image.Image, dict[str, Any]]]
EXPLAINERS: dict[str, Explain] = {
    "detect": explain_boxes,
    "segment": _explain_region,
}  # of tasks that are not explained by class evidence
