"""The one training loop: for every stage and every task, on CPU and CUDA.

Everything that a step does depends on the recipe, the seed and the step's number alone, so that a checkpoint need only
know how far it came, and a resumed run ends with the very weights of an undisturbed one.
"""

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from fieldmark.errors import FieldmarkError, UsageError
from fieldmark.workshop.recipe import OptimRecipe, TuneRecipe
from fieldmark.workshop.train import checkpoint, interrupt, optim
from fieldmark.workshop.train.checkpoint import State
from fieldmark.workshop.train.device import seed_step
from fieldmark.workshop.train.journal import Journal
from fieldmark.workshop.train.pace import Pace

CHECKPOINT_EVERY_S = 30.0
MOST_ROLLBACKS = 3
LOWER_RATE = 0.3
COOL_DOWN = 0.2  # of the steps so far, in which the schedule comes to its end when validation has stopped improving
NOISE = 0.5  # standard errors of the validation score that are no difference


class Lesson(Protocol):
    """What the loop teaches: made by a stage and a task."""

    check_every: int  # steps between two looks at validation

    @property
    def module(self) -> nn.Module: ...

    def batch(self, number: int, done: float) -> Any:
        """Batch `number`, with so much of the schedule (0..1) done; the same whenever it is asked for."""
        ...

    def loss(self, batch: Any) -> Tensor:
        """The loss of the module on a batch, a scalar."""
        ...

    def score(self) -> dict[str, float] | None:
        """Validation scores of the module as it is, "score" the one to raise; None where there is no validation."""
        ...


@dataclass
class Progress:
    """Where a fit stands; all of it goes into checkpoints."""

    step: int = 0
    best: float = -math.inf
    highest: float = -math.inf
    best_step: int = 0
    waited: int = 0
    cooling: bool = False
    rollbacks: int = 0
    rate: float = 1.0
    history: list[dict[str, float]] = field(default_factory=list)
    stopped: str = ""

    def facts(self) -> dict[str, Any]:
        """What a bundle records of it."""
        names = ("best_step", "stopped", "rollbacks", "history")
        return {"steps": self.step, **{name: getattr(self, name) for name in names}}


