"""Small networks from scratch on small pictures, each as a user trains it, and how soon: accuracy, seconds, parameters.

python -m bench.zoo [SET ...]            every network on these sets (all of them), dense beside convolutional
python -m bench.zoo SET NETWORK ...      some networks on one set
python -m bench.zoo loops [SET ...]      seconds beside the plain loop of tutorials, on two cores (fashion-mnist)
python -m bench.zoo table                docs/zoo.md from what was measured

Figures go to `bench/results/zoo.json` as they come.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench import budget, results, small_sets, zoo_table

OUT = Path(__file__).parent / "out" / "zoo"
SMALL = ("mlp", "lenet5", "mnistnet", "attentionnet", "rownet", "convnet", "poolnet", "attentioncnn")
NETWORKS = {
    "fashion-mnist": SMALL,
    "mnist-5k": SMALL,
    "digits": SMALL,
    "grocery-32": (*SMALL, "resnet18"),
}
UPRIGHT = ("augment.flip=false",)  # digits are other ones in the mirror
DENSE = "mlp"
SETTINGS = {
    "fashion-mnist": ("tune.epochs=15", "data.val=0.05"),
    "mnist-5k": ("tune.epochs=30", "data.val=0.05", *UPRIGHT),
    "digits": ("tune.epochs=60", *UPRIGHT),
    "grocery-32": ("tune.epochs=40", "picture.size=32"),
}
FEWER = {("fashion-mnist", "attentioncnn"): 5, ("grocery-32", "resnet18"): 15}  # epochs where more would take long
AS_THEY_ARE = ("augment.crop=1", "augment.flip=false")  # like the plain loop
LOOPS = ("mnistnet", "lenet5")
LADDER = (2, 3, 4, 5, 6, 8, 10)  # epochs, until the plain loop's accuracy is reached
CORES, SEEDS = 2, 3


def measure(name: str, network: str, *settings: str, seed: int = 0) -> dict[str, Any]:
    """One training from an empty cache: scores, seconds of the process and of its steps, parameters."""
    place = OUT / f"{name}-{network}"
    shutil.rmtree(place, ignore_errors=True)
    with tempfile.TemporaryDirectory() as cache:
        begun = time.perf_counter()
        words = ("--backbone", network, "--recipe", "scratch", "--seed", str(seed))
        table, settings = str(small_sets.folder(name) / "labels.csv"), ("tune.patience=0", *settings)
        scores = budget.train(table, place, cache, *words, settings=settings)
        seconds = time.perf_counter() - begun
    facts = json.loads((place / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    log = [json.loads(line) for line in (place / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = {event["name"]: event["took"] for event in log if event["event"] == "step"}
    features = facts["outputs"]["embedding"][0]
    return {
        **{key: scores["test"][key] for key in ("n", "accuracy", "accuracy_ci")},
        "seconds": round(seconds, 1),
        "training_s": round(steps["training full"], 1),
        "reading_s": round(steps["reading the pictures"], 1),
        "parameters": facts["backbone"]["parameters"] + (features + 1) * len(facts["classes"]),
        "side": facts["preprocess"]["size_wh"][0],
        "form": facts["backbone"]["form"],
        "epochs": facts["recipe"]["tune"]["epochs"],
        "batch": facts["recipe"]["tune"]["batch"],
    }


def zoo(names: list[str], networks: list[str]) -> None:
    """Every network on every set."""
    for name in names:
        for network in networks or NETWORKS[name]:
            fewer = FEWER.get((name, network))
            settings = [*SETTINGS[name], *([f"tune.epochs={fewer}"] if fewer else [])]
            results.keep("zoo", f"{name} {network}", measure(name, network, *settings))
        if not networks:
            results.keep("zoo", f"dense {name}", dense(name))


def dense(name: str) -> dict[str, Any]:
    """The best convolutional network on a set beside the dense one, on the same test pictures."""
    from fieldmark import load
    from fieldmark.data import open_data
    from fieldmark.field.evaluate.intervals import paired_interval

    found, samples = results.read("zoo"), open_data(str(small_sets.folder(name) / "labels.csv")).part("test")
    best = max(set(NETWORKS[name]) - {DENSE, "rownet"}, key=lambda network: found[f"{name} {network}"]["accuracy"])
    right = {
        network: np.array([p.label == s.label for p, s in zip(recogniser.predict(paths), samples, strict=True)])
        for paths in [[s.path for s in samples]]
        for network, recogniser in ((n, load(OUT / f"{name}-{n}")) for n in (best, DENSE))
    }
    difference = float(right[best].mean() - right[DENSE].mean())
    return {"best": best, "difference": difference, "ci": paired_interval(right[best], right[DENSE])}


def loops(names: list[str]) -> None:
    """The plain loop, then ever longer trainings until they are as accurate as the loop at its end, each on average
    over three seeds; all on two cores, one after the other. The loop loads by itself or by two processes, whichever is
    quicker; its seconds are those of its first epoch that was as accurate as its last, without its looks at the test
    part."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    for name in names or ["fashion-mnist"]:
        for network in LOOPS:
            first = {workers: _plain(name, network, workers, 0) for workers in (0, CORES)}
            workers = min(first, key=lambda n: first[n]["curve"][-1]["seconds"])
            plain = _mean([first[workers], *(_plain(name, network, workers, seed) for seed in range(1, SEEDS))])
            rows, final = [], plain["curve"][-1]["accuracy"]
            there = next(row for row in plain["curve"] if row["accuracy"] >= final)
            told = {"workers": workers, "seeds": SEEDS, "plain": plain, "plain_s": there["seconds"]}
            results.keep("zoo", f"loop {name} {network}", told)
            for epochs in LADDER:
                words = (*AS_THEY_ARE, "data.val=0.05", f"tune.epochs={epochs}")
                last = _mean([measure(name, network, *words, seed=seed) for seed in range(SEEDS)])
                rows.append(last)
                reached = last["accuracy"] >= final
                later = plain["curve"][-1]["seconds"] - there["seconds"] + plain["curve"][-1]["tested_s"]
                ratios = {
                    "ratio": there["seconds"] / last["training_s"],
                    "ratio_with_reading": there["seconds"] / (last["training_s"] + last["reading_s"]),
                    "ratio_of_processes": (plain["seconds"] - later) / last["seconds"],
                }
                results.keep("zoo", f"loop {name} {network}", {**told, "fieldmark": rows, "reached": reached, **ratios})
                if reached:
                    break


def _mean(values: list[Any]) -> Any:
    """The mean of numbers, place by place in what holds them; of what is no number the first."""
    if isinstance(values[0], dict):
        return {key: _mean([value[key] for value in values]) for key in values[0]}
    if isinstance(values[0], list):
        return [_mean(list(places)) for places in zip(*values, strict=True)]
    return sum(values) / len(values) if isinstance(values[0], (int, float)) else values[0]


def _plain(name: str, network: str, workers: int, seed: int) -> dict[str, Any]:
    """Epochs of the plain loop, in a process of its own."""
    begun = time.perf_counter()
    words = (str(small_sets.folder(name)), network, str(workers), str(seed))
    command = [sys.executable, "-m", "bench.plain_loop", *words]
    curve = budget.answer(command)
    return {"seconds": time.perf_counter() - begun, "curve": curve}


def main(words: list[str]) -> None:
    if words[:1] == ["loops"]:
        loops(words[1:])
    elif words[:1] != ["table"]:
        names = [word for word in words if word in NETWORKS] or list(NETWORKS)
        zoo(names, [word for word in words if word not in NETWORKS])
    zoo_table.write(results.read("zoo"))


if __name__ == "__main__":
    main(sys.argv[1:])
