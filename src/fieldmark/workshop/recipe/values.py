"""Every knob of training as frozen values."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from fieldmark.types import Fit, Resample

Stage = Literal["head", "tail", "full"]
Policy = Literal["none", "trivial", "rand"]
Schedule = Literal["cosine", "one-cycle", "linear", "constant"]
Head = Literal["average", "gem", "additive", "gated", "dot", "self"]
Compute = Literal["auto", "f32", "bf16"]
Optimiser = Literal["adamw", "adam", "nadam", "radam", "adamax", "rmsprop", "sgd"]


@dataclass(frozen=True)
class DataRecipe:
    """Fractions of all pictures for parts that DATA does not have; `none` (0) makes no such part."""

    val: float = 0.15
    test: float = 0.15


@dataclass(frozen=True)
class PictureRecipe:
    """The network's input; `size` in pixels, 0 = by backbone."""

    size: int = 0
    fit: Fit = "squash"
    resample: Resample = "bilinear"


@dataclass(frozen=True)
class ModelRecipe:
    """`weights`: "auto" (embedded package, else hub), "none" (random), or a `.safetensors` file.

    `head`: how later stages read the features (the linear one takes their average): "average", "gem", or attention
    with `maps` maps and `hidden` dimensions, beside which `join` keeps the average.
    """

    backbone: str = "tf_efficientnet_lite0"
    weights: str = "auto"
    head: Head = "average"
    maps: int = 1
    hidden: int = 128
    join: bool = True


@dataclass(frozen=True)
class ProbeRecipe:
    """The linear stage: `views` of each training picture (0 = by their number), cross-validated shrinkage and power.
    `on` false leaves it out: the network begins with a random head."""

    on: bool = True
    views: int = 0
    folds: int = 5
    shrinkage: tuple[float, ...] = (0.01, 0.03, 0.1, 0.2, 0.4, 0.7)
    power: tuple[float, ...] = (1.0, 0.5)


@dataclass(frozen=True)
class TuneRecipe:
    """The stages after the linear one.

    `stages`: "head" (pooling and head), "tail" (the last blocks as well), "full" (all). `cut`: after which block the
    tail begins ("auto" = by budget). `epochs`: at most so many over the training pictures in each stage (0 = as a
    budget has time, `most_epochs` at most, where 0 = 30 without a budget and 100 with one). After `patience` checks
    without a better validation score (0 = never, -1 = 8 without a budget, never with one, since that time was given)
    rates fall to nothing in a few last steps. `views` of each picture kept for the tail (0 = by epochs). `batch`:
    pictures a step (0 = by their number and size).
    """

    stages: tuple[Stage, ...] = ()
    cut: str = "auto"
    epochs: float = 0.0
    most_epochs: float = 0.0
    views: int = 0
    batch: int = 32
    accumulate: int = 1
    patience: int = -1
    compute: Compute = "auto"


@dataclass(frozen=True)
class OptimRecipe:
    """How weights move; `rate` 0 = by optimiser and batch, `head_factor` times that for the head; `clip` is the largest
    gradient norm (0 = none); `ema` the decay of the weights' moving average (0 = none)."""

    name: Optimiser = "adamw"
    rate: float = 0.0
    head_factor: float = 5.0
    layer_decay: float = 0.9
    weight_decay: float = 0.05
    schedule: Schedule = "cosine"
    warm_up: float = 0.1
    clip: float = 5.0
    ema: float = 0.99


@dataclass(frozen=True)
class RegulariseRecipe:
    """Label smoothing, dropout before the head, stochastic depth (Huang et al. 2016) in the blocks that learn;
    `fixed_norms` keeps batch-norm statistics as pretrained; `apart` times how alike several attention maps are, and
    `coarse` times the loss of the coarse labels, where the data has them, are added to the loss."""

    label_smoothing: float = 0.1
    dropout: float = 0.0
    drop_path: float = 0.0
    fixed_norms: bool = True
    apart: float = 0.0
    coarse: float = 0.0


@dataclass(frozen=True)
class AugmentRecipe:
    """Augmented views.

    `size` and `size_end`: the side of views as a share of the input's, at the beginning (0 = by time: whole where there
    is time for many epochs, else 0.78) and at the end (0 = the same; progressive resolution, Howard 2018). What a crop
    shows is larger than in the whole picture, so that smaller views teach the scales of prediction (Touvron et al.
    2019) and cost less; views of small inputs keep their size.
    `crop`: the smallest part of the picture's area kept (0 = by the input's size: 0.35, and 0.7 up to 64 px); `flip`,
    `flip_vertical`: mirroring, half of the time;
    `rotate`: up to so many degrees; `colour`: brightness, contrast and saturation changed by up to this share;
    `blur`, `noise`, `erase`: how often (0..1); `policy`: TrivialAugment or RandAugment on top. `cutmix`: how often the
    pictures of a batch are cut together; `mixup`: how often those of the other batches are blended (-1 = by the input's
    size: always, and never up to 64 px).
    """

    size: float = 0.0
    size_end: float = 0.0
    crop: float = 0.35
    flip: bool = True
    flip_vertical: bool = False
    rotate: float = 0.0
    colour: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    erase: float = 0.0
    policy: Policy = "none"
    mixup: float = 1.0
    mixup_alpha: float = 0.2
    cutmix: float = 0.0


@dataclass(frozen=True)
class DecideRecipe:
    """A prediction is "unsure" when its calibrated probability is below `unsure_below`. `glances` at each picture: 1, 2
    (the second at the region that decided, for twice the time), or 0: two where that is better on validation."""

    unsure_below: float = 0.5
    glances: int = 1


@dataclass(frozen=True)
class LogRecipe:
    """Training curves for other programs, beside `log.jsonl`."""

    tensorboard: bool = False
    mlflow: bool = False


@dataclass(frozen=True)
class BundleRecipe:
    """Pictures of training and of validation kept in the bundle for later checks (each); engine precision."""

    calibration: int = 256
    precision: str = "auto"


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training, but for DATA and the place of the result."""

    name: str = "quick"
    task: str = "auto"
    seed: int = 0
    data: DataRecipe = field(default_factory=DataRecipe)
    picture: PictureRecipe = field(default_factory=PictureRecipe)
    model: ModelRecipe = field(default_factory=ModelRecipe)
    probe: ProbeRecipe = field(default_factory=ProbeRecipe)
    tune: TuneRecipe = field(default_factory=TuneRecipe)
    optim: OptimRecipe = field(default_factory=OptimRecipe)
    regularise: RegulariseRecipe = field(default_factory=RegulariseRecipe)
    augment: AugmentRecipe = field(default_factory=AugmentRecipe)
    decide: DecideRecipe = field(default_factory=DecideRecipe)
    bundle: BundleRecipe = field(default_factory=BundleRecipe)
    log: LogRecipe = field(default_factory=LogRecipe)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)
