"""Backbones: any timm network as features on a grid, with its own normalisation.

N pictures, F features, h x w positions.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fieldmark.errors import UsageError, WeightsError, unknown_name
from fieldmark.workshop.models import classic, weights
from fieldmark.workshop.models.classic import HALF, Statistics

HEAD_LAYERS = ("classifier", "fc", "head", "head_dist", "norm_head", "fc_norm")
SMALL_FORM = f"; if they are of its form for small pictures, set picture.size to {classic.SMALL} or less"


class Backbone(nn.Module):
    """A timm network without its classifier: normalised pictures [N, 3, H, W] to features [N, F, h, w].

    Transformers give their patch tokens on their grid. `mean` and `std` are for pictures in 0..1. `form`: in which way
    it is not as published, if any.
    """

    def __init__(
        self, name: str, body: nn.Module, size: int, mean: Statistics, std: Statistics, source: str, form: str = ""
    ) -> None:
        super().__init__()
        self.form = form
        self.name, self.size, self.mean, self.std, self.source = name, size, mean, std, source
        self.body = body
        self.skip_tokens = int(getattr(body, "num_prefix_tokens", 0))
        was_training = body.training
        body.eval()
        with torch.no_grad():
            raw = body.forward_features(torch.zeros(1, 3, size, size))  # type: ignore[operator]
        body.train(was_training)
        self.layout = _layout(name, raw, int(body.num_features))  # type: ignore[arg-type]
        side = round((raw.shape[1] - self.skip_tokens) ** 0.5)
        self.grid_hw = (side, side) if self.layout == "tokens" else (-1, -1)
        features = self.to_grid(raw)
        self.n_features, self.grid_hw = features.shape[1], (features.shape[2], features.shape[3])

    def forward(self, x: Tensor) -> Tensor:
        return self.to_grid(self.body.forward_features(x))  # type: ignore[operator]

    def takes(self, side: int) -> bool:
        """Whether it computes pictures of another side, in pixels, too."""
        try:
            with torch.no_grad():
                self.to_grid(self.body.forward_features(torch.zeros(1, 3, side, side)))  # type: ignore[operator]
        except (RuntimeError, AssertionError, ValueError):
            return False
        return self.layout != "tokens"

    def to_grid(self, raw: Tensor) -> Tensor:
        """The body's output as features [N, F, h, w]."""
        if self.layout == "NHWC":
            return raw.permute(0, 3, 1, 2)
        if self.layout == "tokens":
            tokens = raw[:, self.skip_tokens :].transpose(1, 2)  # [N, F, h * w]
            return tokens.reshape(tokens.shape[0], tokens.shape[1], *self.grid_hw)
        return raw


def _layout(name: str, raw: object, n_features: int) -> str:
    if isinstance(raw, Tensor) and raw.ndim == 4:
        return "NHWC" if raw.shape[-1] == n_features and raw.shape[1] != n_features else "NCHW"
    if isinstance(raw, Tensor) and raw.ndim == 3 and raw.shape[1] > 1:  # one token: a class token, without its grid
        return "tokens"
    raise UsageError(_no_grid(name))


def _no_grid(name: str) -> str:
    return f"backbone {name} gives no features on a grid; choose another (fieldmark models lists them)"


def create_backbone(name: str, weights_from: str = "auto", size: int = 0, pictures: int = 0) -> Backbone:
    """The backbone of this name, timm's or one of the classics.

    `weights_from`: "auto" (embedded, else hub), "none" (random), or a `.safetensors` path. `size` in pixels, 0 = the
    network's default. `pictures`: the side of the pictures to learn from, 0 = not known; where it is small, so is the
    default of networks with random weights that have a small-input form. Raises UsageError for unknown names,
    WeightsError when weights are missing or do not fit.
    """
    is_small = 0 < pictures <= classic.SMALL and weights_from == "none"
    small = max(pictures, classic.SMALLEST) if is_small else 0
    if name in classic.NETWORKS:
        return _create_classic(name, weights_from, size, small)
    from fieldmark.workshop.models import forms  # brings timm, which takes longer than torch; our own do without

    config = _timm_config(name)
    native = int(config.input_size[-1]) if config is not None else 224
    fixed = bool(config is not None and config.fixed_input_size)
    asked = bool(size)
    size = size or input_size(native, fixed)
    body = _timm_body(name, size, fixed and size != native)
    if not asked and forms.has_small(body):
        size = small or size
    own = (tuple(config.mean), tuple(config.std)) if config is not None else (HALF, HALF)
    made = _with_weights(body, name, weights_from, size, config.hf_hub_id if config is not None else None)
    if not hasattr(made.body, "reset_classifier"):
        raise UsageError(_no_grid(name))
    made.body.reset_classifier(0)
    try:
        return Backbone(name, made.body.eval(), size, *(made.statistics or own), made.source, made.form)
    except (RuntimeError, AssertionError) as error:
        if size != native and not asked:
            return create_backbone(name, weights_from, native)
        raise UsageError(f"backbone {name} does not take {size} px pictures: {_first_line(error)}") from error


def _timm_config(name: str) -> Any:
    """What timm knows of its network; UsageError for a name that it does not know."""
    import timm

    if not timm.is_model(name):
        raise UsageError(unknown_name("backbone", name, [*classic.NETWORKS, *timm.list_models()]))
    try:
        return timm.get_pretrained_cfg(name, allow_unregistered=True)
    except (RuntimeError, ValueError):  # a tag of other weights than there are
        tags = [t for t in timm.list_pretrained() if t.split(".")[0] == name.split(".")[0]]
        raise UsageError(unknown_name("backbone", name, tags)) from None


