import numpy as np

from fieldmark.field.runtime.careful import CarefulEngine


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


def gap(logits) -> np.ndarray:
    """Best minus second-best."""
    ranked = np.sort(logits, 1)
    return ranked[:, -1] - ranked[:, -2]


def pictures(*rows) -> np.ndarray:
    return np.array(rows, np.uint8)[:, None, None]


def test_near_ties_get_the_exact_answer_and_the_others_the_fast_one():
    fast, exact = Fixed(0.5), Fixed(0)
    engine = CarefulEngine(fast, lambda: exact, margin=2, margins=gap)
    found = engine.run(pictures([9, 1, 0], [4, 5, 0], [0, 0, 7]), ("embedding", "logits"))
    assert found["logits"].tolist() == [[9.5, 1, 0], [4, 5, 0], [0.5, 0, 7]]
    assert found["embedding"][1].tolist() == [40, 50, 0]
    assert (fast.seen, exact.seen) == (3, 1)


def test_logits_that_nobody_asked_for_are_not_given():
    engine = CarefulEngine(Fixed(0), lambda: Fixed(0), margin=1, margins=gap)
    assert list(engine.run(pictures([3, 1, 0]), ("embedding",))) == ["embedding"]


def test_the_exact_engine_is_made_once_and_only_when_needed():
    made = []
    engine = CarefulEngine(Fixed(0), lambda: made.append(1) or Fixed(0), margin=1, margins=gap)
    engine.run(pictures([9, 1, 0]), ("logits",))
    assert made == []
    for _ in range(2):
        engine.run(pictures([4, 4, 0]), ("logits",))
    assert made == [1]
    assert (engine.name, engine.precision, engine.micro_batch) == ("fixed", "bf16", 4)
