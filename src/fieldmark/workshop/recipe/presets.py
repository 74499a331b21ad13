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
    """The linear stage, then the last blocks of the backbone, as far as the budget goes: at a constant rate, with
    views of where the linear head looks, and weights averaged over the last part of the steps (docs/experiments.md).

    `fieldmark train labels.csv --out run --recipe standard --budget 10m`, the default recipe: 90 % on the 81 classes of
    Grocery Store, 88 % in three minutes.
    """
    optim = replace(Recipe().optim, schedule="constant", ema=0.9999)
    augment = replace(Recipe().augment, guided=-1.0)
    return replace(quick(), name="standard", tune=TuneRecipe(stages=("tail",)), optim=optim, augment=augment)


def thorough() -> Recipe:
    """The standard stages, then the whole network, for long budgets or a GPU.

    `fieldmark train field-guide --out run --recipe thorough --budget 6m`: 91 % on the ten drawn species with rates
    that fall; meant for hours, or a GPU.
    """
    return replace(standard(), name="thorough", tune=TuneRecipe(stages=("tail", "full"), most_epochs=60.0))


def stanford_dogs() -> Recipe:
    """For Stanford Dogs, whose pictures are ImageNet's: a backbone pretrained on that has seen most of them, so the
    linear head is strong and the last blocks learn slowly, from views that keep half of a dog or more.

    `fieldmark train stanford-dogs-boxes --out run --recipe stanford-dogs --budget 1h`; not measured yet.
    """
    recipe = standard()
    return replace(
        recipe,
        name="stanford-dogs",
        optim=replace(recipe.optim, rate=3e-4),
        augment=replace(recipe.augment, crop=0.5),
        tune=replace(recipe.tune, most_epochs=15.0),
    )


def scratch() -> Recipe:
    """The whole network from random weights, for networks without pretrained ones.

    `fieldmark train DATA --out run --recipe scratch --backbone lenet5`; LeNet-5 names 98.9 % of 360 test digits of
    scikit-learn after 60 epochs (`python -m bench.zoo digits lenet5`).
    """
    model = ModelRecipe(weights="none")
    probe = ProbeRecipe(on=False)
    regularise = replace(Recipe().regularise, fixed_norms=False)
    optim = replace(Recipe().optim, layer_decay=1.0)
    tune = TuneRecipe(stages=("full",), most_epochs=100.0, batch=0)
    augment = replace(Recipe().augment, mixup=-1.0)
    recipe = replace(quick(), name="scratch", model=model, probe=probe, tune=tune, optim=optim)
    return replace(recipe, augment=augment, regularise=regularise)


def sequence() -> Recipe:
    """A character model of text, or a model of numbers in time order, from random weights; the default with
    `--task sequence`.

    `fieldmark train book.txt --out run --recipe sequence --budget 5m`: Jane Austen's six novels (4 MB) to 1.68 bits a
    character on two cores, 4 % fewer than n-grams of order 5; in 15 minutes to 1.60.
    """
    data = DataRecipe(val=0.05, test=0.1)
    optim = replace(
        Recipe().optim, rate=4e-3, head_factor=1.0, layer_decay=1.0, weight_decay=0.01, warm_up=0.05, clip=1.0
    )
    tune = TuneRecipe(stages=("full",), most_epochs=20.0)
    return replace(quick(), name="sequence", task="sequence", data=data, tune=tune, optim=optim)


def detect(recipe: Recipe) -> Recipe:
    """The recipe for boxes: larger, padded pictures in small batches, no linear stage, nothing mixed.

    `fieldmark train bccd --task detect --out run --budget 15m`: mAP 50 of 88 % on BCCD's test part after 16 epochs.
    """
    recipe = _located(recipe)
    return replace(
        recipe,
        picture=replace(recipe.picture, fit="pad", size=384),
        tune=replace(recipe.tune, batch=8),
        augment=replace(recipe.augment, crop=0.4, size=1.0),
    )


def segment(recipe: Recipe) -> Recipe:
    """The recipe for a class of every pixel: smaller batches, since every pixel is a lesson, and views of whole size.

    `fieldmark train labels.csv --task segment --out run --budget 15m`.
    """
    recipe = _located(recipe)
    return replace(
        recipe, tune=replace(recipe.tune, batch=16), augment=replace(recipe.augment, size=recipe.augment.size or 1.0)
    )


def _located(recipe: Recipe) -> Recipe:
    """The recipe for truth that lies somewhere in the picture."""
    return replace(
        recipe,
        probe=replace(recipe.probe, on=False),
        optim=replace(recipe.optim, schedule=Recipe().optim.schedule, ema=Recipe().optim.ema),
        tune=replace(recipe.tune, stages=recipe.tune.stages or ("tail",)),
        augment=replace(recipe.augment, mixup=0.0, cutmix=0.0),
    )


def preset_for(name: str, task: str) -> Recipe:
    """The preset of this name as a task needs it."""
    recipe = PRESETS[name]()
    return LOCATED[task](recipe) if task in LOCATED else recipe


PRESETS: dict[str, Callable[[], Recipe]] = {
    "quick": quick,
    "standard": standard,
    "thorough": thorough,
    "scratch": scratch,
    "stanford-dogs": stanford_dogs,
    "sequence": sequence,
}
LOCATED: dict[str, Callable[[Recipe], Recipe]] = {
    "detect": detect,
    "segment": segment,
}  # tasks whose truth lies somewhere in the picture
