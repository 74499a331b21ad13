"""How many steps a stage has, and how far along it is; with a deadline, revised by the clock as it goes."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LOOK_EVERY_S = 3.0
TOLERANCE = 0.03  # of the remaining time, before the number of steps is revised
FIRST_STEPS = 3  # whose time says little

Revision = tuple[int, int]  # at this step, so many steps in all


@dataclass(frozen=True)
class _Segment:
    step: int
    fraction: float
    steps: int


class Pace:
    """`steps` in all, and their share that is done, on which rates depend.

    `deadline` is on the clock of time.monotonic(); without one the number of steps never changes. A revision spreads
    what is left of the schedule over the steps that are left, and goes to `on_revise`. `revisions` of an earlier run
    are replayed, and then no clock counts: the run goes on as it was planned.
    """

    def __init__(
        self,
        steps: int,
        deadline: float | None = None,
        most: int | None = None,
        revisions: Sequence[Revision] = (),
        on_revise: Callable[[Revision], None] = lambda revision: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.steps = max(1, steps)
        self.deadline, self.most, self.on_revise, self.clock = deadline, most or 10**9, on_revise, clock
        self._segments = [_Segment(0, 0.0, self.steps)]
        for step, total in revisions:
            self._revise(step, total)
        self._began: tuple[int, float] | None = None
        self._looked = 0.0

    def fraction(self, step: int) -> float:
        """The share of the schedule, 0..1, that is done before `step`."""
        segment = next(s for s in reversed(self._segments) if s.step <= step)
        if step >= segment.steps:
            return 1.0
        left = segment.steps - segment.step
        return min(1.0, segment.fraction + (1 - segment.fraction) * (step - segment.step) / left)

    def look(self, step: int) -> None:
        """After `step` steps: look at the clock and, where the deadline asks for it, revise the number of steps."""
        if self.deadline is None:
            return
        now = self.clock()
        if self._began is None:
            if step >= FIRST_STEPS:
                self._began = (step, now)
            return
        if now >= self.deadline:
            self._change(step, step)
        elif now - self._looked >= LOOK_EVERY_S and step > self._began[0]:
            self._looked = now
            took_s = (now - self._began[1]) / (step - self._began[0])
            possible = min(self.most, step + max(0, int((self.deadline - now) / took_s)))
            if abs(possible - self.steps) > TOLERANCE * max(1, self.steps - step):
                self._change(step, possible)

    def end_by(self, step: int, steps: int) -> None:
        """After `step` steps: end after so many in all, unless the end is nearer."""
        self.most = min(self.most, steps)
        self._change(step, min(self.steps, steps))

    def _change(self, step: int, steps: int) -> None:
        if steps != self.steps:
            self._revise(step, steps)
            self.on_revise((step, steps))

    def _revise(self, step: int, steps: int) -> None:
        self._segments.append(_Segment(step, self.fraction(step), steps))
        self.steps = steps
