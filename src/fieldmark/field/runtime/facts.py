"""The facts of a bundle, checked once before anything is done with them: a checksum that fits finds no forgery."""

import math
from collections.abc import Mapping
from typing import Any

from fieldmark.errors import UsageError
from fieldmark.field.tasks import get_task

from .engine import PRECISIONS

TEMPERATURES = (1e-6, 1e6)  # beyond them logits overflow; training finds exp(-6) to exp(6)
MAX_CLASSES = 1_000_000
MAX_NUMBER = 1e300
MAX_SIDE = 1_000_000
MAX_STATE = 10_000_000  # numbers of one state
KINDS = ("text", "series")


def check_facts(facts: Mapping[str, Any]) -> None:
    """ValueError, in words that follow "holds a value that is not valid", for facts that cannot be."""
    _check_classes(facts["classes"], facts["task"])
    _check_preprocess(facts)
    _check_precision(facts)
    _number(facts.get("recheck_margin", 0.0), "recheck_margin")
    temperature = _number(_mapping(facts, "calibration").get("temperature", 1.0), "the temperature")
    _number(_mapping(facts, "calibration").get("offset", 0.0), "the offset")
    if not TEMPERATURES[0] <= temperature <= TEMPERATURES[1]:
        raise ValueError("the temperature must be between {:g} and {:g}".format(*TEMPERATURES))
    for name, value in _mapping(facts, "thresholds").items():
        if not 0 <= _number(value, f"the threshold {name!r}") <= 1:
            raise ValueError(f"the threshold {name!r} must be between 0 and 1")
    _check_labels(facts)
    for name, value in _mapping(facts, "target").items():
        _number(value, f"target.{name}")
    if not all(isinstance(value, str) for value in _mapping(facts, "coarse").values()):
        raise ValueError("coarse must give each class the name of its group")
    outputs = facts["outputs"]
    if not isinstance(outputs, (Mapping, list)) or not all(isinstance(name, str) for name in outputs):
        raise ValueError("outputs must name the network's outputs")
    _check_fit(facts)
    _check_data(_mapping(facts, "data"))


def check_sequence_facts(facts: Mapping[str, Any]) -> None:
    """As `check_facts`, for a bundle of the task `sequence`; alphabet and scaling are checked where they are made."""
    _check_precision(facts)
    if facts.get("kind") not in KINDS:
        raise ValueError(f"kind must be {' or '.join(KINDS)}")
    if not isinstance(_mapping(facts, "input")["name"], str) or len(_mapping(facts, "outputs")) != 1:
        raise ValueError("input and outputs must name one each")
    shapes = [*_mapping(facts, "outputs").values(), *_mapping(facts, "states").values()]
    if not all(isinstance(shape, list) and len(shape) == (1 if i == 0 else 2) for i, shape in enumerate(shapes)):
        raise ValueError("outputs and states must have shapes")
    if not all(type(side) is int and 1 <= side <= MAX_SIDE for shape in shapes for side in shape):
        raise ValueError("a shape is out of range")
    if len(shapes) < 2 or math.prod(shapes[1]) > MAX_STATE:
        raise ValueError("the states are missing or too large")
    data = _mapping(facts, "data")
    val, test = (_number(data[name], f"data.{name}") for name in ("val", "test"))
    if not (val >= 0 and test >= 0 and val + test < 1):
        raise ValueError("the parts of data are out of range")


def _check_precision(facts: Mapping[str, Any]) -> None:
    if facts.get("precision", "auto") not in PRECISIONS:
        raise ValueError(f"precision must be {', '.join(PRECISIONS)}")


def _check_classes(classes: Any, task: Any) -> None:
    try:
        fewest = get_task(str(task)).fewest_classes
    except UsageError as error:
        raise ValueError(str(error)) from None
    if not isinstance(classes, list) or not fewest <= len(classes) <= MAX_CLASSES:
        raise ValueError(f"classes must be a list of {'two names' if fewest == 2 else 'one name'} or more")
    if not all(isinstance(name, str) and name for name in classes) or len(set(classes)) < len(classes):
        raise ValueError("classes must be names, each once")


def _check_labels(facts: Mapping[str, Any]) -> None:
    bounds = facts.get("label_thresholds")
    if bounds is not None and not (isinstance(bounds, list) and len(bounds) == len(facts["classes"])):
        raise ValueError("label_thresholds must hold a number for each class")
    for value in bounds or ():
        _number(value, "a label's threshold")
    if facts["task"] == "regress" and not {"mean", "scale"} <= set(_mapping(facts, "target")):
        raise ValueError("target must hold mean and scale")


def _check_preprocess(facts: Mapping[str, Any]) -> None:
    sizes = [_mapping(facts, "preprocess")["size_wh"], _mapping(facts, "input").get("size_wh")]
    for size in sizes:
        if size is not None and not (isinstance(size, list) and [type(side) for side in size] == [int, int]):
            raise ValueError("size_wh must be two whole numbers")
    if sizes[1] is not None and sizes[0] != sizes[1]:
        raise ValueError("preprocess and input name different sizes")


def _check_fit(facts: Mapping[str, Any]) -> None:
    preprocess = _mapping(facts, "preprocess")
    tile = preprocess.get("tile", 0)
    if get_task(facts["task"]).located and preprocess.get("fit") == "crop":
        raise ValueError("fit must not be crop where all of a picture is asked for")
    if type(tile) is not int or (tile and facts["task"] != "segment"):
        raise ValueError("tile must be a whole number, and 0 but for masks")


def _check_data(data: Mapping[str, Any]) -> None:
    rule = _mapping(data, "split")
    if rule.keys() != ({"seed", "val", "test"} if "fingerprint" in data else set()):
        raise ValueError("data.split must hold seed, val and test")
    for name, value in rule.items():
        if _number(value, f"data.split.{name}") < 0 or (type(value) is not int if name == "seed" else value >= 1):
            raise ValueError(f"data.split.{name} is out of range")
    parts = _mapping(data, "parts")
    if not all(isinstance(part, Mapping) and isinstance(part.get("fingerprint"), str) for part in parts.values()):
        raise ValueError("data.parts must give each part its fingerprint")


def _mapping(facts: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The object under `key`; an empty one where it is missing or null."""
    value = facts.get(key)
    if value is not None and not isinstance(value, Mapping):
        raise ValueError(f"{key} must be an object")
    return value or {}


def _number(value: Any, what: str) -> float:
    """A finite number; a whole one of hundreds of digits, which JSON may hold, is none."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < MAX_NUMBER:
        return float(value)
    raise ValueError(f"{what} must be a finite number")
