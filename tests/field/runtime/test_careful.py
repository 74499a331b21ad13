import numpy as np
import pytest

from fieldmark.field.runtime.careful import CarefulEngine, margin_noise, margins


class Fixed:
    """An engine whose logits are the pictures' first values; `shift` is its error on the first class."""

    name, precision, micro_batch = "fixed", "bf16", 4

    def __init__(self, shift: float) -> None:
        self.shift, self.seen = shift, 0

    def run(self, pictures, outputs):
        self.seen += len(pictures)
        logits = pictures[:, 0, 0].astype(np.float32)
        logits[:, 0] += self.shift
        every = {"logits": logits, "embedding": logits * 10}
        return {name: every[name] for name in outputs}


def pictures(*rows) -> np.ndarray:
    return np.array(rows, np.uint8)[:, None, None]


def test_near_ties_get_the_exact_answer_and_the_others_the_fast_one():
    fast, exact = Fixed(0.5), Fixed(0)
    engine = CarefulEngine(fast, lambda: exact, margin=2)
    found = engine.run(pictures([9, 1, 0], [4, 5, 0], [0, 0, 7]), ("embedding", "logits"))
    assert found["logits"].tolist() == [[9.5, 1, 0], [4, 5, 0], [0.5, 0, 7]]
    assert found["embedding"][1].tolist() == [40, 50, 0]
    assert (fast.seen, exact.seen) == (3, 1)


def test_logits_that_nobody_asked_for_are_not_given():
    engine = CarefulEngine(Fixed(0), lambda: Fixed(0), margin=1)
    assert list(engine.run(pictures([3, 1, 0]), ("embedding",))) == ["embedding"]


def test_the_exact_engine_is_made_once_and_only_when_needed():
    made = []
    engine = CarefulEngine(Fixed(0), lambda: made.append(1) or Fixed(0), margin=1)
    engine.run(pictures([9, 1, 0]), ("logits",))
    assert made == []
    for _ in range(2):
        engine.run(pictures([4, 4, 0]), ("logits",))
    assert made == [1]
    assert (engine.name, engine.precision, engine.micro_batch) == ("fixed", "bf16", 4)


def test_margins_are_best_minus_second_best():
    logits = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    expected = [sorted(row)[-1] - sorted(row)[-2] for row in logits]
    assert margins(logits) == pytest.approx(expected)
    assert np.isinf(margins(logits[:, :1])).all()


def test_margin_noise_is_the_error_of_the_gap_between_the_two_best():
    rng = np.random.default_rng(0)
    exact = rng.normal(0, 3, (50, 4)).astype(np.float32)
    fast = exact + rng.normal(0, 0.1, exact.shape).astype(np.float32)
    errors = []
    for e, f in zip(exact, fast, strict=True):
        a, b = sorted(range(4), key=lambda k: f[k])[-2:]
        errors.append((float(e[b]) - float(e[a])) - (float(f[b]) - float(f[a])))
    assert margin_noise(exact, fast) == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-5)
    assert margin_noise(exact, exact) == 0
    assert margin_noise(exact[:, :1], fast[:, :1]) == margin_noise(exact[:0], fast[:0]) == 0
