"""Labels of every kind on real pictures: several labels, a number, two classes, classes of very different sizes, bad
pictures, few pictures. Each figure is kept as it comes, with its 95 % interval; those that are there are not measured
again.

python -m bench.labels [TRIAL ...]     TRIAL: multilabel, number, two, uneven, robust, few
"""

import csv
import json
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

import numpy as np

from bench import budget, craft, data, results

OUT = Path(__file__).parent / "out" / "labels"
Kept = MutableMapping[str, Any]  # figures by name
PCB = ("tune.cut=blocks.3.2", "tune.epochs=20", "tune.views=10", "augment.size=1", "augment.flip_vertical=true")
MULTILABEL = {
    "linear head": ("tune.stages=",),
    "crop 0.35": (*PCB, "augment.crop=0.35"),
    "crop 0.7": (*PCB, "augment.crop=0.7"),
    "no crop": (*PCB, "augment.crop=1"),
    "no crop, asymmetric": (*PCB, "augment.crop=1", "loss.name=asymmetric"),
    "no crop, 448 px": (*PCB, "augment.crop=1", "picture.size=448"),
    "no crop, 608 px": (*PCB, "augment.crop=1", "picture.size=608"),
    "no crop, 608 px, gem": (*PCB, "augment.crop=1", "picture.size=608", "model.head=gem"),
    "no crop, 608 px, additive": (*PCB, "augment.crop=1", "picture.size=608", "model.head=additive"),
}
UNEVEN = ("none", "weights", "sampling", "adjust", "focal")
UNEVEN_SEEDS = 3
RESAMPLES = 1_000
UNEVEN_LARGEST, UNEVEN_RATIO = 30, 15  # pictures of the first class, and how many times fewer the last one has
COUNTS = (1, 2, 5, 10, 0)  # pictures a class; 0: all
FEW_STEPS = 300


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as stream:
        return [{**row, "path": str((table.parent / row["path"]).resolve())} for row in csv.DictReader(stream)]


def write_table(name: str, rows: list[dict[str, str]]) -> str:
    OUT.mkdir(parents=True, exist_ok=True)
    place = OUT / f"{name}.csv"
    with place.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return str(place)


def trained(table: str, seed: int, *settings: str) -> dict[str, Any]:
    """The scores of one training; cached features serve all trials. Its run is left in OUT/run."""
    shutil.rmtree(OUT / "run", ignore_errors=True)
    settings = ("tune.patience=0", "bundle.occlusions=0", *settings)
    return budget.train(table, OUT / "run", str(OUT / "cache"), "--seed", str(seed), settings=settings)


def shown(scores: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: scores[key] for name in keys for key in (name, f"{name}_ci") if key in scores}


def multilabel(found: Kept) -> None:
    """DeepPCB: 220 training, 40 validation, 100 test pictures of circuit boards, six kinds of defects."""
    table = data.folder("deeppcb_multilabel") / "labels.csv"
    found["majority"] = majority(rows_of(table))
    for name, settings in MULTILABEL.items():
        if name not in found:
            scores = trained(str(table), 0, *settings)
            told = shown(scores["test"], "map", "micro_f1", "macro_f1", "subset_accuracy")
            found[name] = {**told, "val_map": scores["val"]["map"], "comparison": comparison()}


