"""Losses against their formulas, written out in NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.field.evaluate.classification import groups_of
from fieldmark.workshop.learn.classify import Classify
from fieldmark.workshop.learn.losses import (
    arcface,
    asymmetric,
    binary_cross_entropy,
    coarse_cross_entropy,
    focal,
    huber,
    logit_adjusted,
    negative_log_likelihood,
    pixel_cross_entropy,
    presence_cross_entropy,
    soft_cross_entropy,
    soft_dice,
    squared_error,
    thing_cross_entropy,
    thing_dice,
)
from fieldmark.workshop.recipe import Recipe, load_recipe


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
    plain = Classify(classes, Recipe()).loss([logits], targets)
    terms = load_recipe(None, ["regularise.coarse=0.5"])
    expected = plain + 0.5 * coarse_cross_entropy(logits, targets, torch.tensor([1, 1, 0]))
    assert Classify(classes, terms, coarse_of=coarse_of).loss([logits], targets) == pytest.approx(float(expected))
    assert Classify(classes, terms).loss([logits], targets) == pytest.approx(float(plain))


def tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(np.asarray(a)).float() for a in arrays]


@given(*SHAPES)
def test_class_weights_multiply_each_classs_term(seed, n, classes):
    logits, targets = drawn(seed, n, classes)
    weights = np.random.default_rng(seed).uniform(0.1, 5, classes)
    by_hand = -(targets * weights * log_softmax(logits)).sum(1).mean()
    x, y, w = tensors(logits, targets, weights)
    assert float(soft_cross_entropy(x, y, weights=w)) == pytest.approx(by_hand, rel=1e-4, abs=1e-5)


@given(*SHAPES)
def test_the_likelihood_of_log_softmax_is_the_cross_entropy_of_logits(seed, n, classes):
    x, y = tensors(*drawn(seed, n, classes))
    found = negative_log_likelihood(torch.log_softmax(x, 1), y)
    assert float(found) == pytest.approx(float(soft_cross_entropy(x, y)), rel=1e-4)
    hard = y.argmax(1)
    one_hot = torch.nn.functional.one_hot(hard, classes).float()
    assert float(soft_cross_entropy(x, one_hot)) == pytest.approx(
        float(torch.nn.functional.cross_entropy(x, hard)), rel=1e-4
    )


@given(*SHAPES, st.sampled_from([0.0, 1.0, 2.0]))
def test_focal_terms_count_by_what_is_missing_to_one(seed, n, classes, gamma):
    logits, targets = drawn(seed, n, classes)
    log_p = log_softmax(logits)
    by_hand = -(targets * (1 - np.exp(log_p)) ** gamma * log_p).sum(1).mean()
    assert float(focal(*tensors(logits, targets), gamma)) == pytest.approx(by_hand, rel=1e-3, abs=1e-5)


@given(*SHAPES)
def test_adjusted_logits_add_the_logarithm_of_the_prior(seed, n, classes):
    logits, targets = drawn(seed, n, classes)
    priors = np.random.default_rng(seed).dirichlet(np.ones(classes)) + 1e-3
    moved = logits + np.log(priors)
    by_hand = -(targets * log_softmax(moved)).sum(1).mean()
    assert float(logit_adjusted(*tensors(logits, targets, priors))) == pytest.approx(by_hand, rel=1e-3, abs=1e-4)


@given(st.integers(0, 999), st.integers(1, 5), st.integers(2, 7))
def test_arcface_widens_the_angle_of_the_true_class(seed, n, classes):
    rng = np.random.default_rng(seed)
    cosines, truth = rng.uniform(-0.95, 0.95, (n, classes)), rng.integers(0, classes, n)
    logits = 30 * cosines
    for i, c in enumerate(truth):
        logits[i, c] = 30 * np.cos(min(np.arccos(cosines[i, c]) + 0.3, np.pi))
    by_hand = -np.mean([log_softmax(logits)[i, c] for i, c in enumerate(truth)])
    found = arcface(*tensors(cosines, np.eye(classes)[truth]))
    assert float(found) == pytest.approx(by_hand, rel=1e-3, abs=1e-4)


def test_arcface_at_the_ends_of_the_angle_has_a_gradient():
    cosines = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], requires_grad=True)
    arcface(cosines, torch.eye(2)).backward()
    assert cosines.grad is not None
    assert torch.isfinite(cosines.grad).all()


@given(*SHAPES, st.sampled_from([0.0, 0.2]))
def test_binary_cross_entropy_is_that_of_each_label(seed, n, labels, smoothing):
    logits, _ = drawn(seed, n, labels)
    truth = np.random.default_rng(seed).integers(0, 2, (n, labels))
    wanted = truth * (1 - smoothing) + smoothing / 2
    p = 1 / (1 + np.exp(-logits))
    by_hand = -(wanted * np.log(p) + (1 - wanted) * np.log(1 - p)).mean()
    assert float(binary_cross_entropy(*tensors(logits, truth), smoothing)) == pytest.approx(by_hand, rel=1e-3)


@given(*SHAPES)
def test_the_asymmetric_loss_fades_easy_absent_labels(seed, n, labels):
    logits, _ = drawn(seed, n, labels)
    truth = np.random.default_rng(seed).integers(0, 2, (n, labels))
    p = 1 / (1 + np.exp(-logits))
    q = np.maximum(p - 0.05, 0)
    by_hand = -np.where(truth == 1, (1 - p) ** 1.0 * np.log(p), q**4.0 * np.log(1 - q)).mean()
    assert float(asymmetric(*tensors(logits, truth), 1.0, 4.0, 0.05)) == pytest.approx(by_hand, rel=1e-3, abs=1e-6)


@given(st.integers(0, 999), st.integers(1, 9), st.sampled_from([0.5, 1.0, 2.0]))
def test_squared_and_hubers_error(seed, n, width):
    rng = np.random.default_rng(seed)
    values, truth = rng.normal(0, 3, (2, n, 1))
    gap = np.abs(values - truth)
    assert float(squared_error(*tensors(values, truth))) == pytest.approx((gap**2).mean(), rel=1e-4)
    by_hand = np.where(gap <= width, gap**2 / 2, width * (gap - width / 2)).mean()
    assert float(huber(*tensors(values, truth), width)) == pytest.approx(by_hand, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["loss.name=focal", "loss.gamma=1.5"], lambda x, y, share: focal(x, y, 1.5)),
        (["loss.name=arcface", "loss.margin=0.2"], lambda x, y, share: arcface(x / 30, y, 0.2, 30)),
        (["loss.imbalance=adjust"], lambda x, y, share: soft_cross_entropy(x + share.log(), y, 0.1)),
        (
            ["loss.imbalance=auto", "regularise.label_smoothing=0"],
            lambda x, y, share: logit_adjusted(x, y, share),
        ),
        (["loss.imbalance=none"], lambda x, y, share: soft_cross_entropy(x, y, 0.1)),
        (["loss.imbalance=weights"], lambda x, y, share: soft_cross_entropy(x, y, 0.1, 1 / (3 * share))),
    ],
)
def test_a_recipe_chooses_the_loss_of_classes(settings, expected):
    counts = np.array([60, 30, 5])
    x, y = tensors(*drawn(3, 6, 3))
    found = Classify(("a", "b", "c"), load_recipe(None, settings), counts).loss([x], y)
    assert float(found) == pytest.approx(float(expected(x, y, torch.from_numpy(counts / counts.sum()).float())))


def test_imbalance_is_left_alone_where_classes_are_of_one_size_and_pictures_are_drawn_by_their_classs():
    x, y = tensors(*drawn(3, 6, 2))
    alike = Classify(("a", "b"), Recipe(), np.array([30, 20])).loss([x], y)
    assert float(alike) == pytest.approx(float(soft_cross_entropy(x, y, 0.1)))
    sampling = Classify(("a", "b"), load_recipe(None, ["loss.imbalance=sampling"]), np.array([30, 10]))
    assert sampling.notes == ("classes have 10 to 30 training pictures: each is drawn alike (loss.imbalance)",)
    assert Classify(("a", "b"), Recipe(), np.array([30, 20])).notes == ()
    weights = sampling.weights(np.array([0, 1, 1]))
    assert weights is not None
    np.testing.assert_allclose(weights, [1 / 30, 1 / 10, 1 / 10])


def maps(seed: int, n: int, classes: int, ignored: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Logits and shares [N, L, h, w], some positions ignored in whole or in part."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(classes, 0.3), (n, 3, 4)).transpose(0, 3, 1, 2)
    kept = np.where(rng.random((n, 1, 3, 4)) < ignored, rng.integers(0, 2, (n, 1, 3, 4)) / 2, 1.0)
    return 3 * rng.normal(size=shares.shape), shares * kept


@given(st.integers(0, 999), st.integers(1, 4), st.integers(2, 5), st.sampled_from([0.0, 1.5]))
def test_pixel_cross_entropy_is_the_mean_over_what_is_not_ignored(seed, n, classes, gamma):
    logits, shares = maps(seed, n, classes)
    weights = np.random.default_rng(seed).uniform(0.5, 2, classes)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    counts = shares * weights[:, None, None]
    expected = -(counts * (1 - p) ** gamma * np.log(p)).sum() / counts.sum() if counts.sum() else 0.0
    found = pixel_cross_entropy(*tensors(logits, shares, weights), gamma=gamma)
    assert float(found) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_pixel_cross_entropy_of_whole_classes_is_torchs_with_ignored_pixels():
    rng = np.random.default_rng(0)
    numbers = torch.from_numpy(rng.choice([0, 1, 2, 255], (2, 5, 6)))
    logits = torch.from_numpy(rng.normal(size=(2, 3, 5, 6))).float()
    shares = torch.stack([numbers == c for c in range(3)], 1).float()
    weights = torch.tensor([0.5, 1.0, 2.0])
    expected = torch.nn.functional.cross_entropy(logits, numbers, weights, ignore_index=255)
    assert float(pixel_cross_entropy(logits, shares, weights)) == pytest.approx(float(expected), rel=1e-5)


@given(st.integers(0, 999), st.integers(1, 4), st.integers(2, 5))
def test_soft_dice_is_by_the_formula_for_the_classes_that_are_there(seed, n, classes):
    logits, shares = maps(seed, n, classes)
    shares[:, -1] = 0
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True) * shares.sum(1, keepdims=True)
    losses = [
        1 - (2 * (p[:, c] * shares[:, c]).sum() + 1) / (p[:, c].sum() + shares[:, c].sum() + 1)
        for c in range(classes)
        if shares[:, c].sum() > 0
    ]
    assert float(soft_dice(*tensors(logits, shares))) == pytest.approx(np.mean(losses), rel=1e-4)


@given(st.integers(0, 999), st.integers(1, 4), st.integers(2, 5))
def test_the_losses_of_things_take_all_classes_but_the_first_together(seed, n, classes):
    logits, shares = maps(seed, n, classes)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    thing, there, known = 1 - p[:, 0], shares[:, 1:].sum(1), shares.sum(1)
    found, dice = (float(loss(*tensors(logits, shares))) for loss in (thing_cross_entropy, thing_dice))
    if known.sum():
        expected = -(shares[:, 0] * np.log(p[:, 0]) + there * np.log(thing)).sum() / known.sum()
        assert found == pytest.approx(expected, rel=1e-4)
    each = [
        1 - (2 * (thing[i] * known[i] * there[i]).sum() + 0.5) / ((thing[i] * known[i] + there[i]).sum() + 0.5)
        for i in range(n)
    ]
    assert dice == pytest.approx(np.mean(each), rel=1e-4)


@given(st.integers(0, 999), st.integers(1, 6), st.integers(2, 5))
def test_whether_a_picture_shows_a_thing_is_asked_of_its_surest_positions(seed, n, classes):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, classes, 4, 5))
    shares = np.zeros_like(logits)
    shares[:, 0] = 1
    kinds = rng.integers(0, 3, n)  # nothing, a sliver, a thing
    for i, kind in enumerate(kinds):
        if kind:
            shares[i, :, 1, 2] = 0
            shares[i, 1, 1, 2], shares[i, 0, 1, 2] = (0.3, 0.7) if kind == 1 else (0.9, 0.1)
    expected = []
    for i in np.flatnonzero(kinds != 1):
        odds = np.log(np.exp(logits[i, 1:]).sum(0)) - logits[i, 0]
        said = np.sort(odds.ravel())[-3:].mean()
        expected.append(np.log1p(np.exp(-said if kinds[i] else said)))
    found = presence_cross_entropy(*tensors(logits, shares), surest=3)
    assert float(found) == pytest.approx(np.mean(expected) if expected else 0.0, rel=1e-4, abs=1e-7)


def test_a_mostly_ignored_picture_is_asked_by_what_is_known_of_it():
    logits = torch.tensor([[[[0.0, 0.0, 0.0]], [[1.0, 2.0, 9.0]]]])
    shares = torch.tensor([[[[1.0, 1.0, 0.0]], [[0.0, 0.0, 0.0]]]])
    assert float(presence_cross_entropy(logits, shares, 2)) == pytest.approx(np.log1p(np.exp(1.5)))
    assert float(presence_cross_entropy(logits, shares, 3)) == 0


def test_losses_of_pixels_that_are_all_ignored_are_nothing():
    logits, nothing = torch.randn(1, 2, 3, 3, requires_grad=True), torch.zeros(1, 2, 3, 3)
    loss = pixel_cross_entropy(logits, nothing) + soft_dice(logits, nothing)
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()
