"""The first stage: features of a frozen backbone, computed once, and a regularised linear head on them."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fieldmark.data.index import Skipped
from fieldmark.errors import DataError, PictureError
from fieldmark.field.runtime import Engine, cores
from fieldmark.files import sha256
from fieldmark.pictures import load
from fieldmark.types import Preprocess, Sample
from fieldmark.workshop.learn import OnLogits
from fieldmark.workshop.learn.linear import (
    Choice,
    LinearHead,
    Sums,
    cross_validate,
    linear_head,
    signed_power,
    total,
)
from fieldmark.workshop.models import BaseNetwork, Network
from fieldmark.workshop.recipe import Recipe
from fieldmark.workshop.train import augment
from fieldmark.workshop.train.cache import Digest, FeatureCache, digests, fill
from fieldmark.workshop.train.guide import NO_GUIDE, Guide
from fieldmark.workshop.train.journal import Journal

CHUNK_ROWS = 4096
WANTED_VIEWS = 4_000  # training views in all that a linear head is fitted on, where the set is small
MAX_VIEWS = 8
SMALL_SIDE = 32  # pixels; a JPEG is decoded no larger than needed
Look = Callable[[int], tuple[Engine, Preprocess]]
NOT_OF_A_VIEW = ("mixup", "mixup_alpha", "cutmix", "guided")  # of a batch, or of views with a place


@dataclass
class Usable:
    """The samples that can be used so far, their content's keys beside them, and those that were left out."""

    samples: list[Sample]
    keys: list[Digest]
    skipped: list[Skipped]

    def files(self, part: str = "") -> list[tuple[Digest, Path]]:
        """Key and file of each sample, of one part if it is named."""
        pairs = zip(self.keys, self.samples, strict=True)
        return [(key, sample.path) for key, sample in pairs if sample.split == part or not part]

    def leave_out(self, errors: Mapping[Digest, str], journal: Journal) -> None:
        """Leave out, and say so, the samples whose content is in `errors`, with its sentence."""
        pairs = list(zip(self.samples, self.keys, strict=True))
        for sample, key in pairs:
            if key in errors:
                self.skipped.append(Skipped(sample.name, errors[key]))
                journal.say(f"left out {sample.name}: {errors[key]}")
        kept = [(s, k) for s, k in pairs if k not in errors]
        self.samples, self.keys = [s for s, _ in kept], [k for _, k in kept]


@dataclass(frozen=True)
class Fitted:
    """The linear stage's result: the head and how it was chosen; `val`, its validation score (None without validation
    pictures); `rows`, the caches of a cut, one a view; `engine_cost`, seconds a plain picture that was computed and not
    found in the cache, if any."""

    head: LinearHead
    choice: Choice
    val: dict[str, float] | None
    views: int
    rows: tuple[FeatureCache, ...]
    engine_cost: float | None

    def facts(self) -> dict[str, Any]:
        return {
            "kind": "linear",
            "views": self.views,
            "power": self.choice.power,
            "shrinkage": self.choice.shrinkage,
            "validation": self.val,
            "cross_validated": {
                "score": self.choice.judged.score,
                "table": [list(row) for row in self.choice.table],
            },
        }


