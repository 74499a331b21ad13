"""What classification refuses before it trains."""

from pathlib import Path

import numpy as np
import pytest

from fieldmark.data.index import Index
from fieldmark.errors import DataError
from fieldmark.types import Sample
from fieldmark.workshop.learn.classify import Classify, check_classes
from fieldmark.workshop.recipe import Recipe, load_recipe


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


@pytest.mark.parametrize("positive", ["bad", "good"])
@pytest.mark.parametrize("wish", ["sensitivity", "specificity"])
@pytest.mark.parametrize("rate", [0.7, 0.9, 0.97])
def test_the_operating_point_reaches_the_wish_on_the_pictures_that_it_is_chosen_on_and_hardly_more(
    positive, wish, rate
):
    """Counted by hand, of classes whose logits overlap."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, 400)
    logits = np.stack([np.zeros(400), rng.normal(2 * targets - 1, 1.5)], 1)
    recipe = load_recipe(None, [f"decide.positive={positive}", f"decide.{wish}={rate}"])
    facts = Classify(("bad", "good"), recipe).settle(logits, targets)
    assert facts["positive"] == positive
    number = ("bad", "good").index(positive)
    scaled = np.exp(logits / facts["calibration"]["temperature"])
    said = (scaled / scaled.sum(1, keepdims=True))[:, number] > facts["thresholds"]["positive_at"]
    asked = targets == number
    found = said[asked].mean() if wish == "sensitivity" else (~said[~asked]).mean()
    assert rate <= found < rate + 1 / 150
    other = (~said[~asked]).mean() if wish == "sensitivity" else said[asked].mean()
    assert 0.1 < other < 0.95  # what is bought is paid for


def test_without_a_wish_or_a_picture_to_tell_there_is_no_operating_point():
    logits, targets = np.zeros((4, 2)), np.array([1, 1, 1, 1])
    assert "positive_at" not in Classify(("a", "b"), Recipe()).settle(logits, targets)["thresholds"]
    wish = load_recipe(None, ["decide.positive=a", "decide.sensitivity=0.9"])
    assert "positive_at" not in Classify(("a", "b"), wish).settle(logits, targets)["thresholds"]


def test_logits_gain_where_the_same_pictures_surely_cost_less():
    """A little on every picture is sure, where the unpaired error would hide it; as much and as little is not."""
    rng = np.random.default_rng(0)
    learner, targets = Classify.of(index(train="a b c"), Recipe()), rng.integers(3, size=200)
    old = 2 * np.eye(3)[targets] + rng.normal(0, 2, (200, 3))
    little = old + 0.1 * np.eye(3)[targets]
    score, better = (learner.score(logits, targets) for logits in (old, little))
    assert 0 < better["score"] - score["score"] < score["error"]
    assert learner.gains(little, old, targets)
    assert not learner.gains(old, little, targets)
    assert not learner.gains(old, old, targets)
    assert sum(learner.gains(old + rng.normal(0, 0.3, old.shape), old, targets) for _ in range(20)) < 8
    assert -learner.costs(old, targets).mean() == pytest.approx(score["score"])
