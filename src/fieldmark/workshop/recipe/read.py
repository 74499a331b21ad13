"""Recipes from presets, TOML files and `key=value` settings; unknown and impossible values are refused."""

import dataclasses
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast, get_args, get_origin, get_type_hints

from fieldmark.errors import UsageError, short, unknown_name
from fieldmark.field.runtime.engine import PRECISIONS
from fieldmark.files import is_file
from fieldmark.workshop.recipe.presets import DEFAULT, PRESETS, preset_for
from fieldmark.workshop.recipe.values import WITHOUT_MAPS, ModelRecipe, Recipe

LARGEST_BITS = 128


def load_recipe(name_or_file: str | None = None, settings: Iterable[str] = (), task: str = "auto") -> Recipe:
    """A preset as the task needs it, or a TOML file on top of one, with `key=value` settings on top; UsageError for
    unknown names, keys and values."""
    recipe = _base(name_or_file or DEFAULT, task)
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise UsageError(f"--set takes key=value, not {setting!r}")
        recipe = with_value(recipe, key.strip(), text.strip())
    return recipe


def _base(name: str, task: str) -> Recipe:
    if name in PRESETS:
        return preset_for(name, task)
    path = Path(name)
    if path.suffix != ".toml":
        raise UsageError(unknown_name("recipe", name, PRESETS) + " (or a .toml file)")
    tables = _toml(path)
    preset = tables.pop("preset", DEFAULT)
    if preset not in tuple(PRESETS):
        raise UsageError(f"{path}: " + unknown_name("preset", str(preset), PRESETS))
    recipe = preset_for(preset, task)
    for key, value in tables.items():
        recipe = with_value(recipe, key, value)
    return recipe


def _toml(path: Path) -> dict[str, Any]:
    """The values of a TOML file by dotted key; UsageError when it cannot be read."""
    if not is_file(path):  # to open a pipe would wait for ever
        raise UsageError(
            f"the recipe {path} cannot be read: no such file; give a .toml file or one of {', '.join(PRESETS)}"
        )
    try:
        return dict(_flat(tomllib.loads(path.read_text(encoding="utf-8"))))
    except RecursionError:
        raise UsageError(f"the recipe {path} cannot be read: it is nested too deeply") from None
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, no TOML, a number of too many digits
        raise UsageError(f"the recipe {path} cannot be read: {str(error)[:200]}") from error


