"""Mixing the pictures of a batch, and their targets with them: mixup (Zhang et al. 2018; of hidden rows, Verma et al.
2019) and CutMix (Yun et al. 2019)."""

import numpy as np
import torch
from torch import Tensor

from fieldmark.workshop.recipe import AugmentRecipe


def mix(
    rows: Tensor, targets: Tensor, recipe: AugmentRecipe, rng: np.random.Generator, channels_last: bool = False
) -> tuple[Tensor, Tensor]:
    """Rows [N, ...] and soft targets [N, L], mixed with those of a permutation of the batch, or as they were."""
    chosen = rng.random()
    partner = torch.from_numpy(rng.permutation(len(rows))).to(rows.device)
    if chosen < recipe.cutmix:
        return _cutmix(rows, targets, partner, channels_last, rng) if rows.ndim == 4 else (rows, targets)
    if chosen < recipe.cutmix + (1 - recipe.cutmix) * recipe.mixup:
        rows = rows.float() if rows.dtype == torch.uint8 else rows
        share = float(rng.beta(recipe.mixup_alpha, recipe.mixup_alpha))
        return torch.lerp(rows[partner], rows, share), torch.lerp(targets[partner], targets, share)
    return rows, targets


def _cutmix(
    rows: Tensor, targets: Tensor, partner: Tensor, channels_last: bool, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """A rectangle of each comes from its partner; the targets by area. Rows [N, C, h, w] or pictures [N, H, W, C]."""
    down, across = (1, 2) if channels_last else (2, 3)
    height, width = rows.shape[down], rows.shape[across]
    side = (1 - rng.random()) ** 0.5
    h, w = round(height * side), round(width * side)
    top, left = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
    mixed = rows.clone()
    mixed.narrow(down, top, h).narrow(across, left, w).copy_(rows[partner].narrow(down, top, h).narrow(across, left, w))
    share = 1 - h * w / (height * width)
    return mixed, torch.lerp(targets[partner], targets, share)
