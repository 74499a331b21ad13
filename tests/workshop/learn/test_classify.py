"""What classification refuses before it trains."""

from pathlib import Path

import pytest

from fieldmark.data.index import Index
from fieldmark.errors import DataError
from fieldmark.types import Sample
from fieldmark.workshop.learn.classify import Classify, check_classes
from fieldmark.workshop.recipe import Recipe


def index(**parts: str) -> Index:
    samples = [
        Sample(Path(f"{part}{i}"), f"{part}{i}", (label,), part)
        for part, labels in parts.items()
        for i, label in enumerate(labels.split())
    ]
    return Index("x", tuple(samples))


def test_classes_are_those_of_training_by_name():
    assert check_classes(index(train="b a b c", val="a", test="c")) == ("a", "b", "c")


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"val": "a b"}, "the training part is empty"),
        ({"train": "a a"}, "only one class"),
        ({"train": "a b", "val": "c"}, "'c' has pictures for validation or test"),
        ({"train": "a b", "test": "h g f e d c"}, r"'c', 'd', 'e', 'f', 'g', \.\.\."),
        ({"train": "a A"}, "differ only in case"),
    ],
)
def test_what_cannot_be_learned_is_said(parts, says):
    with pytest.raises(DataError, match=says):
        Classify.of(index(**parts), Recipe())


@pytest.mark.parametrize(
    ("new", "old", "n", "better"),
    [
        ((0.90, -0.5), (0.80, -0.3), 100, True),  # many more right, though less sure
        ((0.80, -0.3), (0.90, -0.5), 100, False),
        ((0.89, -0.3), (0.90, -0.5), 100, True),  # as many right, more sure
        ((0.91, -0.6), (0.90, -0.5), 100, False),
        ((0.89, -0.3), (0.90, -0.5), 100_000, False),  # of many pictures one in a hundred counts
        ((1.00, -0.1), (1.00, -0.2), 10, True),
        ((1.00, -0.3), (1.00, -0.2), 10, False),
        ((1.00, -0.19), (1.00, -0.2), 15, False),  # not surely more sure: the simpler one
        ((1.00, -0.1), (0.93, -0.12), 15, True),
    ],
)
def test_a_network_is_better_by_right_names_then_by_its_score(new, old, n, better):
    def scores(of):
        return {"accuracy": of[0], "score": of[1], "error": 0.05}

    assert Classify(("a", "b"), Recipe()).better(scores(new), scores(old), n) is better
