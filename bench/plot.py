"""The plot of bench/results/time_to_accuracy.json: test accuracy against seconds, for each data set.

python -m bench.plot [FILE]         FILE: docs/pictures/time-to-accuracy.png
"""

import sys
from collections import defaultdict
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
    """Mean minutes and accuracy over the seeds of each budget."""
    groups = defaultdict(list)
    for row in curve:
        groups[row["case"].split(":")[1]].append((row["seconds"] / 60, row["accuracy"]))
    return sorted(tuple(float(v) for v in np.mean(rows, 0)) for rows in groups.values())


def main(file: Path = FILE) -> None:
    found = results.read("time_to_accuracy")
    sets = sorted({key.split()[0] for key in found})
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
    axes[0][0].legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(file, dpi=150)
    print(file)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
