"""Recipes: every knob of training as frozen values; presets are functions; a TOML file and `--set` go on top."""

import dataclasses
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args, get_origin, get_type_hints

from fieldmark.errors import UsageError, unknown_name
from fieldmark.field.runtime.engine import PRECISIONS
from fieldmark.types import Fit, Resample


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
    """`weights`: "auto" (embedded package, else hub), "none" (random), or a `.safetensors` file."""

    backbone: str = "tf_efficientnet_lite0"
    weights: str = "auto"


@dataclass(frozen=True)
class ProbeRecipe:
    """The linear stage: `views` of each training picture (0 = by their number), cross-validated shrinkage and power."""

    views: int = 0
    folds: int = 5
    shrinkage: tuple[float, ...] = (0.01, 0.03, 0.1, 0.2, 0.4, 0.7)
    power: tuple[float, ...] = (1.0, 0.5)


@dataclass(frozen=True)
class AugmentRecipe:
    """Augmented views: the smallest part of the picture's area kept by a crop, and mirroring left to right."""

    crop: float = 0.35
    flip: bool = True


@dataclass(frozen=True)
class DecideRecipe:
    """A prediction is "unsure" when its calibrated probability is below `unsure_below`."""

    unsure_below: float = 0.5


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
    augment: AugmentRecipe = field(default_factory=AugmentRecipe)
    decide: DecideRecipe = field(default_factory=DecideRecipe)
    bundle: BundleRecipe = field(default_factory=BundleRecipe)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def quick() -> Recipe:
    """A regularised linear head on the frozen backbone.

    `fieldmark train labels.csv --out run --recipe quick`: about a minute for 5,000 pictures on two cores; 76 % on the
    81 classes of Grocery Store.
    """
    return Recipe()


PRESETS: dict[str, Callable[[], Recipe]] = {"quick": quick}


def load_recipe(name_or_file: str | None = None, settings: Iterable[str] = ()) -> Recipe:
    """A preset or TOML file, with `key=value` settings on top; UsageError for unknown names, keys and values."""
    recipe = _base(name_or_file or "quick")
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise UsageError(f"--set takes key=value, not {setting!r}")
        recipe = with_value(recipe, key.strip(), text.strip())
    return recipe


def _base(name: str) -> Recipe:
    if name in PRESETS:
        return PRESETS[name]()
    path = Path(name)
    if path.suffix != ".toml":
        raise UsageError(unknown_name("recipe", name, PRESETS) + " (or a .toml file)")
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"the recipe {path} cannot be read: {error}") from error
    preset = tables.pop("preset", "quick")
    if preset not in tuple(PRESETS):
        raise UsageError(f"{path}: " + unknown_name("preset", str(preset), PRESETS))
    recipe = PRESETS[preset]()
    for key, value in _flat(tables):
        recipe = with_value(recipe, key, value)
    return recipe


def _flat(tables: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in tables.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


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
    try:
        if get_origin(kind) is tuple:
            parts = value.split(",") if isinstance(value, str) else value
            return tuple(float(part) for part in parts)
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
        raise UsageError(f"{key} takes {_describe(kind)}, not {value!r}") from None
    choices = get_args(kind)
    if choices and value not in choices:
        raise UsageError(f"{key}: " + unknown_name("value", str(value), choices))
    return str(value)


def _describe(kind: Any) -> str:
    words = {bool: "true or false", float: "a number", int: "a whole number"}
    return words.get(kind, "numbers separated by commas")


_RANGES: dict[str, tuple[float, float]] = {
    "data.val": (0, 0.9),
    "data.test": (0, 0.9),
    "picture.size": (0, 4096),
    "probe.views": (0, 64),
    "probe.folds": (2, 20),
    "augment.crop": (0.01, 1),
    "decide.unsure_below": (0, 1),
    "bundle.calibration": (0, 4096),
}


def check(recipe: Recipe) -> Recipe:
    """The recipe itself; UsageError when a value is out of range."""
    values = dict(_flat(recipe.to_json()))
    for key, (low, high) in _RANGES.items():
        if not low <= values[key] <= high:
            raise UsageError(f"{key} must be between {low} and {high}, not {values[key]}")
    if recipe.data.val + recipe.data.test > 0.9:
        raise UsageError("data.val and data.test leave less than a tenth of the pictures to learn from; lower them")
    if not recipe.probe.shrinkage or not all(0 < s < 1 for s in recipe.probe.shrinkage):
        raise UsageError("probe.shrinkage takes numbers between 0 and 1, such as 0.1,0.3")
    if not recipe.probe.power or not all(0 < p <= 1 for p in recipe.probe.power):
        raise UsageError("probe.power takes numbers above 0 and up to 1, such as 0.5,1")
    if recipe.picture.size and recipe.picture.size < 16:
        raise UsageError(f"picture.size must be 0 (by backbone) or at least 16, not {recipe.picture.size}")
    if not 0 <= recipe.seed < 2**63:
        raise UsageError(f"the seed must be between 0 and 2^63 - 1, not {recipe.seed}")
    if recipe.bundle.precision not in PRECISIONS:
        raise UsageError("bundle.precision: " + unknown_name("value", recipe.bundle.precision, PRECISIONS))
    return recipe
