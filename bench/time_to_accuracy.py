"""Test accuracy against wall-clock: Fieldmark beside fastai, timm's train script and torchvision's tutorial, all on
tf_efficientnet_lite0 with the same weights, each peer in its own environment, as its own documentation tells a user.

python -m bench.time_to_accuracy DATA [WHO ...]

DATA: a set of `bench.budget`; WHO: fastai, timm, torchvision, fieldmark, or one point of it as BUDGET:SEED (3m:0).
timm's scripts are not in its package: TIMM_SCRIPTS names a checkout of its repository. A peer's clock runs from the
start of its process to the end of each epoch with its validation; its weights are scored on the test part afterwards.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from bench import budget, machine, results

NAME = "tf_efficientnet_lite0"
HERE = Path(__file__).parent
OUT = HERE / "out" / "time_to_accuracy"
PACKAGES = {
    "fastai": ["fastai", "timm"],
    "timm": ["timm", "torch", "torchvision"],
    "torchvision": ["timm", "torch", "torchvision"],
}
BUDGETS = {"grocery": ("1m", "3m", "10m"), "magnetic-tile": ("30s", "1m", "3m", "10m")}
SEEDS = (0, 1, 2)
TIMM_EPOCHS = 10


def folders(name: str) -> Path:
    """The data as train, val, test with a folder for each class, of links."""
    place = OUT / name / "data"
    if not (place / "classes.txt").is_file():  # written last
        shutil.rmtree(place, ignore_errors=True)
        from fieldmark.data import open_data

        samples = open_data(budget.SETS[name]()).samples
        classes = sorted({s.label for s in samples})
        for label in classes:
            for part in ("train", "val", "test"):
                (place / part / label).mkdir(parents=True, exist_ok=True)
        for number, sample in enumerate(samples):
            link = place / str(sample.split) / sample.label / f"{number:05d}{sample.path.suffix}"
            link.symlink_to(sample.path.resolve())
        (place / "classes.txt").write_text("\n".join(classes) + "\n", encoding="utf-8")
    return place


def weights() -> Path:
    """The embedded weights under timm's names."""
    file = OUT / f"{NAME}.safetensors"
    if not file.exists():
        import timm
        from safetensors.torch import save_file

        from fieldmark.workshop.models.weights import from_embedded

        file.parent.mkdir(parents=True, exist_ok=True)
        state = from_embedded(NAME, timm.create_model(NAME).state_dict())
        save_file({key: value.contiguous() for key, value in state.items()}, file)
    return file


def environment(who: str, packages: Sequence[str] = ()) -> Path:
    """The Python of a peer's own environment, made with `packages` or those of `PACKAGES`."""
    place = OUT / "environments" / who
    if not (place / "bin" / "python").exists():
        uv = str(Path(sys.executable).parent / "uv")
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(place)], check=True)
        wanted = packages or PACKAGES[who]
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(place / "bin/python"), *wanted], check=True)
    return place / "bin" / "python"


def run_script(who: str, name: str) -> list[dict[str, float]]:
    """The curve of a peer that is a script here."""
    out = OUT / name / who
    shutil.rmtree(out, ignore_errors=True)
    command = [environment(who), HERE / "peers" / f"run_{who}.py", folders(name), weights(), out]
    subprocess.run([str(word) for word in command], check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    found: list[dict[str, float]] = json.loads((out / "curve.json").read_text(encoding="utf-8"))
    return found


def run_timm(name: str) -> list[dict[str, float]]:
    """The curve of timm's train script; its checkpoints, scored by its validation script."""
    python, scripts, place = environment("timm"), Path(os.environ["TIMM_SCRIPTS"]), folders(name)
    out = OUT / name / "timm"
    shutil.rmtree(out, ignore_errors=True)
    classes = len((place / "classes.txt").read_text(encoding="utf-8").splitlines())
    known = ["--data-dir", place, "--class-map", place / "classes.txt", "--model", NAME, "--num-classes", classes]
    known += ["--device", "cpu", "--workers", 2]
    train = ["--train-split", "train", "--val-split", "val", "--pretrained", "--pretrained-path", weights()]
    train += ["--opt", "adamw", "--lr", "3e-4", "--layer-decay", "0.75", "--epochs", TIMM_EPOCHS]
    train += ["--output", out, "--experiment", "run", "--checkpoint-hist", TIMM_EPOCHS]
    began = time.time()
    subprocess.run([str(word) for word in (python, scripts / "train.py", *known, *train)], check=True)
    rows = []
    for epoch in range(TIMM_EPOCHS):
        state = out / "run" / f"checkpoint-{epoch}.pth.tar"
        score = out / f"{epoch}.json"
        words = ["--split", "test", "--checkpoint", state, "--results-file", score, "--results-format", "json"]
        subprocess.run([str(word) for word in (python, scripts / "validate.py", *known, *words)], check=True)
        accuracy = json.loads(score.read_text(encoding="utf-8"))["top1"] / 100
        rows.append({"epoch": epoch + 1, "seconds": state.stat().st_mtime - began, "accuracy": accuracy})
    return rows


def fieldmark_point(case: str) -> dict[str, Any]:
    """Fieldmark within a budget."""
    found = budget.run(case)
    keys = ("seconds", "accuracy", "accuracy_ci", "coarse_accuracy", "coarse_accuracy_ci", "stages")
    return {"case": case, "machine": machine.facts(), **{k: found[k] for k in keys if k in found}}


def peer(who: str, name: str) -> dict[str, Any]:
    """A peer's curve, its versions and the machine."""
    curve = run_timm(name) if who == "timm" else run_script(who, name)
    made: dict[str, Any] = {"curve": curve, "versions": versions(who), "machine": machine.facts()}
    if who == "timm":
        made["train.py"] = sha256((Path(os.environ["TIMM_SCRIPTS"]) / "train.py").read_bytes()).hexdigest()
    return made


def versions(who: str) -> dict[str, str]:
    uv = str(Path(sys.executable).parent / "uv")
    listed = subprocess.run(
        [uv, "pip", "list", "--format", "json", "--python", str(environment(who))],
        check=True,
        capture_output=True,
        text=True,
    )
    wanted = ("fastai", "timm", "torch", "torchvision")
    return {row["name"]: row["version"] for row in json.loads(listed.stdout) if row["name"] in wanted}


def main(name: str, *who: str) -> None:
    points = [f"{time_}:{seed}" for seed in SEEDS for time_ in BUDGETS[name]]
    wanted = [word for one in who or ("fieldmark", *PACKAGES) for word in (points if one == "fieldmark" else [one])]
    for word in wanted:
        if word in PACKAGES:
            keep(f"{name} {word}", peer(word, name))
        else:
            row = fieldmark_point(f"{name}:{word}")
            known = results.read("time_to_accuracy").get(f"{name} fieldmark", {"curve": []})["curve"]
            others = [r for r in known if r["case"] != row["case"]]
            keep(f"{name} fieldmark", {"curve": sorted([*others, row], key=lambda r: r["case"])})


def keep(key: str, entry: dict[str, Any]) -> None:
    found = results.read("time_to_accuracy")  # only now: others may have written meanwhile
    found[key] = entry
    results.write("time_to_accuracy", found)


if __name__ == "__main__":
    main(*sys.argv[1:])
