"""The linear stage: its folds, its views, and what its cache depends on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fieldmark.types import Preprocess, Sample
from fieldmark.workshop.models import Network, create_backbone
from fieldmark.workshop.models.network import OUTPUTS
from fieldmark.workshop.recipe import AugmentRecipe, Recipe
from fieldmark.workshop.train import probe
from fieldmark.workshop.train.device import TorchEngine
from fieldmark.workshop.train.probe import extractor_key, fold_numbers, number_of_views
from tests.training import tiny_train, trained


def samples(labels, groups=None):
    groups = groups or [None] * len(labels)
    return [
        Sample(Path(str(i)), str(i), (label,), "train", group)
        for i, (label, group) in enumerate(zip(labels, groups, strict=True))
    ]


def keys_of(count):
    return [i.to_bytes(16, "little") for i in range(count)]


def test_folds_are_balanced_within_each_class():
    labels = ["a"] * 50 + ["b"] * 23 + ["c"] * 3
    folds = fold_numbers(samples(labels), keys_of(76), 5, 0)
    for label in "abc":
        counts = np.bincount(folds[np.array(labels) == label], minlength=5)
        assert counts.max() - counts.min() <= 1


def test_a_group_stays_together():
    groups = [f"g{i // 4}" for i in range(40)]
    folds = fold_numbers(samples(["a", "b"] * 20, groups), keys_of(40), 5, 0)
    assert all(len(set(folds[i : i + 4])) == 1 for i in range(0, 40, 4))
    assert len(set(folds)) == 5


def test_one_content_stays_together_even_under_two_labels():
    keys = [i // 2 for i in range(40)]
    folds = fold_numbers(samples(["a", "b"] * 20), [k.to_bytes(16, "little") for k in keys], 4, 0)
    assert all(folds[i] == folds[i + 1] for i in range(0, 40, 2))


def test_a_content_in_two_groups_or_a_group_alone_has_one_fold_each():
    folds = fold_numbers(samples(["a"] * 6, ["x", "x", None, None, "y", "y"]), keys_of(6), 3, 1)
    assert folds[0] == folds[1]
    assert folds[4] == folds[5]


def test_folds_repeat_and_follow_the_seed():
    given = samples(["a", "b"] * 30), keys_of(60), 5
    assert (fold_numbers(*given, 0) == fold_numbers(*given, 0)).all()
    assert (fold_numbers(*given, 0) != fold_numbers(*given, 1)).any()


@pytest.mark.parametrize(("asked", "n", "views"), [(3, 10, 3), (0, 10, 8), (0, 1000, 4), (0, 3000, 1), (0, 10**6, 1)])
def test_small_sets_get_more_views(asked, n, views):
    recipe = Recipe()
    assert number_of_views(replace(recipe, probe=replace(recipe.probe, views=asked)), n) == views


def test_the_key_of_features_names_all_that_they_depend_on():
    import torch

    torch.manual_seed(0)
    network = Network(create_backbone("test_resnet", "none", 32), 3)
    engine = TorchEngine(network, OUTPUTS, torch.device("cpu"))
    base = extractor_key(network, engine, Preprocess((32, 32)))
    assert base == extractor_key(network, engine, Preprocess((32, 32)))
    others = {
        extractor_key(network, engine, Preprocess((48, 48))),
        extractor_key(network, engine, Preprocess((32, 32), "crop")),
        extractor_key(network, engine, Preprocess((32, 32), "squash", "bicubic")),
    }
    network.head.weight.data.add_(1)
    assert extractor_key(network, engine, Preprocess((32, 32))) == base  # the head changes no feature
    next(network.backbone.parameters()).data[0, 0, 0, 0] += 1
    others.add(extractor_key(network, engine, Preprocess((32, 32))))
    engine.precision = "bf16"
    others.add(extractor_key(network, engine, Preprocess((32, 32))))
    assert base not in others
    assert len(others) == 5


def test_only_augmented_views_depend_on_seed_and_augmentation():
    recipe, other = Recipe(), Recipe(seed=1, augment=AugmentRecipe(crop=0.5))
    assert probe._view_key("k", 0, recipe) == probe._view_key("k", 0, other) == "k"
    keys = {probe._view_key("k", n, r) for n in (1, 2) for r in (recipe, other, replace(recipe, seed=1))}
    assert len(keys) == 6


def test_views_around_places_have_a_cache_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("FIELDMARK_CACHE", str(tmp_path))
    recipe = Recipe(augment=AugmentRecipe(guided=0.5))
    guides = [{}, {b"a": (0.5, 0.5)}, {b"a": (0.5, 0.25)}, {b"b": (0.5, 0.5)}]
    assert len({probe.view_cache("k", recipe, 1, "blocks", guide).folder for guide in guides}) == 4
    again = probe.view_cache("k", recipe, 1, "blocks", dict(guides[1]))
    assert again.folder == probe.view_cache("k", recipe, 1, "blocks", guides[1]).folder
    assert probe.view_cache("k", recipe, 1).folder == probe.view_cache("k", Recipe(), 1).folder


def test_a_second_training_runs_the_network_on_no_training_picture(tmp_path_factory, tmp_path, monkeypatch):
    data, _ = trained(tmp_path_factory.getbasetemp())
    monkeypatch.setenv("FIELDMARK_CACHE", str(tmp_path / "cache"))
    tiny_train(data, tmp_path / "one")
    from fieldmark.workshop.train import cache

    def never(engine, todo, *rest):
        assert not list(todo)
        return iter(())

    monkeypatch.setattr(cache, "stream", never)
    tiny_train(data, tmp_path / "two")
