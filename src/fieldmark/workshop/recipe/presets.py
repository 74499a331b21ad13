"""Presets: a recipe for a purpose, by name."""

from collections.abc import Callable
from dataclasses import replace

from fieldmark.workshop.recipe.values import DataRecipe, ModelRecipe, ProbeRecipe, Recipe, TuneRecipe

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
    tune = TuneRecipe(stages=("full",), most_epochs=100.0, batch=64)
    return replace(quick(), name="scratch", model=model, probe=probe, tune=tune, optim=optim, regularise=regularise)


def sequence() -> Recipe:
    """A character model of text, or a model of numbers in time order, from random weights; the default with
    `--task sequence`.

    `fieldmark train book.txt --out run --recipe sequence --budget 5m`: Jane Austen's six novels (4 MB) to 1.73 bits a
    character on two cores, 4 % fewer than n-grams of order 5.
    """
    data = DataRecipe(val=0.05, test=0.1)
    optim = replace(
        Recipe().optim, rate=3e-3, head_factor=1.0, layer_decay=1.0, weight_decay=0.01, warm_up=0.05, clip=1.0
    )
    tune = TuneRecipe(stages=("full",), most_epochs=20.0)
    return replace(quick(), name="sequence", task="sequence", data=data, tune=tune, optim=optim)


PRESETS: dict[str, Callable[[], Recipe]] = {
    "quick": quick,
    "standard": standard,
    "thorough": thorough,
    "scratch": scratch,
    "sequence": sequence,
}
