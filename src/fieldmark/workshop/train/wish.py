"""What a training was asked for, and the recipe of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fieldmark.errors import UsageError, unknown_name
from fieldmark.files import is_file
from fieldmark.workshop.learn import LEARNERS
from fieldmark.workshop.recipe import Recipe, check, from_json, load_recipe, with_value
from fieldmark.workshop.train.journal import Progress

TASKS = ("auto", *LEARNERS)


@dataclass(frozen=True)
class Wish:
    """What `train` was asked for."""

    data: str | Path
    run: Path
    task: str
    backbone: str | None
    head: str | None
    recipe: str | None
    settings: Sequence[str]
    device: str
    seed: int | None
    budget_s: float | None
    resume: bool
    begun: float  # on the clock of time.monotonic()
    progress: Progress

    @property
    def goes_on(self) -> bool:
        """Whether it goes on with a run that has a recipe."""
        return self.resume and is_file(self.run / "recipe.json")

    @property
    def as_begun(self) -> bool:
        """Whether it goes on with the recipe that the run was begun with."""
        new = self.recipe or self.settings or self.backbone or self.head or self.seed is not None
        return not new and self.goes_on


def resolve_recipe(wish: Wish, task: str) -> Recipe:
    """The recipe that was asked for, for this task."""
    name, settings, backbone, head, seed = wish.recipe, wish.settings, wish.backbone, wish.head, wish.seed
    if task not in TASKS:
        raise UsageError(unknown_name("task", task, TASKS))
    recipe = load_recipe(name, settings, task)
    if recipe.task not in TASKS:
        raise UsageError(unknown_name("task", recipe.task, TASKS))
    if task == "auto" and recipe.task != "auto":
        recipe = load_recipe(name, settings, recipe.task)
    if backbone is not None:
        recipe = replace(recipe, model=replace(recipe.model, backbone=backbone))
    if head is not None:
        recipe = with_value(recipe, "model.head", head)
    if seed is not None:
        recipe = replace(recipe, seed=seed)
    return check(recipe if task == "auto" else replace(recipe, task=task))


def recorded_recipe(run: Path) -> Recipe:
    """The recipe that a run was begun with; UsageError when it cannot be read."""
    try:
        return from_json(json.loads((run / "recipe.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError, RecursionError, UsageError) as error:
        raise UsageError(
            f"{run / 'recipe.json'} cannot be read ({str(error)[:200]}); begin anew with another --out"
        ) from error
