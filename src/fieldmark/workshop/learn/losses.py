"""Losses: pure functions on logits. N pictures, L classes."""

import torch.nn.functional as F
from torch import Tensor


def soft_cross_entropy(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of logits [N, L] against class probabilities [N, L], smoothed towards the uniform ones
    (Szegedy et al. 2016); a scalar in nats."""
    if smoothing:
        targets = (1 - smoothing) * targets + smoothing / targets.shape[1]
    return -(targets * F.log_softmax(logits.float(), dim=1)).sum(1).mean()
