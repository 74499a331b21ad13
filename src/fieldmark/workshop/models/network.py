"""The whole network: pictures to logits, attention, embedding and features.

N pictures, K attention maps, F features, h x w positions, D = K * F, L classes.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fieldmark.workshop.models.attention import Average, Pooling
from fieldmark.workshop.models.backbone import Backbone

OUTPUTS = ("logits", "attention", "embedding", "features")
TINY = 1e-12


class Power(nn.Module):
    """Signed power normalisation x -> sign(x) |x|^p (Perronnin et al. 2010); the exponent is a buffer."""

    exponent: Tensor

    def __init__(self, exponent: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("exponent", torch.tensor(exponent))

    def forward(self, x: Tensor) -> Tensor:
        return x.sign() * (x.abs() + TINY).pow(self.exponent)


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

    def set_statistics(self, mean: NDArray[np.float64], std: NDArray[np.float64]) -> None:
        """Normalise pictures by these statistics [3] of values of 0 to 255."""
        self.mean.copy_(torch.from_numpy(mean).view(1, 3, 1, 1))
        self.std.copy_(torch.from_numpy(std).view(1, 3, 1, 1))

    def set_pooling(self, pooling: Pooling) -> None:
        """Read the features by another head; the classifier after it begins anew, with zeros."""
        self.attention = pooling
        self.head = nn.Linear(self.backbone.n_features * pooling.n_maps, self.head.out_features)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.power.exponent.fill_(1.0)

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
