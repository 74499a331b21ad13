"""Recipes: every knob of training as frozen values; presets are functions; a TOML file and `--set` go on top."""

from fieldmark.workshop.recipe.presets import LOCATED, PRESETS
from fieldmark.workshop.recipe.read import check, flat, from_json, keys, load_recipe, with_value
from fieldmark.workshop.recipe.values import (
    AugmentRecipe,
    BundleRecipe,
    DataRecipe,
    DecideRecipe,
    LogRecipe,
    LossRecipe,
    ModelRecipe,
    OptimRecipe,
    PictureRecipe,
    ProbeRecipe,
    Recipe,
    RegulariseRecipe,
    SequenceRecipe,
    TuneRecipe,
)

__all__ = [
    "LOCATED",
    "PRESETS",
    "AugmentRecipe",
    "BundleRecipe",
    "DataRecipe",
    "DecideRecipe",
    "LogRecipe",
    "LossRecipe",
    "ModelRecipe",
    "OptimRecipe",
    "PictureRecipe",
    "ProbeRecipe",
    "Recipe",
    "RegulariseRecipe",
    "SequenceRecipe",
    "TuneRecipe",
    "check",
    "flat",
    "from_json",
    "keys",
    "load_recipe",
    "with_value",
]
