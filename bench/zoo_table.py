"""`docs/zoo.md` from the figures of `bench.zoo`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "zoo.md"
HEAD = """# Small networks, measured

`python -m bench.zoo` trains each network from scratch (`--backbone NAME --recipe scratch`, with the number of epochs
below; digits are not mirrored, and of the first three sets 5, 5 and 15 % of the training part are held out for
validation), and writes this page. Accuracy is that of the test part, with its 95 % interval; seconds are those of the
whole process, of which training steps are in brackets; machine and versions are in `bench/results/zoo.json`.
"""
SETS = {
    "fashion-mnist": "Fashion-MNIST: 60,000 and 10,000 grey pictures of garments, 28², ten classes",
    "mnist-5k": "Handwritten digits of MNIST: 4,000 and 1,000, 28²",
    "digits": "Handwritten digits of scikit-learn: 1,437 and 360, 8²",
    "grocery-32": "Grocery Store at 32² in colour: 2,640, 296 for validation, and 2,485 photographs, 81 classes",
}
LOOP_HEAD = """## Beside the plain loop

The loop that tutorials show (`bench/plain_loop.py`: batches of 64, Adam at 1e-3, a DataLoader with ToTensor and
Normalize over pictures in memory, by itself or by two processes, whichever is quicker, float32) for ten epochs, up to
the first one that is as accurate as the last, and the shortest Fieldmark run that is as accurate at its end; means over
three seeds, on two cores, one after the other, in one script (`python -m bench.zoo loops`). The ratio is that of
seconds in training steps; the last one, of whole processes, counts imports, reading 70,000 PNG files, export, scores
and report as well, of which the loop has the first two. The loop's looks at the test part, and its epochs after that
first one, are not counted.

| set, network | plain loop | Fieldmark | ratio | with reading | of processes |
| --- | --- | --- | --- | --- | --- |
"""


def write(found: Mapping[str, Any]) -> None:
    """Write the page."""
    PAGE.write_text("\n".join(_lines(found)) + "\n", encoding="utf-8")


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield HEAD
    for name, title in SETS.items():
        rows = {key.split()[1]: row for key, row in found.items() if key.split()[0] == name}
        if rows:
            yield f"## {title}\n"
            yield "| network | accuracy | seconds | parameters | input | epochs, batch |"
            yield "| --- | --- | --- | --- | --- | --- |"
            yield from (_row(network, row) for network, row in rows.items())
            yield ""
        if between := found.get(f"dense {name}"):
            low, high = between["ci"]
            yield (
                f"Convolutions beside dense layers: `{between['best']}` has {100 * between['difference']:+.2f} points "
                f"[{100 * low:+.2f}, {100 * high:+.2f}] more of the same pictures right than `mlp`.\n"
            )
    loops = {key.split(" ", 1)[1]: row for key, row in found.items() if key.startswith("loop ") and "ratio" in row}
    if loops:
        yield LOOP_HEAD + "\n".join(_loop(name, row) for name, row in loops.items())


def _row(network: str, row: Mapping[str, Any]) -> str:
    low, high = row["accuracy_ci"]
    cells = (
        f"`{network}`" + (" (small-input form)" if row["form"] else ""),
        f"{100 * row['accuracy']:.2f} % [{100 * low:.2f}, {100 * high:.2f}]",
        f"{row['seconds']:.0f} ({row['training_s']:.0f})",
        f"{row['parameters']:,}",
        f"{row['side']}²",
        f"{row['epochs']:.0f}, {row['batch']}",
    )
    return f"| {' | '.join(cells)} |"


def _loop(name: str, row: Mapping[str, Any]) -> str:
    plain, ours = row["plain"]["curve"][-1], row["fieldmark"][-1]
    data, network = name.split()
    if not row["reached"]:
        told = f"not reached: {100 * ours['accuracy']:.2f} % after {ours['epochs']:.0f} epochs"
        return f"| {data}, `{network}` | {100 * plain['accuracy']:.2f} % in {row['plain_s']:.0f} s | {told} | | | |"
    return (
        f"| {data}, `{network}` | {100 * plain['accuracy']:.2f} % in {row['plain_s']:.0f} s | "
        f"{100 * ours['accuracy']:.2f} % in {ours['training_s']:.1f} s, {ours['epochs']:.0f} epochs | "
        f"{row['ratio']:.1f} | {row['ratio_with_reading']:.1f} | {row['ratio_of_processes']:.1f} |"
    )
