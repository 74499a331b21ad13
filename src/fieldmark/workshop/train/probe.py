"""The first stage: features of a frozen backbone, computed once, and a regularised linear head on them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from fieldmark.data.index import Skipped
from fieldmark.errors import DataError
from fieldmark.field.runtime import Engine
from fieldmark.types import Preprocess, Sample
from fieldmark.workshop.learn import discriminant
from fieldmark.workshop.learn.discriminant import Choice, LinearHead, Sums
from fieldmark.workshop.models import Network
from fieldmark.workshop.recipe import Recipe
from fieldmark.workshop.train import augment
from fieldmark.workshop.train.cache import Digest, FeatureCache, digests
from fieldmark.workshop.train.journal import Journal

CHUNK_ROWS = 4096
WANTED_VIEWS = 4_000  # training views in all that a linear head is fitted on, where the set is small
MAX_VIEWS = 8


@dataclass(frozen=True)
class Fitted:
    """The linear stage's result: the head, how it was chosen, and which samples it could use."""

    head: LinearHead
    choice: Choice
    views: int
    samples: tuple[Sample, ...]
    digests: tuple[Digest, ...]
    skipped: tuple[Skipped, ...]


def number_of_views(recipe: Recipe, n_train: int) -> int:
    """Views of each training picture: as asked, or more the fewer pictures there are."""
    return recipe.probe.views or max(1, min(MAX_VIEWS, WANTED_VIEWS // max(1, n_train)))


def fit(
    samples: Sequence[Sample],
    classes: tuple[str, ...],
    network: Network,
    engine: Engine,
    preprocess: Preprocess,
    recipe: Recipe,
    journal: Journal,
) -> Fitted:
    """Fit the head on the training samples; strength, power and temperature by cross-validation on all given (train
    and val). Pictures that cannot be used are left out; DataError when a class loses its last training picture."""
    views = number_of_views(recipe, sum(s.split == "train" for s in samples))
    key = extractor_key(network, engine, preprocess)
    usable, keys, skipped = _readable(samples)
    caches = []
    for number in range(views):
        cache = FeatureCache(_view_key(key, number, recipe), "embedding")
        name = "features" if views == 1 else f"features, view {number + 1} of {views}"
        with journal.step(name) as tick:
            load = partial(_load_view, number=number, preprocess=preprocess, recipe=recipe)
            errors = cache.extend(engine, [(k, s.path) for k, s in zip(keys, usable, strict=True)], load, tick)
        skipped += [Skipped(s.name, errors[k]) for k, s in zip(keys, usable, strict=True) if k in errors]
        kept = [i for i, k in enumerate(keys) if k not in errors]
        usable, keys = [usable[i] for i in kept], [keys[i] for i in kept]
        caches.append(cache)
    _check_classes_left(usable, classes, skipped)
    with journal.step("linear head"):
        head, choice = _fit_head(usable, keys, classes, caches, recipe)
    return Fitted(head, choice, views, tuple(usable), tuple(keys), tuple(skipped))


def _load_view(data: bytes, digest: Digest, number: int, preprocess: Preprocess, recipe: Recipe) -> NDArray[np.uint8]:
    return augment.view(data, digest, number, recipe.seed, preprocess, recipe.augment)


def extractor_key(network: Network, engine: Engine, preprocess: Preprocess) -> str:
    """What the features of a picture depend on, but for the picture and its view."""
    from hashlib import sha256

    digest = sha256()
    for name, tensor in sorted(network.backbone.state_dict().items()):
        digest.update(name.encode() + np.ascontiguousarray(tensor.cpu().numpy()).tobytes())
    facts = {
        "backbone": network.backbone.name,
        "weights": digest.hexdigest(),
        "normalise": [network.mean.flatten().tolist(), network.std.flatten().tolist()],
        "engine": [engine.name, engine.precision],
        "preprocess": preprocess.to_json(),
        "layout": 1,
    }
    return json.dumps(facts, sort_keys=True)


def _view_key(key: str, number: int, recipe: Recipe) -> str:
    if number == augment.PLAIN:
        return key
    return f"{key} view {number} seed {recipe.seed} {json.dumps(asdict(recipe.augment), sort_keys=True)}"


def _readable(samples: Sequence[Sample]) -> tuple[list[Sample], list[Digest], list[Skipped]]:
    usable, keys, skipped = [], [], []
    for sample, digest in zip(samples, digests([s.path for s in samples]), strict=True):
        if isinstance(digest, str):
            skipped.append(Skipped(sample.name, digest))
        else:
            usable.append(sample)
            keys.append(digest)
    return usable, keys, skipped


def _check_classes_left(usable: Sequence[Sample], classes: tuple[str, ...], skipped: Sequence[Skipped]) -> None:
    lost = sorted(set(classes) - {s.label for s in usable if s.split == "train"})
    if lost:
        reason = next((s.reason for s in skipped), "")
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
            start = count.setdefault(sample.label, int(rng.integers(folds)))
            fold_of[unit] = start % folds
            count[sample.label] += 1
        chosen[i] = fold_of[unit]
    return chosen


def _fit_head(
    samples: Sequence[Sample],
    keys: Sequence[Digest],
    classes: tuple[str, ...],
    caches: Sequence[FeatureCache],
    recipe: Recipe,
) -> tuple[LinearHead, Choice]:
    number = {name: i for i, name in enumerate(classes)}
    y = np.array([number[s.label] for s in samples], np.int64)
    train = np.array([s.split == "train" for s in samples])
    folds = fold_numbers(samples, keys, recipe.probe.folds, recipe.seed)
    n_features = caches[0].rows(keys[:1]).shape[1]

    def sums_of(chosen: NDArray[np.bool_], power: float) -> Sums:
        sums = Sums.zeros(len(classes), n_features)
        places = np.flatnonzero(chosen).tolist()
        for cache in caches:
            for start in range(0, len(places), CHUNK_ROWS):
                part = places[start : start + CHUNK_ROWS]
                rows = discriminant.signed_power(cache.rows([keys[i] for i in part]), power)
                sums.add(torch.from_numpy(rows), torch.from_numpy(y[part]))
        return sums

    def held_out(fold: int) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
        places = np.flatnonzero(folds == fold).tolist()
        return caches[0].rows([keys[i] for i in places]), y[places]

    # sums of train and of val within each fold: their union serves cross-validation, train alone the published head
    parts = {
        power: [(sums_of(train & (folds == f), power), sums_of(~train & (folds == f), power)) for f in np.unique(folds)]
        for power in recipe.probe.power
    }
    both = {power: [a + b for a, b in pairs] for power, pairs in parts.items()}
    used = np.unique(folds)
    choice = discriminant.cross_validate(both, lambda f: held_out(int(used[f])), recipe.probe.shrinkage)
    train_sums = [a for a, _ in parts[choice.power]]
    whole = sum(train_sums[1:], train_sums[0])
    return discriminant.linear_head(whole, choice.power, choice.shrinkage), choice
