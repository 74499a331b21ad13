"""A regularised linear head for labels and numbers in closed form: ridge regression (Hoerl & Kennard 1970) with the
shrinkage of the discriminant.

N rows, D features, T targets.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from fieldmark.workshop.learn.linear import shrunk_factor


@dataclass
class TargetSums:
    """Sufficient statistics of rows and their targets: count, sums of both [D], [T], products [D, D] and [D, T]."""

    count: Tensor
    x: Tensor
    y: Tensor
    xx: Tensor
    xy: Tensor

    @classmethod
    def zeros(cls, n_targets: int, n_features: int) -> "TargetSums":
        shapes = ((), (n_features,), (n_targets,), (n_features, n_features), (n_features, n_targets))
        return cls(*(torch.zeros(shape, dtype=torch.float64) for shape in shapes))

    def add(self, x: Tensor, y: Tensor) -> None:
        """Add rows x [N, D] with targets y [N, T]."""
        found = (torch.tensor(len(x)), x.double().sum(0), y.double().sum(0), x.T @ x, x.T @ y)
        for mine, more in zip(self._parts(), found, strict=True):
            mine += more

    def __add__(self, other: "TargetSums") -> "TargetSums":
        return TargetSums(*(a + b for a, b in zip(self._parts(), other._parts(), strict=True)))

    def __sub__(self, other: "TargetSums") -> "TargetSums":
        return TargetSums(*(a - b for a, b in zip(self._parts(), other._parts(), strict=True)))

    def _parts(self) -> list[Tensor]:
        return [getattr(self, field.name) for field in fields(self)]

    def solve(self, shrinkage: float) -> tuple[Tensor, Tensor]:
        """Weight [T, D] and bias [T]: with S = (1 - a) C + a tr(C)/D I for the covariance C of the rows and c that
        of rows and targets, weight = (1 - a) c' S^-1 and bias = mean(y) - weight mean(x)."""
        n = self.count.clamp(min=1)
        mean_x, mean_y = self.x / n, self.y / n
        covariance = self.xx / n - torch.outer(mean_x, mean_x)
        both = (1 - shrinkage) * (self.xy / n - torch.outer(mean_x, mean_y))
        weight = torch.cholesky_solve(both, shrunk_factor(covariance, shrinkage)).T
        return weight, mean_y - weight @ mean_x
