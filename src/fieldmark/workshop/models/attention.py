"""Pooling heads: what a network reads off its features, and where it looked.

N pictures, F features, h x w positions, P = h * w, K maps, D = K * F. Every head turns features [N, F, h, w] into the
pooled features [N, D] and its maps [N, K, h, w], which sum to 1 over positions; a linear classifier follows, with which
any matrix of values would merge, so the values are the features themselves.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from fieldmark.errors import UsageError, unknown_name
from fieldmark.workshop.recipe.values import WITHOUT_MAPS

SMALL = 0.01  # standard deviation of a first query: the maps begin nearly uniform
TINY = 1e-6
EXPONENTS = (1.0, 6.0)  # of a generalised mean: beyond, the power of a value of nearly nothing is no number


class Average(nn.Module):
    """The mean over positions; its map is uniform. The base of the other heads, which have other `maps`."""

    def __init__(self, n_maps: int = 1) -> None:
        super().__init__()
        self.n_maps = n_maps

    def maps(self, values: Tensor) -> Tensor:
        """Maps [N, K, P] of values [N, P, F]."""
        return values.new_full((values.shape[0], self.n_maps, values.shape[1]), 1.0) / values.shape[1]

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled features [N, D] and maps [N, K, h, w]."""
        values = features.flatten(2).transpose(1, 2)
        maps = self.maps(values)
        return (maps @ values).flatten(1), maps.view(*maps.shape[:2], *features.shape[2:])


class Scored(Average):
    """Maps that are the softmax of scores over all positions."""

    def scores(self, values: Tensor) -> Tensor:
        """Scores [N, K, P] of values [N, P, F]."""
        raise NotImplementedError

    def maps(self, values: Tensor) -> Tensor:
        return self.scores(values).softmax(-1)


class Additive(Scored):
    """e_i = w . tanh(W f_i + b) (Bahdanau et al. 2015); a query w for each of the maps."""

    def __init__(self, n_features: int, n_maps: int = 1, hidden: int = 128) -> None:
        super().__init__(n_maps)
        self.hidden = nn.Linear(n_features, hidden)
        self.query = nn.Parameter(SMALL * torch.randn(n_maps, hidden))

    def scores(self, values: Tensor) -> Tensor:
        return self.query @ torch.tanh(self.hidden(values)).transpose(1, 2)


class Gated(Additive):
    """e_i = w . (tanh(W f_i + b) * sigmoid(U f_i + c)) (Ilse et al. 2018)."""

    def __init__(self, n_features: int, n_maps: int = 1, hidden: int = 128) -> None:
        super().__init__(n_features, n_maps, hidden)
        self.gate = nn.Linear(n_features, hidden)

    def scores(self, values: Tensor) -> Tensor:
        return self.query @ (torch.tanh(self.hidden(values)) * torch.sigmoid(self.gate(values))).transpose(1, 2)


class Dot(Scored):
    """softmax(q . K f_i / sqrt(d)) with a learned query and key matrix for each of the maps (Vaswani et al. 2017)."""

    def __init__(self, n_features: int, n_maps: int = 1, hidden: int = 128) -> None:
        super().__init__(n_maps)
        self.key = nn.Linear(n_features, n_maps * hidden)
        self.query = nn.Parameter(SMALL * torch.randn(n_maps, hidden))

    def scores(self, values: Tensor) -> Tensor:
        keys = _by_map(self.key(values), self.n_maps)
        return torch.einsum("npkd,kd->nkp", keys, self.query) / math.sqrt(self.query.shape[1])


class SelfAttention(Average):
    """Every position of a picture asks all of the same picture: A = softmax(Q f_i . K f_j / sqrt(d)), pooled =
    mean over i of sum_j A_ij f_j; its map is A's mean over i (Vaswani et al. 2017)."""

    def __init__(self, n_features: int, n_maps: int = 1, hidden: int = 128) -> None:
        super().__init__(n_maps)
        self.key = nn.Linear(n_features, n_maps * hidden)
        self.query = nn.Linear(n_features, n_maps * hidden)
        nn.init.normal_(self.query.weight, std=SMALL / math.sqrt(n_features))
        nn.init.zeros_(self.query.bias)

    def maps(self, values: Tensor) -> Tensor:
        keys = _by_map(self.key(values), self.n_maps).transpose(1, 2)  # [N, K, P, d]
        queries = _by_map(self.query(values), self.n_maps).transpose(1, 2)
        scores: Tensor = queries @ keys.transpose(2, 3) / math.sqrt(keys.shape[3])  # [N, K, P, P]
        return scores.softmax(-1).mean(2)


def _by_map(x: Tensor, n_maps: int) -> Tensor:
    """[N, P, K * d] as [N, P, K, d]."""
    n, p, _ = x.shape
    return x.reshape(n, p, n_maps, -1)


class GeM(Average):
    """Generalised mean (mean of f^p)^(1/p) of positive features, p learned between 1 and 6 (Radenovic et al. 2018);
    negative ones count as nothing. Its map is uniform, since what differs from the average differs feature by
    feature."""

    def __init__(self, p: float = 3.0) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(p))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        _, maps = super().forward(features)
        p = self.p.clamp(*EXPONENTS)
        return features.clamp(min=TINY).pow(p).mean((2, 3)).pow(1 / p), maps


class Joined(nn.Module):
    """The average beside what another head attends to: the first map is uniform, the others are the head's."""

    def __init__(self, attended: Average) -> None:
        super().__init__()
        self.average, self.attended = Average(), attended
        self.n_maps = 1 + attended.n_maps

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        parts = (self.average(features), self.attended(features))
        return torch.cat([pooled for pooled, _ in parts], 1), torch.cat([maps for _, maps in parts], 1)


Pooling = Average | Joined

HEADS: Mapping[str, Callable[[int, int, int], Average]] = {
    "average": lambda n_features, n_maps, hidden: Average(),
    "gem": lambda n_features, n_maps, hidden: GeM(),
    "additive": Additive,
    "gated": Gated,
    "dot": Dot,
    "self": SelfAttention,
}


def make_pooling(name: str, n_features: int, n_maps: int = 1, hidden: int = 128, join: bool = True) -> Pooling:
    """The head of this name; `join` puts the average beside an attending one. UsageError for an unknown name."""
    if name not in HEADS:
        raise UsageError(unknown_name("head", name, HEADS))
    head = HEADS[name](n_features, n_maps, hidden)
    return Joined(head) if join and name not in WITHOUT_MAPS else head


def overlap(maps: Tensor) -> Tensor:
    """How alike a picture's maps [N, K, h, w] are: the mean cosine between two of them, a scalar; 0 where each looks
    elsewhere (the aim of the penalty of Lin et al. 2017, without its preference for peaks)."""
    unit = nn.functional.normalize(maps.flatten(2), dim=2)
    n_maps = unit.shape[1]
    if n_maps < 2:
        return maps.new_zeros(())
    cosines = unit @ unit.transpose(1, 2)
    return (cosines.sum((1, 2)) - n_maps).mean() / (n_maps * (n_maps - 1))
