"""The whole network: pictures to logits, attention, embedding and features.

N pictures, K attention maps, F features, h x w positions, D = K * F, L classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fieldmark.workshop.models.attention import Average, Pooling
from fieldmark.workshop.models.backbone import Backbone

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


class Network(nn.Module):
    """Backbone, attention pooling, power normalisation and a linear head, on raw pictures uint8 [N, H, W, 3]."""

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: Backbone, n_classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(backbone.mean).view(1, 3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(backbone.std).view(1, 3, 1, 1))
        self.backbone = backbone
        self.attention: Pooling = Average()
        self.power = Power()
        self.dropout = nn.Dropout(0.0)
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

    def settle(self) -> None:
        """Cosines become an ordinary linear head with the same logits: those of a frozen class are linear."""
        if isinstance(self.head, Cosines):
            linear = nn.Linear(self.head.in_features, self.head.out_features).requires_grad_(False)
            linear.weight.copy_(COSINE_SCALE * F.normalize(self.head.weight))
            linear.bias.zero_()
            self.head = linear

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`OUTPUTS` in their order: [N, L], [N, K, h, w], [N, D], [N, F, h, w]."""
        return self.read(self.backbone(self.normalise(pictures)))

    def normalise(self, pictures: Tensor) -> Tensor:
        """Pictures uint8 [N, H, W, 3] as the backbone takes them, [N, 3, H, W]."""
        return (pictures.permute(0, 3, 1, 2).float() - self.mean) / self.std

    def read(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`OUTPUTS` of the backbone's features [N, F, h, w]."""
        pooled, attention = self.attention(features)
        embedding = self.power(pooled)
        return self.head(self.dropout(embedding)), attention, embedding, features
