"""Which loss a recipe chooses for labels and for numbers, and what it adds."""

import numpy as np
import pytest
import torch

from fieldmark.workshop.learn.classify import Classify
from fieldmark.workshop.learn.multilabel import MultiLabel
from fieldmark.workshop.learn.regress import Regress
from fieldmark.workshop.recipe import load_recipe

RNG = np.random.default_rng(0)
LOGITS, TRUTH = RNG.normal(0, 2, (6, 3)), RNG.integers(0, 2, (6, 3)).astype(float)
Q = 1 / (1 + np.exp(-LOGITS))


def by_hand(there, absent):
    return -(TRUTH * there * np.log(Q) + (1 - TRUTH) * absent).mean()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["regularise.label_smoothing=0"], by_hand(1, np.log(1 - Q))),
        (["loss.name=focal", "loss.gamma=1.5"], by_hand((1 - Q) ** 1.5, Q**1.5 * np.log(1 - Q))),
        (
            ["loss.name=asymmetric"],
            by_hand(1, np.maximum(Q - 0.05, 0) ** 4 * np.log(1 - np.maximum(Q - 0.05, 0))),
        ),
    ],
)
def test_a_recipe_chooses_the_loss_of_labels(settings, expected):
    learner = MultiLabel(("a", "b", "c"), load_recipe(None, settings))
    found = learner.loss([torch.from_numpy(LOGITS)], torch.from_numpy(TRUTH))
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["mse", "huber"])
def test_a_recipe_chooses_the_loss_of_a_number(name):
    values, truth = LOGITS[:, :1], TRUTH[:, :1]
    gap = np.abs(values - truth)
    straight = np.where(gap <= 0.5, gap**2 / 2, 0.5 * (gap - 0.25))
    expected = (gap**2 if name == "mse" else straight).mean()
    learner = Regress(0.0, 1.0, load_recipe(None, [f"loss.name={name}", "loss.width=0.5"]))
    found = learner.loss([torch.from_numpy(values)], torch.from_numpy(truth))
    assert float(found) == pytest.approx(expected, rel=1e-5)


APART = ("regularise.apart=0.5", "model.maps=2", "model.head=additive")


@pytest.mark.parametrize("make", [MultiLabel, Classify])
@pytest.mark.parametrize("join", [True, False])
def test_attended_maps_that_are_alike_cost_what_the_recipe_says(make, join):
    """The cosine of the two attended maps; the average's uniform one, joined to them, counts for nothing."""
    logits, truth = torch.from_numpy(LOGITS), torch.from_numpy(TRUTH)
    maps = torch.rand(6, 2, 3, 3)
    alike = torch.nn.functional.cosine_similarity(maps[:, 0].flatten(1), maps[:, 1].flatten(1)).mean()
    given = torch.cat([torch.full((6, 1, 3, 3), 1 / 9), maps], 1) if join else maps
    learner = make(("a", "b", "c"), load_recipe(None, [*APART, f"model.join={str(join).lower()}"]))
    without = make(("a", "b", "c"), load_recipe(None, [])).loss([logits, given], truth)
    assert float(learner.loss([logits, given], truth)) == pytest.approx(float(without + 0.5 * alike), rel=1e-5)
