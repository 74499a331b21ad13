from pathlib import Path

import numpy as np
import pytest

from fieldmark.field.tasks import TaskFacts
from fieldmark.field.tasks.regress import Regress
from fieldmark.types import Sample

FACTS = TaskFacts(("target",), target={"mean": 10.0, "scale": 4.0, "error90": 1.5})
TASK = Regress()


def samples(*targets: float | None) -> list[Sample]:
    return [Sample(Path(f"{i}"), f"{i}", target=t) for i, t in enumerate(targets)]


def test_the_number_is_in_the_datas_own_units_with_what_holds_nine_of_ten():
    (one,) = TASK.predict(["a.jpg"], {"logits": np.array([[0.5]])}, FACTS)
    assert one.extra == {"value": 12.0, "interval": [10.5, 13.5]}
    row = one.to_json()
    assert (row["labels"], row["unsure"], row["value"]) == ([], None, 12.0)


def test_scores_are_of_samples_with_a_number_beside_those_of_the_mean():
    found = TASK.score(samples(12.0, None, 6.0), {"logits": np.array([[0.5], [9.0], [-0.5]])}, FACTS)
    assert (found["n"], found["mae"], found["baseline_mae"], found["within_interval"]) == (2, 1.0, 3.0, 0.5)
    nothing = TASK.score(samples(None), {"logits": np.zeros((1, 1))}, FACTS)
    assert (nothing["n"], nothing["mae"]) == (0, None)


def test_each_picture_is_as_good_as_its_error_is_small():
    found = TASK.each(samples(12.0, 6.0), {"logits": np.array([[0.5], [-0.5]])}, FACTS)
    assert found.tolist() == [0, -2]


def test_no_number_may_be_stated_less_exactly_than_in_float32():
    logits = np.array([[0.25], [3.0]])
    assert TASK.margins(logits, FACTS).tolist() == [0, 0]
    assert (TASK.decisions(logits, FACTS) == logits).all()
    assert TASK.guess(samples(1.0), FACTS)[:2] == ("r2", pytest.approx(0))
