"""The whole network: pictures to logits, attention, embedding and features.

N pictures, K attention maps, F features, h x w positions, D = K * F, L classes.
"""

import torch
from torch import Tensor, nn

from fieldmark.workshop.models.backbone import Backbone

OUTPUTS = ("logits", "attention", "embedding", "features")
TINY = 1e-12


class Average(nn.Module):
    """The uniform attention map [N, 1, h, w]: average pooling."""

    n_maps = 1

    def forward(self, features: Tensor) -> Tensor:
        n, _, h, w = features.shape
        return features.new_full((n, 1, h, w), 1.0) / (h * w)


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
        self.attention = Average()
        self.power = Power()
        self.dropout = nn.Dropout(0.0)
        self.head = nn.Linear(backbone.n_features * self.attention.n_maps, n_classes)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`OUTPUTS` in their order: [N, L], [N, K, h, w], [N, D], [N, F, h, w]."""
        return self.read(self.backbone(self.normalise(pictures)))

    def normalise(self, pictures: Tensor) -> Tensor:
        """Pictures uint8 [N, H, W, 3] as the backbone takes them, [N, 3, H, W]."""
        return (pictures.permute(0, 3, 1, 2).float() - self.mean) / self.std

    def read(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`OUTPUTS` of the backbone's features [N, F, h, w]."""
        attention = self.attention(features)
        pooled = attention.flatten(2) @ features.flatten(2).transpose(1, 2)  # [N, K, F]
        embedding = self.power(pooled.flatten(1))
        return self.head(self.dropout(embedding)), attention, embedding, features
