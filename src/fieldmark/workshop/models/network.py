"""The whole network: pictures to named outputs. What reads the features differs by task; `Network` gives logits,
attention, embedding and features.

N pictures, K attention maps, F features, h x w positions, D = K * F, L classes.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from fieldmark.workshop.models.attention import Average, Pooling, make_pooling
from fieldmark.workshop.models.backbone import Backbone
from fieldmark.workshop.recipe import Recipe

OUTPUTS = ("logits", "attention", "embedding", "features")
TINY = 1e-12
COSINE_SCALE = 30.0  # of cosines as logits


class Power(nn.Module):
    """Signed power normalisation x -> sign(x) |x|^p (Perronnin et al. 2010), the exponent a buffer, to `unit` length
    where a head of cosines follows."""

    exponent: Tensor

    def __init__(self, exponent: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("exponent", torch.tensor(exponent))
        self.unit = False

    def forward(self, x: Tensor) -> Tensor:
        x = x.sign() * (x.abs() + TINY).pow(self.exponent)
        return F.normalize(x) if self.unit else x


class Cosines(nn.Linear):
    """`COSINE_SCALE` times the cosine between an embedding of unit length and each class's weights, [N, L]."""

    def forward(self, embedding: Tensor) -> Tensor:
        return F.linear(embedding, COSINE_SCALE * F.normalize(self.weight))


class Body(nn.Module):
    """The backbone's own forward: normalised pictures [N, 3, H, W] to its raw output."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.body.forward_features(x)  # type: ignore[operator, no-any-return]


class BaseNetwork(nn.Module):
    """A backbone and what reads it, on raw pictures uint8 [N, H, W, 3]; `outputs` are the names of what it gives.

    A task's own network overrides `trunk`, the part that may be cut in two, `read`, what follows it, and `head`; one
    that owns its loss overrides `learn`.
    """

    outputs: tuple[str, ...]
    exact = True  # `read` computes in float32 while it learns
    ordered = True  # a place of an output always means the same; proposals change theirs
    mean: Tensor
    std: Tensor

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(backbone.mean).view(1, 3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(backbone.std).view(1, 3, 1, 1))
        self.backbone = backbone
        self.dropout = nn.Dropout(0.0)

    def set_statistics(self, mean: NDArray[np.float64], std: NDArray[np.float64]) -> None:
        """Normalise pictures by these statistics [3] of values of 0 to 255."""
        self.mean.copy_(torch.from_numpy(mean).view(1, 3, 1, 1))
        self.std.copy_(torch.from_numpy(std).view(1, 3, 1, 1))

    def forward(self, pictures: Tensor, truth: Any = None) -> tuple[Tensor, ...]:
        """The outputs in their order, [N, ...]; with the truth of these pictures what the learner's loss takes."""
        return self.answer(self.trunk()(self.normalise(pictures)), truth)

    def normalise(self, pictures: Tensor) -> Tensor:
        """Pictures uint8 [N, H, W, 3] as the backbone takes them, [N, 3, H, W]."""
        return (pictures.permute(0, 3, 1, 2).float() - self.mean) / self.std

    def trunk(self) -> nn.Module:
        """Normalised pictures to what `read` takes; its `body` is the backbone's, block by block."""
        raise NotImplementedError

    def read(self, features: Any) -> tuple[Tensor, ...]:
        """The outputs of what the trunk gives."""
        raise NotImplementedError

    def learn(self, features: Any, truth: Any) -> tuple[Tensor, ...]:
        """What the learner's loss takes of what the trunk gives: the outputs, or of a network that owns its loss that
        alone."""
        return self.read(features)

    def answer(self, features: Any, truth: Any = None) -> tuple[Tensor, ...]:
        """The outputs of what the trunk gives; with the truth what the learner's loss takes."""
        return self.read(features) if truth is None else self.learn(features, truth)

    def head_parameters(self) -> list[nn.Parameter]:
        """Those that are not the backbone's."""
        own = {id(p) for p in self.backbone.parameters()}
        return [p for p in self.parameters() if id(p) not in own]

    def renew(self, recipe: Recipe) -> None:
        """Before stages that train more than a linear head: with the head that the recipe names for them."""

    def settle(self) -> None:
        """After training: in the form that is kept."""

    def describe(self) -> dict[str, Any]:
        """What a bundle says of its head."""
        return {"kind": "linear"}

    def output_shapes(self, size_wh: tuple[int, int]) -> dict[str, list[int]]:
        """Shape of each output for one picture of this size, after the batch axis."""
        with torch.inference_mode():
            found = self.eval()(torch.zeros(1, size_wh[1], size_wh[0], 3, dtype=torch.uint8))
        return {name: list(values.shape[1:]) for name, values in zip(self.outputs, found, strict=True)}


class Network(BaseNetwork):
    """Backbone, attention pooling, power normalisation and a linear head."""

    outputs = OUTPUTS

    def __init__(self, backbone: Backbone, n_classes: int) -> None:
        super().__init__(backbone)
        self.attention: Pooling = Average()
        self.power = Power()
        self.head = nn.Linear(backbone.n_features * self.attention.n_maps, n_classes)

    def set_pooling(self, pooling: Pooling, cosines: bool = False) -> None:
        """Read the features by another head; the classifier after it begins anew, with zeros, or as one of cosines at
        random."""
        self.attention = pooling
        self.head = (Cosines if cosines else nn.Linear)(
            self.backbone.n_features * pooling.n_maps, self.head.out_features
        )
        if not cosines:
            nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.power.exponent.fill_(1.0)
        self.power.unit = cosines

    def renew(self, recipe: Recipe) -> None:
        """The recipe's pooling, its classifier all zeros: later stages learn better from it than from the linear
        stage's, whose large weights on faint directions amplify every change of the backbone (docs/experiments.md)."""
        model = recipe.model
        torch.manual_seed(recipe.seed)
        pooling = make_pooling(model.head, self.backbone.n_features, model.maps, model.hidden, model.join)
        self.set_pooling(pooling, cosines=recipe.loss.name == "arcface")
        self.requires_grad_(False)

    def settle(self) -> None:
        """Cosines become an ordinary linear head with the same logits: those of a frozen class are linear."""
        if isinstance(self.head, Cosines):
            linear = nn.Linear(self.head.in_features, self.head.out_features).requires_grad_(False)
            linear.weight.copy_(COSINE_SCALE * F.normalize(self.head.weight))
            linear.bias.zero_()
            self.head = linear

    def trunk(self) -> nn.Module:
        return Body(self.backbone.body)

    def read(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`OUTPUTS` of the backbone's raw output: [N, L], [N, K, h, w], [N, D], [N, F, h, w]."""
        features = self.backbone.to_grid(features)
        pooled, attention = self.attention(features)
        embedding = self.power(pooled)
        return self.head(self.dropout(embedding)), attention, embedding, features