def comparison() -> dict[str, Any] | None:
    """What the last training's bundle says of the linear head beside it, on the same test pictures; None where that was
    kept."""
    facts = json.loads((OUT / "run" / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    found: dict[str, Any] | None = facts.get("comparison")
    return found


def majority(rows: list[dict[str, str]]) -> dict[str, Any]:
    """What naming the labels that most training pictures have would score on the test part."""
    from sklearn.metrics import f1_score

    from fieldmark.field.evaluate.intervals import mean_interval

    labels = sorted({label for row in rows for label in row["labels"].split(";")} - {""})
    truth = {part: has(rows, part, labels) for part in ("train", "test")}
    said = np.broadcast_to(truth["train"].mean(0) > 0.5, truth["test"].shape)
    exact = (said == truth["test"]).all(1)
    return {
        "map": float(truth["test"].mean(0).mean()),
        **{
            f"{way}_f1": float(f1_score(truth["test"], said, average=way, zero_division=0))
            for way in ("micro", "macro")
        },
        "subset_accuracy": float(exact.mean()),
        "subset_accuracy_ci": mean_interval(exact),
    }


def has(rows: list[dict[str, str]], part: str, labels: list[str]) -> Any:
    return np.array([[label in row["labels"].split(";") for label in labels] for row in rows if row["split"] == part])


def number(found: Kept) -> None:
    """The bird's height in the field guide, as a share of the picture's."""
    from PIL import Image

    from fieldmark.data import open_data

    index, rows = open_data("field-guide"), []
    for sample in index.samples:
        heights = np.flatnonzero((np.asarray(Image.open(sample.mask.path)) > 0).any(1))
        target = (heights[-1] - heights[0] + 1) / 384
        rows.append({"path": str(sample.path), "target": f"{target:.4f}", "split": str(sample.split)})
    table = write_table("birds", rows)
    tuned = ("tune.cut=blocks.3.2", "tune.epochs=20", "tune.views=8")
    for name, settings in {
        "linear head": ("tune.stages=",),
        "tuned": tuned,
        "tuned, crop": (*tuned, "augment.crop=0.35"),
    }.items():
        if name not in found:
            scores = trained(table, 0, *settings)["test"]
            found[name] = shown(scores, "mae", "rmse", "r2", "baseline_mae", "within_interval")


def two(found: Kept) -> None:
    """Magnetic tiles: a defect or none, and the rates at three wishes."""
    rows = [
        {"path": r["path"], "label": "free" if r["label"] == "free" else "defect", "split": r["split"]}
        for r in rows_of(data.folder("magnetic_tile") / "labels.csv")
    ]
    table = write_table("tiles", rows)
    settings = ("tune.cut=blocks.4.2", "tune.epochs=20", "tune.views=10", "augment.size=1", "decide.positive=defect")
    for wish in (0.0, 0.9, 0.95, 0.99):
        if (name := f"sensitivity {wish}") not in found:
            scores = trained(table, 0, *settings, f"decide.sensitivity={wish}")
            keys = ("accuracy", "roc_auc", "pr_auc", "sensitivity", "specificity", "threshold")
            found[name] = {part: shown(scores[part], *keys) for part in ("val", "test")}


def uneven(found: Kept) -> None:
    """Grocery Store with a long tail: class number k of 81, in an order of its own seed, keeps at most 30 · 15^(-k/80)
    training pictures ("auto" chooses "adjust" for these). Three seeds, no label smoothing, which focal has not; macro
    F1, and its paired difference to plain cross-entropy, seeds and test pictures resampled together."""
    rows = rows_of(data.folder("grocery") / "labels.csv")
    table, said = write_table("tail", long_tail(rows)), {}
    shared = (*craft.BASE["grocery"], "tune.epochs=8", "probe.on=false", "regularise.label_smoothing=0")
    for treatment in UNEVEN:
        named = ("loss.name=focal", "loss.imbalance=none") if treatment == "focal" else (f"loss.imbalance={treatment}",)
        for seed in range(UNEVEN_SEEDS):
            name, answered = f"{treatment}, seed {seed}", OUT / f"uneven-{treatment}-{seed}.npy"
            if name not in found or not answered.exists():
                scores = trained(table, seed, *shared, *named)["test"]
                np.save(answered, answers(table))
                found[name] = shown(scores, "macro_f1", "accuracy")
            truth, said[treatment, seed] = np.load(answered)
    for treatment in UNEVEN[1:]:
        pairs = [(said[treatment, seed], said["none", seed]) for seed in range(UNEVEN_SEEDS)]
        found[f"{treatment} minus none, macro F1"] = f1_difference(truth, pairs)


def answers(table: str) -> tuple[Any, Any]:
    """The true and the named class of every test picture of the last training, as numbers."""
    from fieldmark import load
    from fieldmark.data import open_data

    recogniser = load(OUT / "run")
    number = {name: i for i, name in enumerate(recogniser.classes)}
    samples = open_data(table).part("test")
    named = [number[p.label] for p in recogniser.predict([s.path for s in samples])]
    return np.array([number[s.label] for s in samples]), np.array(named)


def f1_difference(truth: Any, pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    """The mean over seeds of the difference in macro F1, and its interval by bootstrap over seeds and pictures."""
    from sklearn.metrics import f1_score

    named = {"labels": np.unique(truth), "average": "macro", "zero_division": 0}

    def differences(rows: Any) -> Any:
        scored = [[f1_score(truth[rows], p[rows], **named) for p in pair] for pair in pairs]
        return np.array([one - other for one, other in scored])

    rng, n, drawn = np.random.default_rng(0), len(truth), []
    for _ in range(RESAMPLES):
        each = differences(rng.integers(0, n, n))
        drawn.append(each[rng.integers(0, len(pairs), len(pairs))].mean())
    each = differences(np.arange(n))
    ci = np.quantile(drawn, [0.025, 0.975]).tolist()
    return {"difference": float(each.mean()), "each seed": each.tolist(), "ci": ci}


def long_tail(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    rng = np.random.default_rng(0)
    classes = sorted({r["label"] for r in rows})
    order = {classes[c]: k for k, c in enumerate(rng.permutation(len(classes)))}
    by_class = defaultdict(list)
    for row in rows:
        if row["split"] == "train":
            by_class[row["label"]].append(row)
    chosen = [r for r in rows if r["split"] != "train"]
    for label, there in by_class.items():
        most = UNEVEN_LARGEST * UNEVEN_RATIO ** (-order[label] / (len(classes) - 1))
        chosen += [there[i] for i in rng.permutation(len(there))[: max(1, round(most))]]
    return chosen


def few(found: Kept) -> None:
    """Grocery Store with 1, 2, 5, 10 training pictures a class, and all, none of them for validation: 300 steps, and
    the linear head beside them on the same 1,000 test pictures."""
    rows = [row for row in rows_of(data.folder("grocery") / "labels.csv") if row["split"] != "val"]
    for count in COUNTS:
        for seed in range(3):
            if (name := f"{count or 'all'} a class, seed {seed}") in found:
                continue
            rng, seen, chosen = np.random.default_rng(seed), defaultdict(int), []
            for row in (rows[i] for i in rng.permutation(len(rows))):
                seen[row["label"]] += row["split"] == "train"
                if row["split"] != "train" or not count or seen[row["label"]] <= count:
                    chosen.append(row)
            table = write_table("few", chosen)
            n = sum(row["split"] == "train" for row in chosen)
            settings = ("tune.cut=blocks.4.2", "tune.views=8", "augment.size=0.78", f"tune.epochs={FEW_STEPS * 32 / n}")
            scores = trained(table, seed, "data.val=none", *settings)["test"]
            found[name] = shown(scores, "accuracy", "coarse_accuracy") | {"comparison": comparison()}


def robust(found: Kept) -> None:
    """Grocery Store's test pictures made worse at three strengths, 500 of them, by a recogniser trained without and one
    trained with the matching augmentation, a training for each kind. Intervals are over pictures, not over trainings;
    strength 0 shows what the augmentation costs."""
    from fieldmark import load
    from fieldmark.field.evaluate.intervals import mean_interval, paired_interval

    rows = rows_of(data.folder("grocery") / "labels.csv")
    tested = [r for r in rows if r["split"] == "test"]
    tested = [tested[i] for i in np.random.default_rng(0).permutation(len(tested))[:500]]
    table = str(data.folder("grocery") / "labels.csv")

    def right(make: Any, strength: float) -> Any:
        pictures = (spoiled(r["path"], make, strength, i) for i, r in enumerate(tested))
        return np.array([p.label == r["label"] for p, r in zip(recogniser.predict(pictures), tested, strict=True)])

    trained(table, 0, *craft.BASE["grocery"])
    recogniser = load(OUT / "run")
    without = {(worse, s): right(make, s) for worse, (make, strengths, _) in CORRUPTIONS.items() for s in strengths}
    for worse, (make, strengths, setting) in CORRUPTIONS.items():
        if all(f"{worse} {strength}" in found for strength in strengths):
            continue
        trained(table, 0, *craft.BASE["grocery"], setting)
        recogniser = load(OUT / "run")
        for strength in strengths:
            before, after = without[worse, strength], right(make, strength)
            both = {
                name: {"accuracy": float(each.mean()), "ci": mean_interval(each)}
                for name, each in (("without", before), ("with", after))
            }
            found[f"{worse} {strength}"] = both | {"gain_ci": paired_interval(after, before)}


def spoiled(path: str, make: Any, strength: float, seed: int) -> Any:
    from PIL import Image

    return make(Image.open(path).convert("RGB"), np.random.default_rng(seed), strength)


def _noise(image: Any, rng: Any, strength: float) -> Any:
    from PIL import Image

    values = np.asarray(image, np.float32)
    return Image.fromarray(np.clip(values + rng.normal(0, strength, values.shape), 0, 255).astype(np.uint8))


def _blur(image: Any, rng: Any, strength: float) -> Any:
    from PIL import ImageFilter

    return image.filter(ImageFilter.GaussianBlur(strength))


def _turn(image: Any, rng: Any, strength: float) -> Any:
    return image.rotate(float(rng.choice((-1, 1))) * strength, resample=2, fillcolor=(128, 128, 128))


def _dim(image: Any, rng: Any, strength: float) -> Any:
    from PIL import ImageEnhance

    return ImageEnhance.Brightness(image).enhance(1 - strength)


CORRUPTIONS = {
    "noise, of 255": (_noise, (0, 6, 12, 24), "augment.noise=0.5"),
    "blur, pixels": (_blur, (0, 0.75, 1.5, 3), "augment.blur=0.5"),
    "rotation, degrees": (_turn, (0, 10, 25, 45), "augment.rotate=30"),
    "darker by": (_dim, (0, 0.3, 0.5, 0.7), "augment.colour=0.4"),
}

TRIALS: dict[str, Callable[[Kept], None]] = {
    "multilabel": multilabel,
    "number": number,
    "two": two,
    "uneven": uneven,
    "robust": robust,
    "few": few,
}


def main(trials: list[str]) -> None:
    failed = []
    for name in trials or TRIALS:
        try:
            TRIALS[name](Figures(name))
        except SystemExit as error:
            failed.append(f"{name}: {error}")
    if failed:
        sys.exit("\n".join(failed))


class Figures(dict[str, Any]):
    """Those of a trial, kept in `bench/results/labels.json` as they come."""

    def __init__(self, trial: str) -> None:
        super().__init__(results.read("labels").get(trial, {}))
        self.trial = trial

    def __setitem__(self, name: str, figure: Any) -> None:
        super().__setitem__(name, figure)
        results.write("labels", results.read("labels") | {self.trial: dict(self)})


if __name__ == "__main__":
    main(sys.argv[1:])
