"""One file a task: the network's raw outputs become predictions, scores and JSON keys."""

from fieldmark.errors import UsageError, unknown_name

from .base import Guess, OnLogits, Task, TaskFacts
from .classify import Classify
from .detect import Detect
from .multilabel import MultiLabel
from .regress import Regress
from .segment import Segment

__all__ = ["TASKS", "Guess", "OnLogits", "Task", "TaskFacts", "get_task"]

TASKS: dict[str, Task] = {task.name: task for task in (Classify(), MultiLabel(), Regress(), Detect(), Segment())}


def get_task(name: str) -> Task:
    """The task of this name; UsageError lists the near names when there is none."""
    if name not in TASKS:
        raise UsageError(unknown_name("task", name, TASKS))
    return TASKS[name]
