"""Optimisers by name, rates by layer, schedules, and the moving average of weights."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fieldmark.errors import UsageError, unknown_name
from fieldmark.workshop.recipe import OptimRecipe

RULE_BATCH = 32
RECENT = 3.0  # the average of weights is of the last third of the steps, about (docs/experiments.md)
NO_DECAY_DIMENSIONS = 1  # norms, biases, scales

# name: (class, rate at a batch of RULE_BATCH, further options). The rates are measured: docs/experiments.md.
OPTIMISERS: Mapping[str, tuple[Callable[..., torch.optim.Optimizer], float, dict[str, Any]]] = {
    "adamw": (torch.optim.AdamW, 1e-3, {}),
    "adam": (torch.optim.Adam, 5e-4, {}),
    "nadam": (torch.optim.NAdam, 5e-4, {"decoupled_weight_decay": True}),
    "radam": (torch.optim.RAdam, 5e-4, {"decoupled_weight_decay": True}),
    "adamax": (torch.optim.Adamax, 1e-3, {}),
    "rmsprop": (torch.optim.RMSprop, 1e-4, {"momentum": 0.9}),
    "sgd": (torch.optim.SGD, 1e-2, {"momentum": 0.9, "nesterov": True}),
}
FUSED = ("adamw", "adam", "sgd")  # have a fused form on CPU


def automatic_rate(name: str, batch: int) -> float:
    """The rate that suits this optimiser on a pretrained network: a measured one, by the square root of the batch for
    the adaptive ones and in proportion to it for SGD (Goyal et al. 2017; Malladi et al. 2022)."""
    rate = OPTIMISERS[name][1]
    return rate * (batch / RULE_BATCH if name == "sgd" else math.sqrt(batch / RULE_BATCH))


def make_optimiser(
    layers: Sequence[Sequence[tuple[str, nn.Parameter]]],
    head: Iterable[nn.Parameter],
    recipe: OptimRecipe,
    batch: int,
    plain: bool = False,
) -> torch.optim.Optimizer:
    """The optimiser; `layers` from the picture to the head, each with its named parameters.

    A layer's rate is `layer_decay` times that of the one after it (Howard and Ruder 2018); norms and biases have no
    weight decay. Every group keeps its highest rate as `peak`. `plain`: no parameter is in another layout than its
    sizes say (channels last), so that torch's fused form, which mistakes such ones without a word, may be used.
    UsageError for an unknown name.
    """
    if recipe.name not in OPTIMISERS:
        raise UsageError(unknown_name("optimiser", recipe.name, OPTIMISERS))
    kind, _, options = OPTIMISERS[recipe.name]
    rate = recipe.rate or automatic_rate(recipe.name, batch)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for depth, layer in enumerate(reversed(layers)):
        for _, parameter in layer:
            _put(groups, parameter, rate * recipe.layer_decay**depth, recipe.weight_decay)
    for parameter in head:
        _put(groups, parameter, rate * recipe.head_factor, recipe.weight_decay)
    rows = [{"params": p, "lr": lr, "peak": lr, "weight_decay": decay} for (lr, decay), p in groups.items()]
    return kind(rows, **options, **({"fused": True} if plain and recipe.name in FUSED else {}))


def _put(
    groups: dict[tuple[float, float], list[nn.Parameter]], parameter: nn.Parameter, rate: float, decay: float
) -> None:
    groups.setdefault((rate, 0.0 if parameter.ndim <= NO_DECAY_DIMENSIONS else decay), []).append(parameter)


def factor(schedule: str, fraction: float, warm_up: float) -> float:
    """The rate at `fraction` (0..1) of the training as a share of its peak, after a linear warm-up."""
    if fraction < warm_up:
        return (fraction + 1e-3) / (warm_up + 1e-3)
    done = (fraction - warm_up) / max(1e-9, 1 - warm_up)
    return SCHEDULES[schedule](min(1.0, done))


SCHEDULES: Mapping[str, Callable[[float], float]] = {
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),  # Loshchilov and Hutter 2017
    "one-cycle": lambda done: (
        1e-4 + (1 - 1e-4) * 0.5 * (1 + math.cos(math.pi * done))
    ),  # Smith 2018, with momentum kept
    "linear": lambda done: 1 - done,
    "constant": lambda done: 1.0,
}


class Average:
    """Moving average of parameters (Polyak and Juditsky 1992) that whenever it ends is of the last part of the steps,
    each of which counts more than the one before (Shamir and Zhang 2013), or of the last 1 / (1 - decay) where those
    are fewer; buffers as well, but counters are copied."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self._now = learned(module)
        self.values: dict[str, Tensor] = {k: v.detach().clone() for k, v in self._now.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the module's weights after `step` (from 0)."""
        keep = min(self.decay, (1 + step) / (1 + RECENT + step))
        floats = [k for k, v in self.values.items() if v.is_floating_point()]
        torch._foreach_lerp_([self.values[k] for k in floats], [self._now[k] for k in floats], 1 - keep)
        for k in self.values.keys() - set(floats):
            self.values[k].copy_(self._now[k])


def learned(module: nn.Module) -> dict[str, Tensor]:
    """What training changes: parameters that learn, and the running statistics of norms beside them, by name."""
    found: dict[str, Tensor] = {name: p for name, p in module.named_parameters() if p.requires_grad}
    for prefix, part in module.named_modules():
        if any(p.requires_grad for p in part.parameters(recurse=False)):
            found |= {f"{prefix}.{name}" if prefix else name: b for name, b in part.named_buffers(recurse=False)}
    return found


@torch.no_grad()
def put(module: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Set what training changes to `values`."""
    now = learned(module)
    for name, value in values.items():
        now[name].copy_(value)


def copy_of(module: nn.Module) -> dict[str, Tensor]:
    """A copy of what training changes."""
    return {name: value.detach().clone() for name, value in learned(module).items()}