class Fit:
    """One stage's training. `run()` leaves the best weights in the module.

    A checkpoint in `file` is gone on from; UsageError when it has another `identity` (what it was made from).
    """

    def __init__(
        self,
        name: str,
        lesson: Lesson,
        optimiser: torch.optim.Optimizer,
        pace: Pace,
        recipe: tuple[OptimRecipe, TuneRecipe],
        journal: Journal,
        *,
        autocast: bool,
        seed: int,
        file: Path | None = None,
        identity: str = "",
    ) -> None:
        self.name, self.lesson, self.optimiser, self.pace = name, lesson, optimiser, pace
        self.optim, self.tune = recipe
        self.journal, self.autocast, self.seed = journal, autocast, seed
        self.file, self.identity = file, identity
        self.device = next(lesson.module.parameters()).device
        self.at = Progress()
        self.average = optim.Average(lesson.module, self.optim.ema) if self.optim.ema else None
        self.best = optim.copy_of(lesson.module)
        self._good: State | None = None
        self._saved = time.monotonic()
        self.compute_s = 0.0  # of forward, backward and optimiser; the rest is the loop's own
        self.checked_s = 0.0  # of validation

    def run(self) -> Progress:
        """Train to the end of the pace; soon after validation stops improving, the rest of the schedule until then."""
        self._restore()
        began = time.monotonic()
        with self.journal.step(self.name) as tick, interrupt.held() as pressed:
            while not self.at.stopped and self.at.step < self.pace.steps:
                if self._step():
                    self.pace.look(self.at.step)
                    last = self.at.step >= self.pace.steps
                    if last or self.at.step % self.lesson.check_every == 0:
                        self._check()
                    if time.monotonic() - self._saved > CHECKPOINT_EVERY_S:
                        self._save()
                tick(self.at.step, self.pace.steps)
                if pressed():
                    self._save()
                    break  # and raised
        if not self.at.stopped:
            self.at.stopped = "validation stopped improving" if self.at.cooling else "planned end"
        optim.put(self.lesson.module, self.best)
        self._save()
        took = time.monotonic() - began - self.checked_s
        self.journal.write("loop", stage=self.name, own=round(1 - self.compute_s / max(took, 1e-9), 4))
        return self.at

    def _step(self) -> bool:
        """One step of the optimiser; False when the loss was no number and the weights were rolled back."""
        began = time.monotonic()
        step, total = self.at.step, 0.0
        done = self.pace.fraction(step)
        share = optim.factor(self.optim.schedule, done, self.optim.warm_up) * self.at.rate
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * share
        seed_step(self.device, hash((self.seed, step)) & 0x7FFF_FFFF)
        self.optimiser.zero_grad(set_to_none=True)
        for i in range(self.tune.accumulate):
            batch = self.lesson.batch(step * self.tune.accumulate + i, done)
            begun = time.monotonic()
            with torch.autocast(self.device.type, torch.bfloat16, self.autocast):
                loss = self.lesson.loss(batch) / self.tune.accumulate
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
            self.compute_s += time.monotonic() - begun
        begun = time.monotonic()
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        norm = float(nn.utils.clip_grad_norm_(parameters, self.optim.clip or math.inf, foreach=True))
        if not (math.isfinite(total) and math.isfinite(norm)):
            self._roll_back(total)
            return False
        self.optimiser.step()
        self.compute_s += time.monotonic() - begun
        if self.average is not None:
            self.average.update(step)
        self.at.step += 1
        took = time.monotonic() - began
        rate = max(group["lr"] for group in self.optimiser.param_groups)
        self.journal.measure("train", self.name, step, loss=round(total, 5), rate=rate, took=round(took, 4))
        return True

    def _check(self) -> None:
        """Score the averaged weights; keep them when they are the best so far, or not surely worse: later weights, at
        lower rates, are better ones than a few validation pictures can tell. Cool down when patience is at its end."""
        began = time.monotonic()
        own = optim.copy_of(self.lesson.module)
        if self.average is not None:
            optim.put(self.lesson.module, self.average.values)
        found = self.lesson.score()
        value = found["score"] if found is not None else float(self.at.step)  # without validation: the last is best
        within = NOISE * (found or {}).get("error", 0.0)
        self.at.highest = max(self.at.highest, value)
        if value >= self.at.highest - within:
            self.at.best, self.at.best_step, self.at.waited = value, self.at.step, 0
            self.best = optim.copy_of(self.lesson.module)
        else:
            self.at.waited += 1
            if self.at.waited == self.tune.patience and not self.at.cooling:
                self.at.cooling = True
                self.pace.end_by(self.at.step, self.at.step + max(1, round(COOL_DOWN * self.at.step)))
        optim.put(self.lesson.module, own)
        row = {"fraction": self.pace.fraction(self.at.step), **(found or {})}
        self.at.history.append({"step": float(self.at.step), **row})
        self.journal.measure("check", self.name, self.at.step, **row)
        self._good = self._state()
        self.checked_s += time.monotonic() - began

    def _roll_back(self, loss: float) -> None:
        """Back to the last weights that were scored, or that a resumed fit began with, with a lower rate; the end after
        too many times."""
        rollbacks, rate = self.at.rollbacks + 1, self.at.rate * LOWER_RATE
        self.journal.write("rollback", stage=self.name, step=self.at.step, loss=str(loss), rate=rate)
        back = 0 if self._good is None else self._good.facts["step"]
        self.journal.say(f"the loss is no number: back to step {back}, with {LOWER_RATE:.0%} of the rate")
        if self._good is not None:
            self._put(self._good)
        else:
            optim.put(self.lesson.module, self.best)
            self.optimiser.state.clear()
            self.at = Progress()
            if self.average is not None:
                self.average = optim.Average(self.lesson.module, self.optim.ema)
        self.at.rollbacks, self.at.rate = rollbacks, rate
        if rollbacks > MOST_ROLLBACKS:
            self.at.stopped = "the loss was no number, at lower rates too"

    def _state(self, copied: bool = True) -> State:
        """Where the fit stands; without copies only to be written at once."""
        tensors = {
            "module": {k: v.detach() for k, v in optim.learned(self.lesson.module).items()},
            "optimiser": checkpoint.optimiser_tensors(self.optimiser),
        }
        if self.average is not None:
            tensors["average"] = dict(self.average.values)
        if copied:
            tensors = {group: {k: v.clone() for k, v in named.items()} for group, named in tensors.items()}
        tensors["best"] = self.best
        return State(
            tensors, {**vars(self.at), "history": list(self.at.history), "stage": self.name, "identity": self.identity}
        )

    def _put(self, state: State) -> None:
        optim.put(self.lesson.module, state.tensors["module"])
        checkpoint.put_optimiser_tensors(self.optimiser, state.tensors.get("optimiser", {}))
        self.best = state.tensors["best"]
        if self.average is not None:
            self.average.values = {k: v.clone().to(self.device) for k, v in state.tensors["average"].items()}
        self.at = Progress(**{k: v for k, v in state.facts.items() if k not in ("stage", "identity")})

    def _save(self) -> None:
        if self.file is not None:
            checkpoint.save(self.file, self._state(copied=False))
        self._saved = time.monotonic()

    def _restore(self) -> None:
        state = checkpoint.load(self.file) if self.file is not None else None
        if state is None or self.file is None:
            return
        if (state.facts.get("stage"), state.facts.get("identity")) != (self.name, self.identity):
            raise UsageError(
                f"the checkpoint {self.file} is of other pictures or another plan; delete it to begin its stage anew"
            )
        try:
            self._put(state)
        except (FieldmarkError, AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise checkpoint.damaged(self.file, error) from error
        self._good = self._state()
        self.journal.say(f"{self.name} goes on at step {self.at.step:,}")
