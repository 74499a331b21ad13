"""Single-label classification in the workshop: its classes, what it refuses, and its linear stage."""

from fieldmark.data.index import Index, class_names
from fieldmark.errors import DataError


def check_classes(index: Index) -> tuple[str, ...]:
    """The class names of the training part, in order; DataError when there is nothing to tell apart.

    A class that only other parts have is an error: no training could learn it.
    """
    train = index.part("train")
    if not train:
        raise DataError("the training part is empty; move pictures into it")
    classes = class_names(train)
    unseen = sorted({s.label for s in index.samples} - set(classes))
    if unseen:
        names = ", ".join(repr(name) for name in unseen[:5]) + (", ..." if len(unseen) > 5 else "")
        raise DataError(
            f"class {names} has pictures for validation or test but none to learn from; "
            "add some to the training part or take the class out"
        )
    if len(classes) < 2:
        raise DataError(f"there is only one class ({classes[0]!r}); a recogniser needs at least two to tell apart")
    return classes
