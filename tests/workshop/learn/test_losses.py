"""Losses against their formulas, written out in NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.field.evaluate.classification import groups_of
from fieldmark.workshop.learn.classify import Classify
from fieldmark.workshop.learn.losses import coarse_cross_entropy, soft_cross_entropy
from fieldmark.workshop.recipe import RegulariseRecipe


def drawn(seed: int, n: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits and class probabilities of the truth, both [n, classes]."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, 3, (n, classes)), rng.dirichlet(np.ones(classes), n)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


SHAPES = (st.integers(0, 999), st.integers(1, 5), st.integers(2, 7))


@given(*SHAPES, st.sampled_from([0.0, 0.1, 0.5]))
def test_cross_entropy_is_the_mean_of_smoothed_targets_times_log_probabilities(seed, n, classes, smoothing):
    logits, targets = drawn(seed, n, classes)
    smoothed = targets * (1 - smoothing) + smoothing / classes
    by_hand = np.mean([-(smoothed[i] * log_softmax(logits)[i]).sum() for i in range(n)])
    found = soft_cross_entropy(torch.from_numpy(logits), torch.from_numpy(targets).float(), smoothing)
    assert float(found) == pytest.approx(by_hand, rel=1e-4)


@given(*SHAPES, st.integers(1, 4))
def test_the_coarse_loss_is_the_cross_entropy_of_summed_probabilities(seed, n, classes, groups):
    logits, targets = drawn(seed, n, classes)
    of = np.random.default_rng(seed).integers(0, groups, classes)
    by_hand = 0.0
    for i in range(n):
        for group in range(groups):
            inside = of == group
            if inside.any():
                by_hand -= targets[i, inside].sum() * np.log(np.exp(log_softmax(logits)[i, inside]).sum()) / n
    inputs = torch.from_numpy(logits), torch.from_numpy(targets).float(), torch.from_numpy(of)
    assert float(coarse_cross_entropy(*inputs)) == pytest.approx(by_hand, rel=1e-4, abs=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert float(coarse_cross_entropy(*inputs)) == pytest.approx(by_hand, rel=1e-4, abs=1e-5)


def test_the_coarse_loss_of_a_hopeless_guess_is_a_number_with_a_gradient():
    logits = torch.tensor([[500.0, 0.0, 0.0]], requires_grad=True)
    loss = coarse_cross_entropy(logits, torch.tensor([[0.0, 1.0, 0.0]]), torch.arange(3))
    loss.backward()
    assert torch.isfinite(loss)
    assert loss > 50
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_a_recipe_may_add_the_loss_of_coarse_labels_where_the_data_has_them():
    classes, coarse_of = ("ant", "bee", "cat"), {"ant": "insect", "bee": "insect"}
    assert groups_of(classes, coarse_of)[0] == ["cat", "insect"]
    logits, targets = (torch.from_numpy(v).float() for v in drawn(0, 4, 3))
    plain = Classify(classes).loss([logits], targets)
    terms = RegulariseRecipe(label_smoothing=0.0, coarse=0.5)
    expected = plain + 0.5 * coarse_cross_entropy(logits, targets, torch.tensor([1, 1, 0]))
    assert Classify(classes, terms, coarse_of).loss([logits], targets) == pytest.approx(float(expected))
    assert Classify(classes, terms).loss([logits], targets) == pytest.approx(float(plain))
