"""The classics to train from scratch, true to their descriptions but for the classifier, which is the network's own.

N pictures of 3 channels, F features, h x w positions. Each turns normalised pictures [N, 3, H, W] into features
[N, F, h, w]; those that end in dense layers have one position.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Statistics = tuple[float, float, float]
HALF: Statistics = (0.5, 0.5, 0.5)
IMAGENET: tuple[Statistics, Statistics] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean, standard deviation
CHANNELS = 3
SMALL, SMALLEST = 64, 28  # pixels of a side: small-input forms begin to be taken; a default is never smaller


class Classic(nn.Module):
    """A body as timm's are: `forward_features`, `num_features`, and no classifier to take away."""

    num_features: int
    form = ""  # in which way it is not as described, if any

    def forward_features(self, x: Tensor) -> Tensor:
        """Features [N, F, h, w] of normalised pictures [N, 3, H, W]."""
        raise NotImplementedError

    def reset_classifier(self, num_classes: int) -> None:
        """There is none."""


def _even(body: nn.Module, gain: float = 2**0.5) -> None:
    """Begin with weights that keep the variance of what passes through: normal, of variance gain^2 / inputs, and
    without biases; a gain of sqrt 2 is for rectifiers (He et al. 2015), 1 for LeCun's tanh (LeCun et al. 1998)."""
    for part in body.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.normal_(part.weight, std=gain * part.weight[0].numel() ** -0.5)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def _one_position(x: Tensor) -> Tensor:
    """[N, F] as [N, F, 1, 1]."""
    return x[:, :, None, None]


class Mlp(Classic):
    """Two dense layers on the pixels: what convolutions are compared with."""

    def __init__(self, size: int, widths: tuple[int, int] = (512, 256)) -> None:
        super().__init__()
        self.first = nn.Linear(CHANNELS * size * size, widths[0])
        self.second = nn.Linear(*widths)
        self.num_features = widths[1]

    def forward_features(self, x: Tensor) -> Tensor:
        return _one_position(F.relu(self.second(F.relu(self.first(x.flatten(1))))))


