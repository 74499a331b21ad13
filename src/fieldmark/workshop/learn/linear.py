"""A linear head on pooled features, from sums over the rows alone: its strength and the power of the features are
chosen by cross-validation.

N pictures, L outputs (classes, labels, one number), D features.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fieldmark.errors import DataError

CHOLESKY_TRIES = 12
Row = tuple[float, float, float, float]  # power, shrinkage, headline score, cost
Rows = Callable[[int], tuple[NDArray[np.floating], NDArray[Any]]]  # of a fold: plain views [N, D] and targets [N, ...]


class Sums(Protocol):
    """Sufficient statistics of rows [N, D] and their targets; what is fitted on several parts is the sum of theirs."""

    def add(self, x: Tensor, y: Tensor) -> None: ...

    def __add__(self, other: Self) -> Self: ...

    def __sub__(self, other: Self) -> Self: ...

    def solve(self, shrinkage: float) -> tuple[Tensor, Tensor]:
        """Weight [L, D] and bias [L]."""
        ...


S = TypeVar("S", bound=Sums)


@dataclass(frozen=True)
class Judged:
    """What held-out outputs are worth: the score that people read, a cost to lower, and how the outputs [N, L] become
    logits: `slope * outputs + offset`, [L] or numbers."""

    score: float
    cost: float
    slope: NDArray[np.float64] | float = 1.0
    offset: NDArray[np.float64] | float = 0.0


@dataclass(frozen=True)
class LinearHead:
    """`logits = weight @ power(pooled) + bias`; weight [L, D], bias [L]."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    power: float
    shrinkage: float

    def logits(self, pooled: NDArray[np.floating]) -> NDArray[np.float32]:
        """Logits [N, L] of pooled features [N, D]."""
        return np.asarray(signed_power(pooled, self.power) @ self.weight.T + self.bias, np.float32)


@dataclass(frozen=True)
class Choice:
    """What cross-validation found: the best power and shrinkage, a row for each candidate, and, of the best, how it was
    judged and the held-out logits [N, L] with their targets [N, ...]."""

    power: float
    shrinkage: float
    judged: Judged
    table: tuple[Row, ...]
    logits: NDArray[np.float64]
    targets: NDArray[Any]


def signed_power(x: NDArray[np.floating], exponent: float) -> NDArray[np.float32]:
    """sign(x) |x|^exponent in float32."""
    x = np.asarray(x, np.float32)
    return x if exponent == 1 else np.sign(x) * np.abs(x) ** np.float32(exponent)


def cross_validate(
    sums: Mapping[float, Sequence[Sums]],
    held_out: Rows,
    shrinkages: Sequence[float],
    judge: Callable[[NDArray[np.float64], NDArray[Any]], Judged],
) -> Choice:
    """The power and shrinkage with the least cost over the folds, by `judge(outputs [N, L], targets)`.

    `sums[power][fold]`: statistics of all views of that fold's rows.
    """
    table: list[Row] = []
    best: Choice | None = None
    parts = [held_out(fold) for fold in range(len(next(iter(sums.values()))))]
    targets = np.concatenate([y for _, y in parts])
    for power, per_fold in sums.items():
        whole = total(per_fold)
        rest = [whole - part for part in per_fold]
        inputs = [torch.from_numpy(signed_power(x, power)).double() for x, _ in parts]
        for shrinkage in shrinkages:
            outputs = np.concatenate([_outputs(r.solve(shrinkage), x) for r, x in zip(rest, inputs, strict=True)])
            found = judge(outputs, targets)
            table.append((power, shrinkage, found.score, found.cost))
            cost = np.nan_to_num(found.cost, nan=np.inf)
            least = np.inf if best is None else np.nan_to_num(best.judged.cost, nan=np.inf)
            if best is None or (cost, -shrinkage) < (least, -best.shrinkage):
                logits = found.slope * outputs + found.offset
                best = Choice(power, shrinkage, found, (), logits, targets)
    assert best is not None
    return replace(best, table=tuple(table))


def total(parts: Sequence[S]) -> S:
    """The sum of statistics."""
    return reduce(operator.add, parts)


def _outputs(head: tuple[Tensor, Tensor], x: Tensor) -> NDArray[np.float64]:
    weight, bias = head
    return np.asarray((x @ weight.T + bias).numpy())


def linear_head(sums: Sums, choice: Choice) -> LinearHead:
    """The head fitted on these rows, as cross-validation chose, giving logits."""
    weight, bias = (t.numpy() for t in sums.solve(choice.shrinkage))
    slope = np.broadcast_to(np.asarray(choice.judged.slope, np.float64), bias.shape)
    weight, bias = slope[:, None] * weight, slope * bias + choice.judged.offset
    return LinearHead(weight.astype(np.float32), bias.astype(np.float32), choice.power, choice.shrinkage)


def shrunk_factor(covariance: Tensor, shrinkage: float) -> Tensor:
    """The Cholesky factor of (1 - a) S + a tr(S)/D I for a covariance S [D, D], with the least diagonal added that
    makes it positive definite: rows that are alike leave a covariance of rounding errors. DataError when S holds what
    is no number."""
    level = covariance.diagonal().mean().clamp(min=1e-12)
    shrunk = (1 - shrinkage) * covariance
    shrunk.diagonal().add_(shrinkage * level)
    jitter = 1e-9 * float(level)
    factor: Tensor
    for _ in range(CHOLESKY_TRIES):
        factor, failed = torch.linalg.cholesky_ex(shrunk + jitter * torch.eye(len(shrunk), dtype=shrunk.dtype))
        if not failed and bool(factor.isfinite().all()):
            return factor
        jitter *= 100
    raise DataError("the backbone gives values that are no numbers; choose another backbone or other weights")