def _timm_body(name: str, size: int, told: bool) -> nn.Module:
    """timm's network, for pictures of this size where it must be told."""
    import timm

    try:
        body: nn.Module = timm.create_model(name, pretrained=False, **({"img_size": size} if told else {}))
    except (TypeError, AssertionError, RuntimeError) as error:
        raise UsageError(f"backbone {name} cannot be built for {size} px pictures ({_first_line(error)})") from error
    return body


def _create_classic(name: str, weights_from: str, size: int, small: int) -> Backbone:
    """One of our own networks, at its own size where none is asked for; without pretrained weights."""
    if weights_from == "auto":
        raise WeightsError(f"backbone {name} has no pretrained weights; train it with --recipe scratch")
    maker = classic.NETWORKS[name]
    size = size or (small if maker.size > classic.SMALL else 0) or maker.size
    try:
        body, source, statistics = maker.make(size), "random", None
        if weights_from != "none":
            state, source = weights.from_file(Path(weights_from)), "file"
            hint = SMALL_FORM if size > classic.SMALL else ""
            body.load_state_dict(_fitting(name, body.state_dict(), state, heads=(), hint=hint), strict=False)
            statistics = _statistics(state)
        return Backbone(name, body.eval(), size, *(statistics or (maker.mean, maker.std)), source, body.form)
    except (RuntimeError, ValueError) as error:
        raise UsageError(f"backbone {name} does not take {size} px pictures: {_first_line(error)}") from error


def input_size(native: int, fixed: bool) -> int:
    """The default input in pixels: the network's own where it is fixed, else larger by 9/7.

    Convolutional features of slightly larger pictures than in pretraining recognise better (Touvron et al. 2019,
    "Fixing the train-test resolution discrepancy").
    """
    return native if fixed else 32 * round(native * 9 / 7 / 32)


@dataclass(frozen=True)
class _Loaded:
    """A body with its weights, where those came from, its form, and the statistics of pictures that come with them."""

    body: Any
    source: str
    form: str = ""
    statistics: tuple[Statistics, Statistics] | None = None


def _with_weights(body: nn.Module, name: str, weights_from: str, size: int, hub_id: str | None) -> _Loaded:
    """The body with its weights, in its form for pictures of this size: random weights take the small-input form where
    pictures are small, those of a file the form that they fit."""
    from fieldmark.workshop.models import forms

    if weights_from == "none":
        form = forms.small(body) if size <= classic.SMALL else ""
        body, form = (body, form) if form else forms.published(body, size, dense=True)
        return _Loaded(body, "random", form)
    if weights_from != "auto":
        return _with_file(body, name, weights.from_file(Path(weights_from)), size)
    wanted, statistics = body.state_dict(), None
    if weights.has_embedded(name):
        state, source = weights.from_embedded(name, wanted), f"embedded: {weights.EMBEDDED[name].package}"
        statistics = (weights.EMBEDDED_MEAN, weights.EMBEDDED_STD)
    else:
        state, source = weights.from_hub(name, hub_id), f"hub: {hub_id}"
    body.load_state_dict(_fitting(name, wanted, state), strict=False)
    body, form = forms.published(body, size, dense=False)
    return _Loaded(body, source, form, statistics)


def _with_file(body: nn.Module, name: str, state: dict[str, Tensor], size: int) -> _Loaded:
    from fieldmark.workshop.models import forms

    form = ""
    if size <= classic.SMALL:
        as_published = copy.deepcopy(body)
        form = forms.small(body)
        try:
            _fitting(name, body.state_dict(), state)
        except WeightsError:
            body, form = as_published, ""
    if not form:
        body, form = forms.published(body, size, dense=forms.DENSE_WEIGHT in state)
    hint = SMALL_FORM if size > classic.SMALL and forms.has_small(body) else ""
    body.load_state_dict(_fitting(name, body.state_dict(), state, hint=hint), strict=False)
    return _Loaded(body, "file", form, _statistics(state))


def _statistics(state: Mapping[str, Tensor]) -> tuple[Statistics, Statistics] | None:
    """Mean and standard deviation, for pictures in 0..1, that a bundle's weights learned with."""
    if not all(name in state and state[name].numel() == len(HALF) for name in weights.STATISTICS):
        return None
    mean, std = (tuple(float(v) / 255 for v in state[name].flatten()) for name in weights.STATISTICS)
    return mean, std  # type: ignore[return-value]  # three each


def _fitting(
    name: str,
    wanted: dict[str, Tensor],
    state: dict[str, Tensor],
    heads: tuple[str, ...] = HEAD_LAYERS,
    hint: str = "",
) -> dict[str, Tensor]:
    """The tensors of `state` for every one of `wanted` but its classifier, one of `heads`; WeightsError, with a hint,
    when one lacks or differs."""
    chosen = {}
    for key, tensor in wanted.items():
        if key in state and state[key].shape == tensor.shape:
            chosen[key] = state[key]
        elif key.split(".")[0] not in heads and not key.endswith("num_batches_tracked"):
            why = "lack" if key not in state else f"have shape {tuple(state[key].shape)} for"
            raise WeightsError(f"these weights are not of {name}: they {why} {key}{hint}")
    return chosen


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
