import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, minimize_scalar
from scipy.special import logsumexp

from fieldmark.field.evaluate.calibration import (
    LOG_RANGE,
    fit_label_temperature,
    fit_platt,
    fit_temperature,
    platt_targets,
)
from fieldmark.field.evaluate.classification import expected_calibration_error, softmax


def loss(logits: np.ndarray, targets: np.ndarray, temperature: float) -> float:
    """Cross-entropy with the targets of Platt: (n + 1) / (n + 2) for the true class, the rest shared."""
    z = logits / temperature
    n, n_classes = z.shape
    soft = np.full(z.shape, 1 / (n + 2) / (n_classes - 1))
    soft[np.arange(n), targets] = (n + 1) / (n + 2)
    return float(-(soft * (z - logsumexp(z, axis=1, keepdims=True))).sum(1).mean())


def drawn(seed: int, true_temperature: float, n: int = 400, n_classes: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose labels were drawn at a known temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, n_classes))
    p = softmax(logits)
    targets = np.array([rng.choice(n_classes, p=row) for row in p])
    return logits * true_temperature, targets


@pytest.mark.parametrize("true_temperature", [0.1, 0.5, 1, 3, 40, 150])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_temperature_is_the_one_scipy_finds(true_temperature, seed):
    logits, targets = drawn(seed, true_temperature)
    best = minimize_scalar(lambda u: loss(logits, targets, np.exp(u)), bounds=LOG_RANGE, method="bounded")
    found = fit_temperature(logits, targets)
    assert np.log(found) == pytest.approx(best.x, abs=1e-3)
    assert found == pytest.approx(true_temperature, rel=0.25)


def test_a_class_that_was_no_choice_says_nothing():
    """Every third row lacks its last class, as where a fold of cross-validation has not seen it."""
    logits, targets = drawn(3, 2.0)
    lacking = (np.arange(len(targets)) % 3 == 0) & (targets != 5)
    logits[lacking, 5] = -np.inf

    def masked_loss(log_t: float) -> float:
        smoothing, total = 1 / (len(targets) + 2), 0.0
        for row, target in zip(logits, targets, strict=True):
            z = row[np.isfinite(row)] / np.exp(log_t)
            soft = np.full(len(z), smoothing / (len(z) - 1))
            soft[target] = 1 - smoothing  # the class that lacks is the last one
            total -= soft @ (z - logsumexp(z))
        return total

    best = minimize_scalar(masked_loss, bounds=LOG_RANGE, method="bounded")
    assert np.log(fit_temperature(logits, targets)) == pytest.approx(best.x, abs=1e-3)


@given(st.integers(0, 10_000), st.floats(-3, 3), st.integers(2, 8), st.integers(3, 40))
@settings(deadline=None, max_examples=50)
def test_no_temperature_of_a_grid_is_better(seed, log_scale, n_classes, n):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, np.exp(log_scale), (n, n_classes))
    targets = rng.integers(0, n_classes, n)
    least = min(loss(logits, targets, np.exp(u)) for u in np.linspace(*LOG_RANGE, 200))
    assert loss(logits, targets, fit_temperature(logits, targets)) <= least + 1e-6


def test_a_few_hopelessly_wrong_pictures_do_not_hide_the_minimum():
    logits = np.tile([0.0, 400.0], (40, 1))
    targets = np.array([1] * 30 + [0] * 10)
    share = (30 * 41 / 42 + 10 / 42) / 40
    assert fit_temperature(logits, targets) == pytest.approx(400 / np.log(share / (1 - share)), rel=1e-3)


@pytest.mark.parametrize("n", [10, 1000])
def test_pictures_that_are_all_right_do_not_make_it_certain(n):
    logits = np.tile([0.0, 5.0], (n, 1))
    t = fit_temperature(logits, np.ones(n, np.int64))
    assert softmax(logits / t)[:, 1] == pytest.approx((n + 1) / (n + 2), abs=1e-4)


def test_pictures_of_unknown_classes_do_not_count():
    logits, targets = drawn(0, 2.0)
    more = np.concatenate([logits, np.full((50, 6), 99.0)])
    assert fit_temperature(more, np.concatenate([targets, np.full(50, -1)])) == fit_temperature(logits, targets)


def test_without_a_known_class_the_temperature_is_one():
    assert fit_temperature(np.zeros((3, 2)), np.full(3, -1)) == 1.0
    assert fit_temperature(np.zeros((0, 2)), np.zeros(0, np.int64)) == 1.0


def test_the_temperature_repairs_overconfidence():
    logits, targets = drawn(3, 5.0)
    errors = []
    for t in (1.0, fit_temperature(logits, targets)):
        p = softmax(logits / t)
        errors.append(expected_calibration_error(p.max(1), p.argmax(1) == targets))
    assert errors[1] < 0.07 < errors[0]


def labelled(seed: int, n: int = 500, slope: float = 2.0, offset: float = -1.0) -> tuple[np.ndarray, np.ndarray]:
    """Values [n, 3] and labels drawn with sigmoid(slope * value + offset)."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0.5, 1.5, (n, 3))
    return values, rng.random((n, 3)) < 1 / (1 + np.exp(-(slope * values + offset)))


def binary_loss(logits: np.ndarray, wanted: np.ndarray) -> float:
    return float((np.logaddexp(0, logits) - wanted * logits).mean())


@pytest.mark.parametrize("seed", range(3))
def test_platts_line_is_the_one_scipy_finds(seed):
    values, truth = labelled(seed)
    slope, offset = fit_platt(values, truth)
    wanted = platt_targets(truth)
    for label in range(3):
        x, t = values[:, label], wanted[:, label]
        best = minimize(lambda v, x=x, t=t: binary_loss(v[0] * x + v[1], t), [1.0, 0.0], tol=1e-12).x
        assert (slope[label], offset[label]) == pytest.approx(tuple(best), abs=0.01)
    assert slope == pytest.approx([2, 2, 2], abs=0.7)


def test_a_line_through_labels_that_can_be_told_apart_or_are_all_alike_is_finite():
    values = np.array([[-1.0, 3.0, 5.0], [-2.0, 3.0, 1.0], [1.0, 3.0, 2.0], [2.0, 3.0, 0.0]])
    truth = np.array([[0, 1, 1], [0, 0, 1], [1, 1, 1], [1, 0, 1]], bool)
    slope, offset = fit_platt(values, truth)
    assert np.isfinite([slope, offset]).all()
    chances = 1 / (1 + np.exp(-(slope * values + offset)))
    assert ((chances[:, 0] > 0.5) == truth[:, 0]).all()
    assert chances[:, 1] == pytest.approx([0.5] * 4)
    assert (chances[:, 2] > 0.5).all()


@pytest.mark.parametrize("true_temperature", [0.3, 1, 8])
def test_the_temperature_of_labels_is_the_one_scipy_finds(true_temperature):
    values, truth = labelled(5, slope=1.0, offset=0.0)
    logits, wanted = values * true_temperature, platt_targets(truth)
    best = minimize_scalar(lambda u: binary_loss(logits / np.exp(u), wanted), bounds=LOG_RANGE, method="bounded")
    assert np.log(fit_label_temperature(logits, truth)) == pytest.approx(best.x, abs=1e-3)
    assert fit_label_temperature(logits[:0], truth[:0]) == 1.0


def test_smoothed_truths_are_platts():
    truth = np.array([[1, 0], [1, 0], [0, 0]], bool)
    np.testing.assert_allclose(platt_targets(truth), [[3 / 4, 1 / 5], [3 / 4, 1 / 5], [1 / 3, 1 / 5]])