def _flat(tables: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in tables.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def flat(recipe: Recipe) -> dict[str, Any]:
    """All values by dotted key."""
    return dict(_flat(recipe.to_json()))


def keys(recipe: Recipe) -> list[str]:
    """All settable keys, dotted."""
    return [key for key, _ in _flat(recipe.to_json())]


def with_value(recipe: Recipe, key: str, value: Any) -> Recipe:
    """The recipe with one dotted key set; `value` may be text."""
    if key not in keys(recipe):
        raise UsageError(unknown_name("setting", key, keys(recipe)))
    room, _, name = key.rpartition(".")
    owner: Any = getattr(recipe, room) if room else recipe
    parsed = _parse(key, get_type_hints(type(owner))[name], value)
    changed = dataclasses.replace(owner, **{name: parsed})
    return dataclasses.replace(recipe, **cast(Any, {room: changed})) if room else changed


def _parse(key: str, kind: Any, value: Any) -> Any:
    """`value` (text or from TOML) as the type of the field `key`."""
    if isinstance(value, int) and value.bit_length() > LARGEST_BITS:  # Python cannot even print it
        value = "so large a number"
    try:
        if get_origin(kind) is tuple:
            return _parse_tuple(key, get_args(kind)[0], value)
        if kind is bool:
            return {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}[str(value).lower()]
        if kind is float:
            number = 0.0 if value == "none" else float(value)
            if number != number or abs(number) == float("inf"):
                raise ValueError
            return number
        if kind is int:
            if isinstance(value, float) and value != int(value):
                raise ValueError
            return int(value)
    except (KeyError, ValueError, TypeError, OverflowError):
        raise UsageError(f"{key} takes {_describe(kind)}, not {short(repr(value))}") from None
    return _choose(key, kind, str(value))


def _parse_tuple(key: str, kind: Any, value: Any) -> tuple[Any, ...]:
    """Values between commas, or a TOML list; empty text gives none."""
    parts = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else list(value)
    if any(isinstance(part, int) and part.bit_length() > LARGEST_BITS for part in parts):
        raise ValueError
    return tuple(float(part) if kind is float else _choose(key, kind, str(part)) for part in parts)


def _choose(key: str, kind: Any, value: str) -> str:
    choices = get_args(kind)
    if choices and value not in choices:
        raise UsageError(f"{key}: " + unknown_name("value", value, choices))
    return value


def _describe(kind: Any) -> str:
    words = {bool: "true or false", float: "a number", int: "a whole number"}
    return words.get(kind, "numbers separated by commas")


_RANGES: dict[str, tuple[float, float]] = {
    "data.val": (0, 0.9),
    "data.test": (0, 0.9),
    "picture.size": (0, 4096),
    "picture.tile": (0, 65_536),
    "model.maps": (1, 64),
    "model.hidden": (1, 4096),
    "probe.views": (0, 64),
    "probe.folds": (2, 20),
    "tune.epochs": (0, 10_000),
    "tune.most_epochs": (0, 10_000),
    "tune.views": (0, 64),
    "tune.batch": (0, 4096),
    "tune.accumulate": (1, 1024),
    "tune.patience": (-1, 10_000),
    "optim.rate": (0, 100),
    "optim.head_factor": (0, 1000),
    "optim.layer_decay": (0.01, 1),
    "optim.weight_decay": (0, 10),
    "optim.warm_up": (0, 0.9),
    "optim.clip": (0, 1e9),
    "optim.ema": (0, 0.99999),
    "loss.gamma": (0, 10),
    "loss.margin": (0, 1.5),
    "loss.dice": (0, 1000),
    "loss.kinds": (0, 1000),
    "loss.presence": (0, 1000),
    "loss.width": (1e-6, 1e6),
    "regularise.label_smoothing": (0, 0.9),
    "regularise.dropout": (0, 0.95),
    "regularise.drop_path": (0, 0.95),
    "regularise.apart": (0, 1000),
    "regularise.coarse": (0, 1000),
    "augment.size": (0, 1),
    "augment.size_end": (0, 1),
    "augment.crop": (0, 1),
    "augment.rotate": (0, 180),
    "augment.colour": (0, 1),
    "augment.blur": (0, 1),
    "augment.noise": (0, 1),
    "augment.erase": (0, 1),
    "augment.mixup": (-1, 1),
    "augment.mixup_alpha": (0.01, 10),
    "augment.cutmix": (0, 1),
    "augment.guided": (-1, 1),
    "decide.unsure_below": (0, 1),
    "decide.glances": (0, 2),
    "decide.sensitivity": (0, 1),
    "decide.specificity": (0, 1),
    "sequence.hidden": (0, 4096),
    "sequence.layers": (1, 16),
    "sequence.embedding": (1, 4096),
    "sequence.dropout": (-1, 0.95),
    "sequence.window": (0, 4096),
    "sequence.batch": (0, 4096),
    "sequence.rare": (1, 1_000_000),
    "sequence.period": (0, 1_000_000),
    "bundle.calibration": (0, 4096),
    "bundle.occlusions": (0, 1_000_000),
}
_LEAST: dict[str, tuple[float, str]] = {  # of what is not 0, which leaves it open
    "picture.size": (16, "by backbone"),
    "picture.tile": (32, "whole pictures"),
    "tune.most_epochs": (0.1, "by budget"),
    "tune.batch": (2, "by number and size of pictures"),
    "augment.size": (0.25, "by the plan"),
    "augment.crop": (0.01, "by task"),
    "augment.size_end": (0.25, "as at the beginning"),
}


def from_json(values: Mapping[str, Any]) -> Recipe:
    """The recipe of `to_json`; UsageError for anything else."""
    recipe = Recipe()
    for key, value in _flat(values):
        recipe = with_value(recipe, key, value)
    return check(recipe)


def _check_head(recipe: Recipe) -> None:
    """UsageError for settings of attention where there is none."""
    model, plain = recipe.model, ModelRecipe()
    if model.head in WITHOUT_MAPS:
        for name in ("maps", "hidden", "join"):
            if getattr(model, name) != getattr(plain, name):
                raise UsageError(
                    f"model.{name} is for heads that attend (additive, gated, dot, self), not for model.head="
                    f"{model.head}; leave it out"
                )
    if recipe.regularise.apart and (model.head in WITHOUT_MAPS or model.maps < 2):
        raise UsageError(
            "regularise.apart keeps several maps apart; give a head that attends, and model.maps=2 or more"
        )


def check(recipe: Recipe) -> Recipe:
    """The recipe itself; UsageError when a value is out of range."""
    values = dict(_flat(recipe.to_json()))
    for key, (low, high) in _RANGES.items():
        if not low <= values[key] <= high:
            raise UsageError(f"{key} must be between {low} and {high}, not {values[key]}")
    for key, (least, zero) in _LEAST.items():
        if 0 < values[key] < least:
            raise UsageError(f"{key} must be 0 ({zero}) or at least {least}, not {values[key]}")
    if recipe.decide.sensitivity and recipe.decide.specificity:
        raise UsageError("decide.sensitivity and decide.specificity are two wishes for one threshold; give one of them")
    if recipe.data.val + recipe.data.test > 0.9:
        raise UsageError("data.val and data.test leave less than a tenth of the data to learn from; lower them")
    if not recipe.probe.shrinkage or not all(0 < s < 1 for s in recipe.probe.shrinkage):
        raise UsageError("probe.shrinkage takes numbers between 0 and 1, such as 0.1,0.3")
    if not recipe.probe.power or not all(0 < p <= 1 for p in recipe.probe.power):
        raise UsageError("probe.power takes numbers above 0 and up to 1, such as 0.5,1")
    if not 0 <= recipe.seed < 2**63:
        raise UsageError(f"the seed must be between 0 and 2^63 - 1, not {recipe.seed}")
    if not recipe.probe.on and not recipe.tune.stages:
        raise UsageError("with probe.on=false and no tune.stages nothing would be learned; give one of them")
    _check_head(recipe)
    if recipe.bundle.precision not in PRECISIONS:
        raise UsageError("bundle.precision: " + unknown_name("value", recipe.bundle.precision, PRECISIONS))
    return recipe
