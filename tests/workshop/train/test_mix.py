"""Mixed pictures and their targets."""

import numpy as np
import pytest
import torch

from fieldmark.workshop.recipe import AugmentRecipe
from fieldmark.workshop.train.mix import mix


def batch(dtype=torch.float32, shape=(6, 3, 8, 10)):
    rows = torch.arange(shape[0]).reshape(-1, *[1] * (len(shape) - 1)).expand(shape).to(dtype).contiguous()
    return rows, torch.eye(shape[0])


def test_mixup_mixes_rows_and_targets_by_one_share():
    rows, targets = batch()
    mixed, soft = mix(rows, targets, AugmentRecipe(mixup=1.0), np.random.default_rng(3))
    torch.testing.assert_close(soft.sum(1), torch.ones(6))
    torch.testing.assert_close(mixed[:, 0, 0, 0], soft @ torch.arange(6.0))  # a picture of value i has target i


def test_cutmix_shares_targets_by_area():
    rows, targets = batch()
    for seed in range(20):
        mixed, soft = mix(rows, targets, AugmentRecipe(mixup=0.0, cutmix=1.0), np.random.default_rng(seed))
        torch.testing.assert_close(mixed[:, 0].mean((1, 2)), soft @ torch.arange(6.0))
        assert set(mixed[0].unique().tolist()) <= set(range(6))
    assert (rows == batch()[0]).all()


def test_cutmix_of_pictures_in_bytes_keeps_their_layout():
    rows, targets = batch(torch.uint8, (4, 8, 10, 3))
    mixed, soft = mix(rows, targets, AugmentRecipe(mixup=0.0, cutmix=1.0), np.random.default_rng(1), True)
    assert mixed.shape == rows.shape
    torch.testing.assert_close(mixed.float().mean((1, 2, 3)), soft @ torch.arange(4.0))


def test_without_mixing_nothing_changes():
    rows, targets = batch()
    mixed, soft = mix(rows, targets, AugmentRecipe(mixup=0.0), np.random.default_rng(0))
    assert mixed is rows
    assert soft is targets


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_the_recipe_says_how_often(share):
    rows, targets = batch()
    recipe = AugmentRecipe(mixup=share)
    changed = sum(mix(rows, targets, recipe, np.random.default_rng(s))[0] is not rows for s in range(400))
    assert changed / 400 == pytest.approx(share, abs=0.08)


def test_pictures_in_bytes_are_blended_too():
    rows, targets = batch(torch.uint8, (4, 8, 10, 3))
    mixed, soft = mix(rows * 50, targets, AugmentRecipe(mixup=1.0), np.random.default_rng(3), True)
    torch.testing.assert_close(mixed[:, 0, 0, 0], 50 * (soft @ torch.arange(4.0)))


def test_tokens_are_not_cut():
    rows, targets = batch(shape=(4, 9, 5))
    mixed, soft = mix(rows, targets, AugmentRecipe(mixup=0.0, cutmix=1.0), np.random.default_rng(3))
    assert mixed is rows
    assert soft is targets


def test_both_have_their_share():
    rows, targets = batch(shape=(6, 1, 30, 30))
    recipe, blended, cut = AugmentRecipe(mixup=0.5, cutmix=0.5), 0, 0
    for seed in range(400):
        mixed, _ = mix(rows, targets, recipe, np.random.default_rng(seed))
        whole = (mixed == mixed[:, :, :1, :1]).all()
        blended += bool(whole) and not torch.equal(mixed, rows)
        cut += not whole
    assert cut / 400 == pytest.approx(0.5, abs=0.08)
    assert blended / 400 == pytest.approx(0.25, abs=0.07)
