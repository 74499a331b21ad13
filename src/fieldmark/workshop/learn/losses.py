"""Losses: pure functions on logits. N pictures, L classes."""

import torch
import torch.nn.functional as F
from torch import Tensor


def soft_cross_entropy(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of logits [N, L] against class probabilities [N, L], smoothed towards the uniform ones
    (Szegedy et al. 2016); a scalar in nats."""
    if smoothing:
        targets = (1 - smoothing) * targets + smoothing / targets.shape[1]
    return -(targets * F.log_softmax(logits.float(), dim=1)).sum(1).mean()


def coarse_cross_entropy(logits: Tensor, targets: Tensor, group_of: Tensor) -> Tensor:
    """Mean cross-entropy of the coarse classes, whose probabilities are the sums of their fine ones': logits [N, L]
    against fine class probabilities [N, L], `group_of` [L] the number of each class's group; a scalar in nats (the
    hierarchical term of Redmon & Farhadi 2017, with one level)."""
    empty = torch.zeros(len(logits), int(group_of.max()) + 1, device=logits.device)
    groups, truth = (empty.index_add(1, group_of, p) for p in (F.softmax(logits.float(), dim=1), targets.float()))
    return -(truth * groups.clamp_min(torch.finfo(groups.dtype).tiny).log()).sum(1).mean()
