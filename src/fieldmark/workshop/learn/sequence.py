"""The task `sequence` in the workshop: what is learned at every position, of characters and of numbers.

S steps, N sequences, V codes, C columns.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class Task(Protocol):
    """How wrong each position is."""

    def errors(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What training makes small, of each position, [S, N]; 0 where there is no target."""
        ...

    def scores(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What validation counts, of each position, [S, N]; NaN where there is no target."""
        ...


class NextCode:
    """Cross-entropy in nats of logits [S, N, V] against the codes [S, N] that came. Where there are as many logits as
    `used` codes, they are of those alone."""

    def __init__(self, used: Sequence[int] = ()) -> None:
        self.used = torch.tensor(used, dtype=torch.long)

    def errors(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if outputs.shape[-1] == len(self.used):
            targets = torch.searchsorted(self.used.to(targets.device), targets)
        flat = F.cross_entropy(outputs.float().flatten(0, 1), targets.flatten(), reduction="none")
        return flat.view_as(targets)

    scores = errors


class NextValues:
    """Of changes [S, N, C] in steps of each column: Huber's loss, which a few leaps do not rule (1964), and for
    validation the absolute error; means over the columns that have a target (others are NaN)."""

    def errors(self, outputs: Tensor, targets: Tensor) -> Tensor:
        known = targets.isfinite()
        each = F.smooth_l1_loss(outputs.float(), torch.where(known, targets, outputs.float()), reduction="none")
        return each.sum(-1) / known.sum(-1).clamp_min(1)

    def scores(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.float() - targets).abs().nanmean(-1)
