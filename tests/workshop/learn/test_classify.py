"""What classification refuses before it trains."""

from pathlib import Path

import pytest

from fieldmark.data.index import Index
from fieldmark.errors import DataError
from fieldmark.types import Sample
from fieldmark.workshop.learn.classify import check_classes


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
        check_classes(index(**parts))
