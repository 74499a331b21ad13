"""Presets: a recipe for a purpose, by name."""

from collections.abc import Callable
from dataclasses import replace

from fieldmark.workshop.recipe.values import ModelRecipe, ProbeRecipe, Recipe, TuneRecipe

DEFAULT = "standard"


def quick() -> Recipe:
    """A regularised linear head on the frozen backbone.

    `fieldmark train labels.csv --out run --recipe quick`: about a minute for 5,000 pictures on two cores; 76 % on the
    81 classes of Grocery Store.
    """
    return Recipe()


def standard() -> Recipe:
    """The linear stage, then the last blocks of the backbone, as far as the budget goes.

    `fieldmark train labels.csv --out run --recipe standard --budget 10m`, the default recipe: 89 % on the 81 classes of
    Grocery Store, 88 % in three minutes.
    """
    return replace(quick(), name="standard", tune=TuneRecipe(stages=("tail",)))


def thorough() -> Recipe:
    """The standard stages, then the whole network, for long budgets or a GPU.

    `fieldmark train field-guide --out run --recipe thorough --budget 6m`: 91 % on the ten drawn species; meant for
    hours, or a GPU.
    """
    return replace(quick(), name="thorough", tune=TuneRecipe(stages=("tail", "full"), most_epochs=60.0))


def scratch() -> Recipe:
    """The whole network from random weights, for networks without pretrained ones.

    `fieldmark train field-guide --out run --recipe scratch --backbone resnet18 --set picture.size=96 --budget 4m`: 47 %
    on the ten drawn species, where chance is 10 %.
    """
    model = ModelRecipe(weights="none")
    probe = ProbeRecipe(on=False)
    regularise = replace(Recipe().regularise, fixed_norms=False)
    optim = replace(Recipe().optim, layer_decay=1.0)
    tune = TuneRecipe(stages=("full",), most_epochs=100.0, batch=0)
    augment = replace(Recipe().augment, crop=0.0, mixup=-1.0)
    recipe = replace(quick(), name="scratch", model=model, probe=probe, tune=tune, optim=optim)
    return replace(recipe, augment=augment, regularise=regularise)


PRESETS: dict[str, Callable[[], Recipe]] = {
    "quick": quick,
    "standard": standard,
    "thorough": thorough,
    "scratch": scratch,
}
