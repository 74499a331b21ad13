"""Forms of published networks: with dense layers where their description has them, and for small pictures.

The published stems halve a picture two or three times before the first block, which leaves little of 28 to 64 px: the
small-input forms keep its resolution there, as those that He et al. (2016) trained on pictures of 32 px.
"""

from typing import Any

from timm.models.densenet import DenseNet
from timm.models.inception_v3 import InceptionV3
from timm.models.resnet import ResNet
from timm.models.vgg import VGG
from torch import Tensor, nn

DENSE_SIDE = 224  # pixels; for smaller ones VGG's first dense layer would see the same features several times
DENSE_WEIGHT = "pre_logits.fc1.weight"


class DenseVgg(nn.Module):
    """VGG with its two layers of 4,096 units, as convolutions, and their dropout (Simonyan and Zisserman 2015)."""

    def __init__(self, body: VGG) -> None:
        super().__init__()
        self.features, self.pre_logits = body.features, body.pre_logits
        self.pre_logits.drop.p = 0.5
        self.drop = nn.Dropout()
        self.num_features = body.head_hidden_size

    def forward_features(self, x: Tensor) -> Tensor:
        """Features [N, 4096, h, w] of normalised pictures [N, 3, H, W]."""
        dense: Tensor = self.pre_logits(self.features(x))
        return self.drop(dense)  # type: ignore[no-any-return]

    def reset_classifier(self, num_classes: int) -> None:
        """There is none."""


def published(body: Any, side: int, dense: bool) -> tuple[nn.Module, str]:
    """The body as published, for pictures of this side, and in which way it is not: VGG's dense layers are left out
    where that is asked for or pictures are small."""
    if not isinstance(body, VGG):
        return body, ""
    if dense and side >= DENSE_SIDE:
        return DenseVgg(body), ""
    body.pre_logits = nn.Identity()
    return body, "its convolutions alone, without the dense layers"


def has_small(body: Any) -> bool:
    """Whether it has a small-input form."""
    return isinstance(body, DenseNet | InceptionV3 | VGG) or (
        isinstance(body, ResNet) and isinstance(body.conv1, nn.Conv2d)
    )


def small(body: Any) -> str:
    """Make a body into its small-input form, and say what that is; nothing where it has none."""
    if not has_small(body):
        return ""
    if isinstance(body, VGG):
        body.features[-1], body.pre_logits = nn.Identity(), nn.Identity()
        return "its convolutions alone, without the dense layers and the last pooling"
    if isinstance(body, InceptionV3):
        first = body.Conv2d_1a_3x3.conv
        first.stride, first.padding = (1, 1), (1, 1)
        body.Pool1, body.Pool2 = nn.Identity(), nn.Identity()
        return "a 3 x 3 stem of stride 1, without pooling"
    if isinstance(body, ResNet):
        body.conv1, body.maxpool = _stem(body.conv1), nn.Identity()
    else:
        body.features.conv0, body.features.pool0 = _stem(body.features.conv0), nn.Identity()
    return "a 3 x 3 stem of stride 1, without pooling after it"


def _stem(conv: nn.Conv2d) -> nn.Conv2d:
    """A convolution with windows of 3 x 3 in place of the network's first one."""
    made = nn.Conv2d(conv.in_channels, conv.out_channels, 3, padding=1, bias=conv.bias is not None)
    nn.init.kaiming_normal_(made.weight, mode="fan_out", nonlinearity="relu")
    return made