class Subsampling(nn.Module):
    """The mean of four neighbours times a learned coefficient of each map, plus a bias (LeCun et al. 1998): a
    convolution of each map with four equal weights."""

    def __init__(self, n_maps: int) -> None:
        super().__init__()
        self.coefficient = nn.Parameter(torch.ones(n_maps, 1, 1))
        self.bias = nn.Parameter(torch.zeros(n_maps, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        weight = (self.coefficient / 4).expand(-1, 2, 2)[:, None]  # [maps, 1, 2, 2]
        device = "cuda" if x.is_cuda else "cpu"  # there is no autocast for "meta"
        with torch.autocast(device, enabled=False):  # on CPU its backward pass is slow in bfloat16
            return F.conv2d(x.float(), weight, self.bias.flatten(), stride=2, groups=len(weight))


class Squashed(nn.Conv2d):
    """A convolution and LeCun's tanh 1.7159 tanh(2/3 x), whose values at -1 and 1 are -1 and 1; the inner scale is put
    into the weights, which are fewer than what they give."""

    def forward(self, x: Tensor) -> Tensor:
        assert self.bias is not None
        return 1.7159 * torch.tanh(self._conv_forward(x, 2 / 3 * self.weight, 2 / 3 * self.bias))


def _squash(x: Tensor) -> Tensor:
    return 1.7159 * torch.tanh(2 / 3 * x)


class LeNet5(Classic):
    """Convolutions of 6, 16 and 120 maps with 5 x 5 windows, subsampling, 84 units, scaled tanh (LeCun et al. 1998);
    every map of the third layer sees all of the second. Pictures of 28 px have one position, larger ones several."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.c1, self.s2 = Squashed(CHANNELS, 6, 5, padding=2), Subsampling(6)
        self.c3, self.s4 = Squashed(6, 16, 5), Subsampling(16)
        self.c5, self.f6 = Squashed(16, 120, 5), Squashed(120, 84, 1)
        self.num_features = 84
        _even(self, gain=1.0)

    def forward_features(self, x: Tensor) -> Tensor:
        x = _squash(self.s2(self.c1(x)))
        x = _squash(self.s4(self.c3(x)))
        return self.f6(self.c5(x))  # type: ignore[no-any-return]


class ConvNet(Classic):
    """Two 5 x 5 convolutions with batch norm and pooling, a third of 3 x 3 with batch norm, and a dense layer; pooling
    as a function."""

    def __init__(self, size: int, widths: tuple[int, int, int] = (32, 64, 128), dense: int = 256) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(CHANNELS, widths[0], 5, padding=2, bias=False)
        self.conv2 = nn.Conv2d(widths[0], widths[1], 5, padding=2, bias=False)
        self.conv3 = nn.Conv2d(widths[1], widths[2], 3, padding=1, bias=False)
        self.norm1, self.norm2, self.norm3 = (nn.BatchNorm2d(width) for width in widths)
        self.dense = nn.Linear(widths[2] * (size // 4) ** 2, dense)
        self.num_features = dense

    def forward_features(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.norm1(self.conv1(x))))
        x = self.pool(F.relu(self.norm2(self.conv2(x))))
        x = F.relu(self.norm3(self.conv3(x)))
        return _one_position(F.relu(self.dense(x.flatten(1))))

    def pool(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, 2)


class PoolNet(ConvNet):
    """`ConvNet`, its pooling a module: the same function with the same weights."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.pooling = nn.MaxPool2d(2)

    def pool(self, x: Tensor) -> Tensor:
        return self.pooling(x)  # type: ignore[no-any-return]


class MnistNet(Classic):
    """Convolutions of 10 and 20 maps with 5 x 5 windows, each pooled, and 50 units, with dropout. Logits with
    cross-entropy are log-softmax with negative log-likelihood."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(CHANNELS, 10, 5), nn.Conv2d(10, 20, 5)
        self.drop, self.drop_dense = nn.Dropout2d(), nn.Dropout()
        side = ((size - 4) // 2 - 4) // 2
        self.dense = nn.Linear(20 * side**2, 50)
        self.num_features = 50
        _even(self)

    def forward_features(self, x: Tensor) -> Tensor:
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.drop(self.conv2(x)), 2))
        x = F.relu(self.dense(self.attend(x).flatten(1)))
        return _one_position(self.drop_dense(x))

    def attend(self, x: Tensor) -> Tensor:
        """Features [N, 20, h, w] as they are."""
        return x


class AttentionNet(MnistNet):
    """`MnistNet` whose last positions (4 x 4 of 28 px) attend to each other before the dense layer:
    softmax(Q K^T / sqrt(d)) V, added to what attends (Vaswani et al. 2017)."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.query, self.key, self.value = (nn.Conv2d(20, 20, 1) for _ in range(3))

    def attend(self, x: Tensor) -> Tensor:
        q, k, v = (layer(x).flatten(2).transpose(1, 2) for layer in (self.query, self.key, self.value))
        weights = (q @ k.transpose(1, 2) / 20**0.5).softmax(-1)  # [N, positions, positions]
        attended: Tensor = (weights @ v).transpose(1, 2).reshape(x.shape)
        return x + attended


class AttentionCnn(Classic):
    """Convolutions of 64, 128 and 256 maps, each pooled; a 1 x 1 convolution with tanh scores each position, and the
    softmax over all of them weighs the features. They are given times their weight and the number of positions, so
    that the average over positions is the attended sum, and evidence shows what was attended to."""

    def __init__(self, size: int) -> None:
        super().__init__()
        widths = (CHANNELS, 64, 128, 256)
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        self.score = nn.Conv2d(256, 1, 1)
        self.num_features = 256

    def forward_features(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = F.max_pool2d(F.relu(conv(x)), 2)
        scores = torch.tanh(self.score(x)).flatten(2)
        weights = scores.softmax(-1).reshape(x.shape[0], 1, x.shape[2], x.shape[3])
        return x * weights * (x.shape[2] * x.shape[3])


class RowNet(Classic):
    """An LSTM that reads a picture row by row (Hochreiter and Schmidhuber 1997); its last state is the features."""

    def __init__(self, size: int, hidden: int = 128) -> None:
        super().__init__()
        self.lstm = nn.LSTM(CHANNELS * size, hidden, batch_first=True)
        self.num_features = hidden

    def forward_features(self, x: Tensor) -> Tensor:
        rows = x.transpose(1, 2).flatten(2)  # [N, H, 3 W]
        return _one_position(self.lstm(rows)[0][:, -1])


class AlexNet(Classic):
    """Five convolutions and two dense layers of 4,096 (Krizhevsky 2014), with local response norm where asked for
    (Krizhevsky et al. 2012). The first convolution of its small-input form has windows of 3 x 3 and stride 1."""

    def __init__(self, size: int, response_norm: bool = False) -> None:
        super().__init__()
        from torchvision.models import alexnet

        made = alexnet()
        layers = list(made.features)
        if response_norm:
            for place in (5, 2):  # after the second and the first rectifier
                layers.insert(place, nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0))  # over 5: 1e-4
        self.avgpool, self.classifier = made.avgpool, made.classifier[:-1]
        if size <= SMALL:
            self.form = "a 3 x 3 stem of stride 1"
            layers[0] = nn.Conv2d(CHANNELS, 64, 3, padding=1)
            side = (((size - 1) // 2 - 1) // 2 - 1) // 2  # after three poolings
            self.avgpool, self.classifier[1] = nn.Identity(), nn.Linear(256 * side**2, 4096)
        self.features = nn.Sequential(*layers)
        self.num_features = 4096

    def forward_features(self, x: Tensor) -> Tensor:
        dense: Tensor = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return _one_position(dense)


@dataclass(frozen=True)
class Maker:
    """How a network is made for pictures of so many pixels, its own size, where it was described, and the statistics of
    pictures that published weights of it are for."""

    make: Callable[[int], Classic]
    size: int
    source: str
    mean: Statistics = HALF
    std: Statistics = HALF


def _alexnet(source: str, response_norm: bool) -> Maker:
    return Maker(partial(AlexNet, response_norm=response_norm), 224, source, *IMAGENET)


LENET = "after LeCun et al. 1998"
LENET_WITH_NORMS = f"{LENET}, with batch norm (Ioffe and Szegedy 2015)"


NETWORKS: Mapping[str, Maker] = {
    "mlp": Maker(Mlp, 28, "Rumelhart et al. 1986"),
    "lenet5": Maker(LeNet5, 28, "LeCun et al. 1998"),
    "convnet": Maker(ConvNet, 28, LENET_WITH_NORMS),
    "poolnet": Maker(PoolNet, 28, LENET_WITH_NORMS),
    "mnistnet": Maker(MnistNet, 28, LENET),
    "attentionnet": Maker(AttentionNet, 28, "Vaswani et al. 2017"),
    "attentioncnn": Maker(AttentionCnn, 32, "Bahdanau et al. 2015"),
    "rownet": Maker(RowNet, 28, "Hochreiter and Schmidhuber 1997"),
    "alexnet": _alexnet("Krizhevsky 2014", response_norm=False),
    "alexnet_lrn": _alexnet("Krizhevsky 2014; local response norm: Krizhevsky et al. 2012", response_norm=True),
}
