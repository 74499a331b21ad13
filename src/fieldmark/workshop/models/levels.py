"""A backbone's features at several strides, for networks that answer about places.

N pictures; level i has F_i features on a grid of stride s_i pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fieldmark.errors import UsageError
from fieldmark.workshop.models.backbone import Backbone


@dataclass(frozen=True)
class LevelPlan:
    """Which of a backbone's intermediate features are taken: their numbers, strides and channels."""

    indices: tuple[int, ...]
    strides: tuple[int, ...]
    channels: tuple[int, ...]


class Levels(nn.Module):
    """Normalised pictures [N, 3, H, W] to a list of features [N, F_i, H / s_i, W / s_i], from the finest level on."""

    def __init__(self, body: nn.Module, indices: Sequence[int]) -> None:
        super().__init__()
        self.body, self.indices = body, list(indices)

    def forward(self, x: Tensor) -> list[Tensor]:
        return _intermediates(self.body, x, self.indices)


def plan_levels(backbone: Backbone, strides: Sequence[int]) -> LevelPlan:
    """The last features of each stride; UsageError for a backbone that has not all of them."""
    refusal = UsageError(
        f"backbone {backbone.name} gives no features at strides {', '.join(map(str, strides))}; choose another, such "
        "as tf_efficientnet_lite0 or resnet18"
    )
    side = 32 * -(-backbone.size // 32)
    try:
        with torch.no_grad():
            found = _intermediates(backbone.body, torch.zeros(1, 3, side, side), None)
    except (AttributeError, TypeError, RuntimeError, AssertionError, ValueError) as error:
        raise refusal from error
    last = {side // f.shape[-1]: (i, f.shape[1]) for i, f in enumerate(found) if f.ndim == 4 and f.shape[-1]}
    if any(stride not in last for stride in strides):
        raise refusal
    return LevelPlan(tuple(last[s][0] for s in strides), tuple(strides), tuple(last[s][1] for s in strides))


def _intermediates(body: nn.Module, x: Tensor, indices: list[int] | None) -> list[Tensor]:
    found = body.forward_intermediates(x, indices=indices, intermediates_only=True)  # type: ignore[operator]
    return list(found)
