"""One file a task: the network's raw outputs become predictions, scores and JSON keys."""

from fieldmark.errors import UsageError, unknown_name

from .base import Task, TaskFacts
from .classify import Classify

__all__ = ["TASKS", "Task", "TaskFacts", "get_task"]

TASKS: dict[str, Task] = {"classify": Classify()}


def get_task(name: str) -> Task:
    """The task of this name; UsageError lists the near names when there is none."""
    if name not in TASKS:
        raise UsageError(unknown_name("task", name, TASKS))
    return TASKS[name]
