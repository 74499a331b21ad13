"""The plot of bench/results/time_to_accuracy.json: test accuracy against seconds, for each data set; and what it says,
as a table on the screen.

python -m bench.plot [FILE]         FILE: docs/pictures/time-to-accuracy.png
"""

import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib

from bench import results

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

FILE = Path(__file__).parent.parent / "docs" / "pictures" / "time-to-accuracy.png"
COLOURS = {"fieldmark": "#e66100", "fastai": "#5d3a9b", "timm": "#1a85ff", "torchvision": "#4b7f52"}
NAMES = {"fieldmark": "Fieldmark", "timm": "timm train.py", "torchvision": "torchvision tutorial"}
MINUTES = (0.5, 1, 3, 10, 30, 60)


def means(curve: list[dict[str, Any]]) -> list[tuple[float, float]]:
    """Mean minutes and accuracy over the seeds of each budget, with no setting changed."""
    groups = defaultdict(list)
    for row in curve:
        _, budget, *more = row["case"].split(":")
        if len(more) == 1:
            groups[budget].append((row["seconds"] / 60, row["accuracy"]))
    return sorted(tuple(float(v) for v in np.mean(rows, 0)) for rows in groups.values())


def verdicts(found: dict[str, Any], name: str) -> Iterator[str]:
    """A row of a Markdown table for each peer on a set: the best accuracy of any of its epochs and all its minutes, how
    soon Fieldmark is there, how many times sooner, and the best of both until 1, 3 and 10 minutes have passed."""
    ours = means(found.get(f"{name} fieldmark", {}).get("curve", []))
    for who in COLOURS:
        curve = [(row["seconds"] / 60, row["accuracy"]) for row in found.get(f"{name} {who}", {}).get("curve", [])]
        if who == "fieldmark" or not curve or not ours:
            continue
        minutes, final = curve[-1][0], max(accuracy for _, accuracy in curve)
        there = next((m for m, accuracy in ours if accuracy >= final), None)
        sooner = "never" if there is None else f"{there:.1f} min, {minutes / there:.1f} times sooner"
        at = [f"{_at(ours, m)} against {_at(curve, m)}" for m in (1, 3, 10)]
        yield f"| {name}, {NAMES.get(who, who)} | {_share(final)} in {minutes:.1f} min | {sooner} | {' | '.join(at)} |"


def _at(curve: list[tuple[float, float]], minutes: float) -> str:
    """The best accuracy that is there after so many minutes."""
    there = [accuracy for m, accuracy in curve if m <= minutes]
    return _share(max(there)) if there else "nothing"


def _share(accuracy: float) -> str:
    return f"{100 * accuracy:.1f} %"


def main(file: Path = FILE) -> None:
    found = results.read("time_to_accuracy")
    sets = sorted({key.split()[0] for key in found})
    print("| data, peer | its best epoch | Fieldmark is there | after 1 minute | 3 | 10 |\n" + "| --- " * 6 + "|")
    for name in sets:
        print(*verdicts(found, name), sep="\n")
    figure, axes = plt.subplots(1, len(sets), figsize=(5.2 * len(sets), 3.8), squeeze=False)
    for axis, name in zip(axes[0], sets, strict=True):
        for who, colour in COLOURS.items():
            curve = found.get(f"{name} {who}", {}).get("curve", [])
            line = [(row["seconds"] / 60, row["accuracy"]) for row in curve]
            if who == "fieldmark" and line:
                axis.plot(*zip(*line, strict=True), ".", color=colour, alpha=0.4)
                line = means(curve)
            if line:
                axis.plot(*zip(*line, strict=True), "o-", ms=4, color=colour, label=NAMES.get(who, who))
        axis.set_xscale("log")
        axis.set_xticks(MINUTES, [f"{m:g}" for m in MINUTES])
        axis.minorticks_off()
        axis.set(title=name, xlabel="minutes on two cores", ylabel="test accuracy")
        axis.grid(alpha=0.3)
    axes[0][-1].legend(loc="center right")
    figure.tight_layout()
    figure.savefig(file, dpi=150)
    print(file)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
