"""One file a task: targets, loss, what validation decides; `losses` and the linear heads that they share."""

from fieldmark.data.index import Index
from fieldmark.errors import UsageError, unknown_name
from fieldmark.workshop.learn import classify, detect, multilabel, regress, segment
from fieldmark.workshop.learn.base import Learner, MakeLearner, OnLogits
from fieldmark.workshop.recipe import Recipe

__all__ = ["LEARNERS", "LOSSES", "Learner", "OnLogits", "make_learner"]

LEARNERS: dict[str, MakeLearner] = {
    "classify": classify.Classify.of,
    "multilabel": multilabel.MultiLabel.of,
    "regress": regress.Regress.of,
    "detect": detect.Detect.of,
    "segment": segment.Segment.of,
}
LOSSES = {
    "classify": classify.LOSSES,
    "multilabel": multilabel.LOSSES,
    "regress": regress.LOSSES,
    "detect": detect.LOSSES,
    "segment": segment.LOSSES,
}


def make_learner(index: Index, recipe: Recipe) -> Learner:
    """The learner of the recipe's task for this data; UsageError for a loss that the task does not have."""
    task, loss = recipe.task, recipe.loss.name
    if loss not in ("auto", *LOSSES[task]):
        raise UsageError(f"{unknown_name('loss', loss, LOSSES[task])} for --task {task}; set loss.name")
    return LEARNERS[task](index, recipe)
