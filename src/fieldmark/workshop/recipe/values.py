"""Every knob of training as frozen values."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from fieldmark.types import Fit, Resample

Stage = Literal["head", "tail", "full"]
Policy = Literal["none", "trivial", "rand"]
Schedule = Literal["cosine", "one-cycle", "linear", "constant"]
Segmenter = Literal["unet", "fpn", "deeplabv3plus"]
Detector = Literal["fcos", "ssdlite", "retinanet", "faster-rcnn"]
Head = Literal["average", "gem", "additive", "gated", "dot", "self"]
WITHOUT_MAPS = ("average", "gem")  # heads that attend to nothing
Compute = Literal["auto", "f32", "bf16"]
Loss = Literal["auto", "cross-entropy", "focal", "arcface", "bce", "asymmetric", "mse", "huber", "quality-focal"]
Imbalance = Literal["auto", "none", "weights", "sampling", "adjust"]
Cell = Literal["lstm", "gru", "rnn"]
Optimiser = Literal["adamw", "adam", "nadam", "radam", "adamax", "rmsprop", "sgd"]


@dataclass(frozen=True)
class DataRecipe:
    """Fractions of all pictures for parts that DATA does not have; `none` (0) makes no such part."""

    val: float = 0.15
    test: float = 0.15


@dataclass(frozen=True)
class PictureRecipe:
    """The network's input; `size` in pixels, 0 = by backbone. `tile`: large pictures are segmented in parts of so many
    pixels squared; 0 = all at once."""

    size: int = 0
    fit: Fit = "squash"
    resample: Resample = "bilinear"
    tile: int = 0


@dataclass(frozen=True)
class ModelRecipe:
    """`weights`: "auto" (embedded package, else hub), "none" (random), or a `.safetensors` file.

    `head`: how later stages read the features (the linear one takes their average): "average", "gem", or attention
    with `maps` maps and `hidden` dimensions, beside which `join` keeps the average. `segmenter`: how features of
    several sizes become a class for every pixel. `detector`: how they become boxes: "fcos" without anchors, or one of
    torchvision's: "ssdlite", "retinanet", and "faster-rcnn" in two stages.
    """

    backbone: str = "tf_efficientnet_lite0"
    weights: str = "auto"
    head: Head = "average"
    maps: int = 1
    hidden: int = 128
    join: bool = True
    segmenter: Segmenter = "unet"
    detector: Detector = "fcos"


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
    a few last steps follow, in which rates fall as scheduled. `views` of each picture kept for the tail (0 = by
    epochs). `batch`: pictures a step (0 = by their number and size).
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
    gradient norm (0 = none); `ema` the decay of the weights' moving average (0 = none), which is of the last third of
    the steps at most."""

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
class LossRecipe:
    """What the later stages lower: `name` "auto" is cross-entropy for classes, that of each label ("bce") for labels,
    the squared error for a number, cross-entropy for pixels, beside which stand `dice` times the soft Dice loss and
    `kinds` times that of which thing a pixel shows and `presence` times that of whether the picture shows any.

    `gamma`: how fast easy pictures fade in "focal" (and positions in "quality-focal", the loss of model.detector=fcos;
    the other detectors have losses of their own); `margin`: radians, of "arcface"; `width`: where "huber" turns
    straight. `imbalance`, of single labels: classes count alike by "weights", are drawn alike by "sampling", or their
    logits are moved by how frequent they are ("adjust"); "auto" is "adjust" where the largest class has ten times the
    pictures of the smallest.
    """

    name: Loss = "auto"
    gamma: float = 2.0
    margin: float = 0.3
    width: float = 1.0
    dice: float = 1.0
    kinds: float = 0.5
    presence: float = 0.5
    imbalance: Imbalance = "auto"


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
    `crop`: the smallest part of the picture's area kept (0 = by task and input: 0.35, 0.7 up to 64 px, and all of it
    where a number is learned); `flip`, `flip_vertical`: mirroring, half of the time;
    `rotate`: up to so many degrees; `colour`: brightness, contrast and saturation changed by up to this share;
    `blur`, `noise`, `erase`: how often (0..1); `policy`: TrivialAugment or RandAugment on top. `cutmix`: how often the
    pictures of a batch are cut together; `mixup`: how often those of the other batches are blended (-1 = by the input's
    size: always, and never up to 64 px). `guided`: where pictures have one class, so many of the views that
    are made after the linear stage show the surroundings of the place by which the linear head decided, where the
    budget has time to find it (-1 = half of them where views are smaller than the input, or a second glance is asked
    for or tried).
    """

    size: float = 0.0
    size_end: float = 0.0
    crop: float = 0.0
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
    guided: float = 0.0


@dataclass(frozen=True)
class DecideRecipe:
    """A prediction is "unsure" when its calibrated probability is below `unsure_below`. `glances` at each picture: 1, 2
    (the second at the region that decided, for twice the time), or 0: two where validation pictures gain by it and the
    budget has time to score them twice.

    Of two classes `positive` (the second by name) is said from the threshold on that gives at least this `sensitivity`
    or `specificity` on validation; 0 = where it is the more probable one.
    """

    unsure_below: float = 0.5
    glances: int = 1
    positive: str = ""
    sensitivity: float = 0.0
    specificity: float = 0.0


@dataclass(frozen=True)
class SequenceRecipe:
    """The network of the task `sequence`, and how it reads.

    `cell` in `layers` layers of `hidden` units (0 = 512 for text, 64 for numbers) on an `embedding` of so many
    dimensions; `tie`: the embedding is the head's matrix as well (Press and Wolf 2017); `dropout` between the layers
    (-1 = none for text, 0.3 for numbers), the same for all steps of a window (Gal and Ghahramani 2016). `batch` windows
    (0 = 32) of `window` steps (0 = 32 for text, 64 for numbers) at a time; in text, each goes on where the one before
    it ended.
    `rare`: characters beyond ASCII that occur less often are read byte by byte. `period`: rows in which numbers repeat
    (0 = found in the training part).
    """

    cell: Cell = "lstm"
    hidden: int = 0
    layers: int = 1
    embedding: int = 128
    tie: bool = False
    dropout: float = -1.0
    window: int = 0
    batch: int = 0
    rare: int = 5
    period: int = 0


@dataclass(frozen=True)
class LogRecipe:
    """Training curves for other programs, beside `log.jsonl`."""

    tensorboard: bool = False
    mlflow: bool = False


@dataclass(frozen=True)
class BundleRecipe:
    """Pictures of training and of validation kept in the bundle for later checks (each); `occlusions`: at most so many
    looks at covered pictures, from which the bundle learns where its answers come from; engine precision."""

    calibration: int = 256
    occlusions: int = 10_000
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
    loss: LossRecipe = field(default_factory=LossRecipe)
    regularise: RegulariseRecipe = field(default_factory=RegulariseRecipe)
    augment: AugmentRecipe = field(default_factory=AugmentRecipe)
    decide: DecideRecipe = field(default_factory=DecideRecipe)
    sequence: SequenceRecipe = field(default_factory=SequenceRecipe)
    bundle: BundleRecipe = field(default_factory=BundleRecipe)
    log: LogRecipe = field(default_factory=LogRecipe)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)
