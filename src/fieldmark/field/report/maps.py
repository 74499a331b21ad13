"""What the report says of the maps: deletion, insertion and the pointing game in words, curves and a table."""

from collections.abc import Mapping
from typing import Any

from . import charts
from .words import mapping, number, percent

Values = dict[str, Any]
ORDER_WORDS = {"map": "the map", "random": "chance", "centre": "from the centre outwards"}
BASELINE_WORDS = {"random": "chance", "centre": "the order from the centre outwards"}
BETTER = "better"
GAME_WORDS = {
    "deletion": ("Deletion", "the most important cells are blurred first: the lower the curve, the better the map"),
    "insertion": ("Insertion", "the most important cells are shown first: the higher the curve, the better the map"),
}


def map_check(found: Mapping[str, Any] | None) -> Values | None:
    """The section's values from what `check_maps` measured; None where nothing was."""
    if not found:
        return None
    values: Values = {"sentences": [], "charts": [], "rows": [], "games": [w for w, _ in GAME_WORDS.values()]}
    curves = mapping(found.get("faithfulness"))
    if curves:
        values["sentences"].append(_verdict(curves))
        for game, (name, words) in GAME_WORDS.items():
            lines = [(ORDER_WORDS[order], curve) for order, curve in curves[game]["curves"].items()]
            values["charts"].append((charts.share_chart(lines, name), f"{name}: {words}."))
        values["rows"] = [_row(order, curves) for order in ORDER_WORDS]
    pointing = mapping(found.get("pointing"))
    if pointing:
        values["sentences"].append(_pointing(pointing))
    return values


def _verdict(curves: Mapping[str, Any]) -> str:
    """Whether the map beats both baselines in both games, by intervals; where not, how each game ended."""
    ended = {order: [_against(curves, game, order) for game in GAME_WORDS] for order in BASELINE_WORDS}
    if all(word == BETTER for words in ended.values() for word in words):
        said = (
            "Yes: blurring the cells that the map names first destroys the answer sooner, and showing them first "
            "restores it sooner, than doing so at random or from the centre outwards"
        )
    else:
        told = (
            f"{name}, {' and '.join(f'{word} in {game}' for game, word in zip(GAME_WORDS, ended[order], strict=True))}"
            for order, name in BASELINE_WORDS.items()
        )
        said = f"Not surely: on these pictures the map is, beside {'; beside '.join(told)}"
    return f"{said} ({number(curves['n'])} pictures, paired bootstrap)."


def _against(curves: Mapping[str, Any], game: str, order: str) -> str:
    """How a game ended against a baseline: the lower the better in deletion, the higher in insertion."""
    low, high = curves[game][f"map_minus_{order}_ci"]
    if low <= 0 <= high:
        return "not clearly different"
    return BETTER if (high < 0) == (game == "deletion") else "worse"


def _row(order: str, curves: Mapping[str, Any]) -> Values:
    cells = []
    for game in GAME_WORDS:
        between = curves[game].get(f"map_minus_{order}_ci")
        more = f" ({between[0]:+.3f} to {between[1]:+.3f})" if between else ""
        cells.append(f"{curves[game][order]:.3f}{more}")
    return {"name": ORDER_WORDS[order], "cells": cells}


def _pointing(found: Mapping[str, Any]) -> str:
    low, high = found["evidence_ci"]
    told = (
        f"The cell with the strongest evidence touches a telling mark in {percent(found['evidence'])} of "
        f"{number(found['n'])} pictures ({percent(low)} to {percent(high)}); a cell at random would in "
        f"{percent(found['chance'])}."
    )
    if "occlusion" in found:
        low, high = found["occlusion_ci"]
        told += (
            " The cell whose covering is foreseen to take most from the answer, which is what the maps show, does in "
            f"{percent(found['occlusion'])} ({percent(low)} to {percent(high)})."
        )
    if "attention" in found:
        low, high = found["attention_ci"]
        told += f" The attention's peak does in {percent(found['attention'])} ({percent(low)} to {percent(high)})."
    return told
