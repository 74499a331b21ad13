"""What a recipe leaves open and the task decides."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fieldmark.data import Index
from fieldmark.errors import UsageError
from fieldmark.workshop.recipe.presets import LOCATED
from fieldmark.workshop.recipe.values import Recipe

TASK_OF_KIND = {"target": "regress", "boxes": "detect", "mask": "segment"}


def task_of(index: Index) -> str:
    """The task that the data speaks for."""
    if index.kind in TASK_OF_KIND:
        return TASK_OF_KIND[index.kind]
    several = any(len(s.labels) != 1 for s in index.samples)
    return "multilabel" if index.kind == "labels" and several else "classify"


def for_task(recipe: Recipe, task: str) -> Recipe:
    """The recipe with what it leaves open decided by the task: views of a picture whose size, place or number may be
    the very question are neither cropped nor smaller than at prediction."""
    augment = recipe.augment
    if recipe.picture.tile and task != "segment":
        raise UsageError(f"picture.tile is for --task segment, not for --task {task}; leave it out")
    if task != "classify":
        _check_of_one_class(recipe, task)
    if task in LOCATED:
        _check_located(recipe, task)
    elif task != "classify" and recipe.loss.imbalance not in ("auto", "none"):
        raise UsageError(
            f"loss.imbalance is for one class a picture and for masks, not for --task {task}; leave it out"
        )
    if task == "regress":
        augment = replace(augment, crop=augment.crop or 1.0, size=augment.size or 1.0)
        if recipe.decide.glances != 1:
            raise UsageError("decide.glances is for classes and labels; leave it at 1 for --task regress")
    if task != "classify":
        augment = replace(augment, guided=0.0)
    return replace(recipe, task=task, augment=augment)


def _check_of_one_class(recipe: Recipe, task: str) -> None:
    """UsageError for what needs one class a picture."""
    decide = recipe.decide
    wishes = {"decide.positive": decide.positive, "decide.sensitivity": decide.sensitivity}
    wishes |= {"decide.specificity": decide.specificity, "regularise.coarse": recipe.regularise.coarse}
    wishes["augment.guided"] = recipe.augment.guided > 0  # a part of the picture may not have all of its labels
    _refuse(wishes, f"is for one class a picture, not for --task {task}")


def _check_located(recipe: Recipe, task: str) -> None:
    """UsageError for what needs one row of truth a picture."""
    refused = {
        "probe.on": recipe.probe.on,
        "decide.glances": recipe.decide.glances != 1,
        "model.head": recipe.model.head != "average",
        "augment.mixup": recipe.augment.mixup,
        "augment.cutmix": recipe.augment.cutmix,
        "augment.policy": recipe.augment.policy != "none",
    }
    _refuse(refused, f"is not for --task {task}, whose truth lies somewhere in the picture")


def _refuse(settings: Mapping[str, Any], why: str) -> None:
    """UsageError for the first of these settings that is given."""
    for key, given in settings.items():
        if given:
            raise UsageError(f"{key} {why}; leave it out")
