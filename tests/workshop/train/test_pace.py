"""The number of steps and the share done, with and without a clock."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from fieldmark.workshop.train.pace import Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def run(deadline: float, step_s, steps: int, most: int | None = None) -> tuple[Pace, Clock, list]:
    clock, revisions = Clock(), []
    pace = Pace(steps, 100.0 + deadline, most, (), revisions.append, clock)
    step = 0
    while step < pace.steps:
        clock.now += step_s(step) if callable(step_s) else step_s
        step += 1
        pace.look(step)
    return pace, clock, revisions


def test_without_a_deadline_nothing_changes():
    pace = Pace(50)
    for step in range(50):
        pace.look(step)
    assert pace.steps == 50
    assert [pace.fraction(s) for s in (0, 25, 50)] == [0.0, 0.5, 1.0]


def test_slower_steps_than_planned_end_at_the_deadline():
    _, clock, revisions = run(60.0, 0.5, 1000)
    assert revisions
    assert 57 <= clock.now - 100 <= 60.6


def test_quicker_steps_than_planned_use_the_time_up_to_the_most():
    _, clock, _ = run(60.0, 0.1, 100)
    assert 57 <= clock.now - 100 <= 60.2
    pace, clock, _ = run(60.0, 0.1, 100, most=200)
    assert pace.steps == 200


def test_a_machine_that_slows_down_half_way_still_ends_in_time():
    _, clock, _ = run(60.0, lambda step: 0.1 if step < 200 else 0.6, 600)
    assert clock.now - 100 <= 60.7


def test_a_stall_ends_the_stage_at_once():
    pace, _, _ = run(10.0, lambda step: 0.1 if step != 20 else 50.0, 100)
    assert pace.steps == 21


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 500)), max_size=6), st.integers(1, 500))
def test_the_share_never_falls_and_ends_at_one(changes, steps):
    revisions, last = [], 0
    for at, left in sorted(changes):
        if at >= last:
            revisions.append((at, at + left))
            last = at
    pace = Pace(steps, revisions=revisions)
    shares = [pace.fraction(s) for s in range(max(pace.steps, last) + 1)]
    assert all(a <= b + 1e-12 for a, b in itertools.pairwise(shares))
    assert shares[-1] == 1.0
    assert shares[0] == 0.0 or (revisions and revisions[0][0] == 0)


def test_replayed_revisions_give_the_same_shares():
    pace, _, revisions = run(60.0, lambda step: 0.1 + 0.002 * step, 500)
    again = Pace(500, revisions=revisions)
    assert again.steps == pace.steps
    assert [again.fraction(s) for s in range(pace.steps)] == [pace.fraction(s) for s in range(pace.steps)]
