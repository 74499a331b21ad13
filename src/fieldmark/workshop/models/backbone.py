"""Backbones: any timm network as features on a grid, with its own normalisation.

N pictures, F features, h x w positions.
"""

import torch
from torch import Tensor, nn

from fieldmark.errors import UsageError, WeightsError, unknown_name
from fieldmark.workshop.models import classic, weights

HEAD_LAYERS = ("classifier", "fc", "head", "head_dist", "norm_head", "fc_norm")
Statistics = tuple[float, float, float]
HALF: Statistics = (0.5, 0.5, 0.5)


class Backbone(nn.Module):
    """A timm network without its classifier: normalised pictures [N, 3, H, W] to features [N, F, h, w].

    Transformers give their patch tokens on their grid. `mean` and `std` are for pictures in 0..1.
    """

    def __init__(self, name: str, body: nn.Module, size: int, mean: Statistics, std: Statistics, source: str) -> None:
        super().__init__()
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


def create_backbone(name: str, weights_from: str = "auto", size: int = 0) -> Backbone:
    """The backbone of this name, timm's or one of the classics.

    `weights_from`: "auto" (embedded, else hub), "none" (random), or a `.safetensors` path. `size` in pixels, 0 = the
    network's default. Raises UsageError for unknown names, WeightsError when weights are missing or do not fit.
    """
    if name in classic.NETWORKS:
        return _create_classic(name, weights_from, size)
    import timm

    if not timm.is_model(name):
        raise UsageError(unknown_name("backbone", name, [*classic.NETWORKS, *timm.list_models()]))
    try:
        config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    except (RuntimeError, ValueError):  # a tag of other weights than there are
        tags = [t for t in timm.list_pretrained() if t.split(".")[0] == name.split(".")[0]]
        raise UsageError(unknown_name("backbone", name, tags)) from None
    native = int(config.input_size[-1]) if config is not None else 224
    fixed = bool(config is not None and config.fixed_input_size)
    size, asked = size or input_size(native, fixed), bool(size)
    extra = {"img_size": size} if fixed and size != native else {}
    try:
        body = timm.create_model(name, pretrained=False, **extra)
    except (TypeError, AssertionError, RuntimeError) as error:
        raise UsageError(f"backbone {name} cannot be built for {size} px pictures ({_first_line(error)})") from error
    mean, std = (tuple(config.mean), tuple(config.std)) if config is not None else (HALF, HALF)
    source = _load(body, name, weights_from, config.hf_hub_id if config is not None else None)
    if source.startswith("embedded"):
        mean, std = weights.EMBEDDED_MEAN, weights.EMBEDDED_STD
    if not hasattr(body, "reset_classifier"):
        raise UsageError(_no_grid(name))
    body.reset_classifier(0)
    try:
        return Backbone(name, body.eval(), size, mean, std, source)
    except (RuntimeError, AssertionError) as error:
        if size != native and not asked:
            return create_backbone(name, weights_from, native)
        raise UsageError(f"backbone {name} does not take {size} px pictures: {_first_line(error)}") from error


def _create_classic(name: str, weights_from: str, size: int) -> Backbone:
    """One of our own networks, at its own size where none is asked for; without pretrained weights."""
    if weights_from == "auto":
        raise WeightsError(f"backbone {name} has no pretrained weights; train it with --recipe scratch")
    maker = classic.NETWORKS[name]
    size = size or maker.size
    try:
        body = maker.make(size)
        source = _load(body, name, weights_from, None)
        return Backbone(name, body.eval(), size, HALF, HALF, source)
    except (RuntimeError, ValueError) as error:
        raise UsageError(f"backbone {name} does not take {size} px pictures: {_first_line(error)}") from error


def input_size(native: int, fixed: bool) -> int:
    """The default input in pixels: the network's own where it is fixed, else larger by 9/7.

    Convolutional features of slightly larger pictures than in pretraining recognise better (Touvron et al. 2019,
    "Fixing the train-test resolution discrepancy").
    """
    return native if fixed else 32 * round(native * 9 / 7 / 32)


def _load(body: nn.Module, name: str, weights_from: str, hub_id: str | None) -> str:
    """Load weights into a timm network, and say where they came from."""
    if weights_from == "none":
        return "random"
    wanted = body.state_dict()
    if weights_from != "auto":
        from pathlib import Path

        state, source = weights.from_file(Path(weights_from)), "file"
    elif weights.has_embedded(name):
        state, source = weights.from_embedded(name, wanted), f"embedded: {weights.EMBEDDED[name].package}"
    else:
        state, source = weights.from_hub(name, hub_id), f"hub: {hub_id}"
    body.load_state_dict(_fitting(name, wanted, state), strict=False)
    return source


def _fitting(name: str, wanted: dict[str, Tensor], state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `state` for every one of `wanted` but the classifier; WeightsError when one lacks or differs."""
    chosen = {}
    for key, tensor in wanted.items():
        if key in state and state[key].shape == tensor.shape:
            chosen[key] = state[key]
        elif key.split(".")[0] not in HEAD_LAYERS and not key.endswith("num_batches_tracked"):
            why = "lack" if key not in state else f"have shape {tuple(state[key].shape)} for"
            raise WeightsError(f"these weights are not of {name}: they {why} {key}")
    return chosen


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