def number_of_views(recipe: Recipe, n_train: int) -> int:
    """Views of each training picture: as asked, or more the fewer pictures there are."""
    return recipe.probe.views or max(1, min(MAX_VIEWS, WANTED_VIEWS // max(1, n_train)))


def fit(
    usable: Usable,
    learner: OnLogits,
    network: Network,
    look: Look,
    recipe: Recipe,
    journal: Journal,
    views: int,
    rows_at: str | None = None,
) -> Fitted:
    """Fit the head on `views` of the training samples; strength and power by cross-validation on all given (train and
    val). `look` says by which engine, and how, a view is seen. Pictures that cannot be used are left out;
    DataError when a class loses its last training picture.

    `rows_at` names a cut whose rows, the engine's output "rows", are kept as well.
    """
    caches, rows, engine_cost = [], [], None
    weights = weights_digest(network)
    for number in range(views):
        engine, preprocess = look(number)
        key = extractor_key(network, engine, preprocess, weights)
        cache = view_cache(key, recipe, number)
        wanted = [cache]
        if rows_at is not None:
            rows.append(view_cache(key, recipe, number, rows_at))
            wanted.append(rows[-1])
        name = "features" if views == 1 else f"features, view {number + 1} of {views}"
        with journal.step(name) as tick:
            view = partial(load_view, number=number, preprocess=preprocess, recipe=recipe)
            began, before = time.monotonic(), len(cache)
            usable.leave_out(fill(wanted, engine, usable.files(), view, tick), journal)
            if number == augment.PLAIN and len(cache) > before:
                engine_cost = (time.monotonic() - began) / (len(cache) - before)
        caches.append(cache)
    check_classes_left(usable, learner.classes)
    with journal.step("linear head"):
        heads = _fit_head(usable.samples, usable.keys, learner, caches, recipe)
    return Fitted(*heads, views, tuple(rows), engine_cost)


def load_view(
    data: bytes, digest: Digest, number: int, preprocess: Preprocess, recipe: Recipe, guide: Guide = NO_GUIDE
) -> NDArray[np.uint8]:
    """View `number` of a picture's bytes, uint8 [H, W, 3]."""
    return augment.view(data, digest, number, recipe.seed, preprocess, recipe.augment, guide.get(digest))


def view_cache(
    extractor: str, recipe: Recipe, number: int, rows_at: str | None = None, guide: Guide = NO_GUIDE
) -> FeatureCache:
    """The cache of one view's embeddings, or of its rows at a cut; `extractor` is an `extractor_key`."""
    key = _view_key(extractor, number, recipe)
    if guide and number != augment.PLAIN:
        key = f"{key} guided {recipe.augment.guided} {sha256(repr(sorted(guide.items())).encode())}"
    return FeatureCache(key, "embedding") if rows_at is None else FeatureCache(f"{key} rows at {rows_at}", "rows")


def weights_digest(network: BaseNetwork) -> str:
    """The SHA-256 of the backbone's weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.backbone.state_dict().items()):
        digest.update(name.encode() + np.ascontiguousarray(tensor.cpu().numpy()).tobytes())
    return digest.hexdigest()


def extractor_key(network: BaseNetwork, engine: Engine, preprocess: Preprocess, weights: str = "") -> str:
    """What the features of a picture depend on, but for the picture and its view; `weights` is their digest where it
    is known already."""
    facts = {
        "backbone": network.backbone.name,
        "weights": weights or weights_digest(network),
        "normalise": [network.mean.flatten().tolist(), network.std.flatten().tolist()],
        "engine": [engine.name, engine.precision],
        "preprocess": preprocess.to_json(),
        "layout": 1,
    }
    return json.dumps(facts, sort_keys=True)


def _view_key(key: str, number: int, recipe: Recipe) -> str:
    if number == augment.PLAIN:
        return key
    kept = {k: v for k, v in asdict(recipe.augment).items() if k not in NOT_OF_A_VIEW}
    return f"{key} view {number} seed {recipe.seed} {json.dumps(kept, sort_keys=True)}"


def readable(samples: Sequence[Sample], journal: Journal) -> Usable:
    """The samples whose files can be read; what is in them shows later."""
    usable = Usable([], [], [])
    for sample, digest in zip(samples, digests([s.path for s in samples]), strict=True):
        if isinstance(digest, str):
            usable.skipped.append(Skipped(sample.name, digest))
            journal.say(f"left out {sample.name}: {digest}")
        else:
            usable.samples.append(sample)
            usable.keys.append(digest)
    return usable


def undecodable(usable: Usable, journal: Journal) -> dict[Digest, str]:
    """The sentences for pictures that cannot be decoded, where no linear stage finds them."""
    errors: dict[Digest, str] = {}

    def look(place: int) -> str | None:
        try:
            load(usable.samples[place].path, Preprocess((SMALL_SIDE, SMALL_SIDE)))
        except PictureError as error:
            return str(error)
        return None

    with journal.step("looking at the pictures") as tick, ThreadPoolExecutor(cores()) as pool:
        for place, error in enumerate(pool.map(look, range(len(usable.samples)))):
            tick(place + 1, len(usable.samples))
            if error is not None:
                errors[usable.keys[place]] = error
    return errors


def check_classes_left(usable: Usable, classes: tuple[str, ...]) -> None:
    """DataError when a class has lost all its training pictures, or a number has."""
    train = [s for s in usable.samples if s.split == "train"]
    labels = {label for s in train for label in s.labels}
    lost = sorted(set(classes) - labels) if labels or not train else []
    if lost:
        reason = next((s.reason for s in usable.skipped), "")
        raise DataError(
            f"no training picture of class {lost[0]!r} can be read ({reason}); replace them or drop the class"
        )


def fold_numbers(samples: Sequence[Sample], keys: Sequence[Digest], folds: int, seed: int) -> NDArray[np.int64]:
    """A fold for every sample: spread evenly within each class; one group, or one content, stays together."""
    rng = np.random.default_rng([seed, len(samples)])
    fold_of: dict[str, int] = {}
    count: dict[str, int] = {}
    chosen = np.zeros(len(samples), np.int64)
    for i in rng.permutation(len(samples)):
        sample = samples[i]
        unit = sample.group if sample.group is not None else keys[i].hex()
        if unit not in fold_of:
            label = sample.labels[0] if sample.labels else ""
            start = count.setdefault(label, int(rng.integers(folds)))
            fold_of[unit] = start % folds
            count[label] += 1
        chosen[i] = fold_of[unit]
    return chosen


def _fit_head(
    samples: Sequence[Sample],
    keys: Sequence[Digest],
    learner: OnLogits,
    caches: Sequence[FeatureCache],
    recipe: Recipe,
) -> tuple[LinearHead, Choice, dict[str, float] | None]:
    y = learner.targets(samples)
    train = np.array([s.split == "train" for s in samples])
    folds = fold_numbers(samples, keys, recipe.probe.folds, recipe.seed)
    n_features = caches[0].rows(keys[:1]).shape[1]

    def sums_of(chosen: NDArray[np.bool_], power: float) -> Sums:
        sums = learner.sums(n_features)
        places = np.flatnonzero(chosen).tolist()
        for cache in caches:
            for start in range(0, len(places), CHUNK_ROWS):
                part = places[start : start + CHUNK_ROWS]
                rows = signed_power(cache.rows([keys[i] for i in part]), power)
                sums.add(torch.from_numpy(rows), learner.rows(y[part]))
        return sums

    def held_out(fold: int) -> tuple[NDArray[np.float16], NDArray[Any]]:
        places = np.flatnonzero(folds == fold).tolist()
        return caches[0].rows([keys[i] for i in places]), y[places]

    # sums of train and of val within each fold: their union serves cross-validation, train alone the published head
    parts = {
        power: [(sums_of(train & (folds == f), power), sums_of(~train & (folds == f), power)) for f in np.unique(folds)]
        for power in recipe.probe.power
    }
    both = {power: [a + b for a, b in pairs] for power, pairs in parts.items()}
    used = np.unique(folds)
    choice = cross_validate(both, lambda f: held_out(int(used[f])), recipe.probe.shrinkage, learner.judge)

    head = linear_head(total([a for a, _ in parts[choice.power]]), choice)
    val = np.flatnonzero(~train)
    logits = head.logits(caches[0].rows([keys[i] for i in val.tolist()])) if len(val) else None
    scored = None if logits is None else learner.score(logits, y[val])
    return head, choice, scored
