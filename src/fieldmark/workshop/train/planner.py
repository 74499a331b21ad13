"""Makes the plan of a run from its budget and from speeds measured in the first seconds, and revises it."""

import math
import time
from dataclasses import replace

from fieldmark.errors import UsageError
from fieldmark.field.explain.faithfulness import FRAMES
from fieldmark.field.runtime import Engine, stream
from fieldmark.pictures import load
from fieldmark.workshop.models import Network
from fieldmark.workshop.models.cut import PICTURES, Cuttable
from fieldmark.workshop.recipe import LOCATED
from fieldmark.workshop.train import plan as plans
from fieldmark.workshop.train import probe
from fieldmark.workshop.train.costs import Costs, profile
from fieldmark.workshop.train.job import Job
from fieldmark.workshop.train.occlude import FEWEST_POSITIONS, LOOKS
from fieldmark.workshop.train.pace import Pace, Revision
from fieldmark.workshop.train.plan import Counts, Plan, StagePlan

MARGIN = 0.03  # of the budget, kept for what no measurement foresees
WARM_PICTURES, SPEED_PICTURES = 16, 48
HEAD_S, HEAD_S_A_PICTURE = 3.0, 2e-4
FINISH_S = 9.0
LOCATED_FINISH = 2.0  # times as long where boxes or masks are compared with the truth (docs/experiments.md)
GLANCE_SHARE = 0.1  # of the budget, at most, to score two glances where nobody asked for them
TRIED = 3  # looks at a validation picture that tell whether two glances pay
SCORED_AGAIN = 0.2  # of the pictures that are scored: near ties, in float32
COMPARED = 1_000
MAPS_CHECKED, MAPS_FROM_S = 16, 120.0  # pictures whose maps are checked, where the budget is not short
OCCLUSION_SHARE, FEWEST_OCCLUSIONS = 0.08, 1_500  # of the budget; looks from which something can be learned
GUIDE_SHARE = 0.08  # of the budget, at most, to find where the linear head looks
OCCLUSION_COST = 1.3  # looks that one at a covered picture costs, with covering it and learning from it
TOLD = 0.2  # a change of epochs by this share is told
SLACK = 1.1  # on the least budget that is named
VIEW_SIZES = (1.0, 0.78)  # of the input's side, the first where there is time for so many epochs (docs/experiments.md)
MANY_EPOCHS = 18.0
GUESSED_GPU_COST = 2e-3
STAGE_S = tuple(5 * 1.25**i for i in range(40))  # seconds that a first stage may need


class Planner:
    """The plan of one run, in RUN/plan.json; that of an earlier run that goes on is `replayed` as it was. `job` is the
    one given, with the size of views that the plan decides; `tune` its recipe, settled. `decoded`: whether all
    pictures are kept, decoded."""

    def __init__(
        self,
        job: Job,
        usable: probe.Usable,
        engine: Engine,
        cuttable: Cuttable | None,
        bf16: bool,
        identity: str,
        decoded: bool = False,
    ) -> None:
        self.identity = identity
        self.extras = True  # whether there is time for what can be left out
        self.job = job
        self.path = job.run / "plan.json"
        train = sum(s.split == "train" for s in usable.samples)
        self.counts = Counts(train, len(usable.samples) - train, len(job.index.part("test")))
        earlier = Plan.load(self.path)
        self.replayed = earlier is not None
        self.tune = plans.settled(job.recipe.tune, job.budget_s if earlier is None else earlier.budget_s)
        if earlier is None:
            self.decoded = decoded
            self.plan = self._new(usable, engine, cuttable, bf16)
        else:
            self.plan = earlier
            self._check_earlier(earlier, cuttable)
            self.job = replace(job, view_size=earlier.view_size)
            self._say("plan, as begun", earlier)

    def _new(self, usable: probe.Usable, engine: Engine, cuttable: Cuttable | None, bf16: bool) -> Plan:
        costs = self._costs(self._engine_cost(usable, engine), cuttable, bf16)
        plan = self._sized(costs)
        if plan.budget_s is not None and not (self._planned(plan) and self._needed(plan) <= plan.budget_s):
            self.extras = False
            plan = self._sized(costs)
        if plan.budget_s is not None:
            stage_s = 0.0 if plan.stages or self.job.recipe.probe.on else self._first_stage_s()
            if stage_s or plan.budget_s < self._needed(plan):
                raise UsageError(
                    f"a budget of {plan.budget_s:.0f} s is too short for this data on this machine; "
                    f"give at least {(self._needed(plan) + stage_s) * SLACK:.0f} s"
                )
        plan.save(self.path)
        self._say("plan", plan)
        return plan

    def _sized(self, costs: Costs) -> Plan:
        """The plan with views as large as it has time for."""
        for size in VIEW_SIZES:
            self.job = replace(self.job, view_size=size)
            self.costs = replace(costs, area=self._area(), fresh=0.0 if self.decoded else costs.fresh)
            plan = self._plan()
            epochs = plan.stages[-1].epochs if plan.stages else 0.0
            if self.job.recipe.augment.size or plan.budget_s is None or epochs >= MANY_EPOCHS:
                break
        return plan

    def _planned(self, plan: Plan) -> bool:
        """Whether there are later stages, where the recipe has any."""
        return bool(plan.stages or not self.tune.stages)

    def _needed(self, plan: Plan) -> float:
        """Seconds of all but the later stages."""
        return self.job.elapsed() + plan.probe_s + plan.finish_s

    def _first_stage_s(self) -> float:
        """The least seconds in which something is learned, about."""
        return next((s for s in STAGE_S if plans.choose(self.costs, self.counts, s, self.tune)), STAGE_S[-1])

    def _plan(self) -> Plan:
        job = self.job
        plan = Plan(job.budget_s, 0.0, 0.0, 0, self.identity, view_size=job.augment.size)
        self._finish(plan)
        plan.probe_s, per_view = self._probe_s()
        looking_s = self.counts.train * self.costs.engine
        plan.guided = self._guided(looking_s)
        plan.probe_s += looking_s if plan.guided else 0.0
        spare = None
        if job.budget_s is not None:
            spare = job.budget_s * (1 - MARGIN) - job.elapsed() - plan.finish_s - plan.probe_s
        views = plans.fitting_views(self._probe_views(), per_view, spare if not job.recipe.probe.views else None)
        plan.probe_s, plan.probe_views = plan.probe_s + views * per_view, views
        left = None if spare is None else max(0.0, spare - views * per_view)
        plan.stages = plans.choose(self.costs, self.counts, left, self.tune)
        if plan.guided and all(0 < s.views <= views for s in plan.stages):  # none is made later
            plan.guided, plan.probe_s = False, plan.probe_s - looking_s
        return plan

    def _say(self, word: str, plan: Plan) -> None:
        for line in plan.table(word):
            self.job.journal.say(line)
        recipe = self.job.recipe
        if recipe.model.head != "average" and not plan.stages:
            self.job.journal.say(
                f"--head {recipe.model.head} learns in later stages, of which this plan has none: the average is "
                "used; give a longer budget, or a recipe with later stages"
            )
        if recipe.decide.glances == 0 and plan.glances == 1:
            why = "there is no time for it" if self.counts.val else "no validation picture could decide"
            self.job.journal.say(f"two glances are not tried: {why}")

    def _check_earlier(self, plan: Plan, cuttable: Cuttable | None) -> None:
        """UsageError when a run that goes on has other pictures or another budget than at its start."""
        cuts = (PICTURES, *(cuttable.names if cuttable is not None else ()))
        if plan.identity != self.identity or any(s.cut not in cuts for s in plan.stages):
            raise UsageError(f"{self.job.run} was begun with other pictures; bring those back, or choose another --out")
        begun, asked = plan.budget_s, self.job.budget_s
        if asked is not None and asked != begun:
            was = "without a budget" if begun is None else f"with a budget of {begun:.0f} s"
            raise UsageError(f"{self.job.run} was begun {was} and goes on as planned; leave --budget away")

    def _engine_cost(self, usable: probe.Usable, engine: Engine) -> float:
        """Seconds of one picture through reading and engine, from some of them, after the engine has warmed up."""
        every = max(1, len(usable.samples) // (WARM_PICTURES + SPEED_PICTURES))
        paths = [s.path for s in usable.samples[::every]]
        for some in (paths[:WARM_PICTURES], paths[WARM_PICTURES:] or paths):
            began = time.monotonic()
            for _ in stream(engine, some, lambda path: load(path, self.job.preprocess), self.job.network.outputs[:1]):
                pass
            took = (time.monotonic() - began) / len(some)
        return max(1e-5, took)

    def _costs(self, engine_cost: float, cuttable: Cuttable | None, bf16: bool) -> Costs:
        if cuttable is not None and cuttable.names and self.job.device.type == "cpu":
            return profile(cuttable, self.job.preprocess.size_wh, engine_cost, bf16, self.job.network)
        whole = GUESSED_GPU_COST if self.job.device.type == "cuda" else 3 * engine_cost
        return Costs(engine_cost, whole)

    def _area(self) -> float:
        """Of augmented views on average, as a share of the plain picture's."""
        areas = [math.prod(self.job.preprocess_at(done).size_wh) for done in (0.0, 0.5, 1.0)]
        return sum(areas) / len(areas) / math.prod(self.job.preprocess.size_wh)

    def _probe_views(self) -> int:
        return probe.number_of_views(self.job.recipe, self.counts.train) if self.job.recipe.probe.on else 0

    def _probe_s(self) -> tuple[float, float]:
        """Of the linear head, and of each view for it."""
        n = self.counts.train + self.counts.val
        return (HEAD_S + HEAD_S_A_PICTURE * n, n * self.costs.engine) if self.job.recipe.probe.on else (0.0, 0.0)

    def _guided(self, looking_s: float) -> bool:
        """Whether there is a linear head to ask where it looks, and the time for it."""
        job = self.job
        wanted = self._wants_guide() and job.recipe.probe.on and self.tune.stages
        cells = math.prod(job.network.backbone.grid_hw)
        there = isinstance(job.network, Network) and job.preprocess.fit != "pad" and cells >= FEWEST_POSITIONS
        return bool(wanted and there and self._affords(looking_s, GUIDE_SHARE))

    def _wants_guide(self) -> bool:
        """Whether the recipe asks for views around places, or leaves it open and they pay (docs/experiments.md)."""
        recipe = self.job.recipe
        if recipe.augment.guided >= 0:
            return recipe.augment.guided > 0
        return recipe.decide.glances != 1 or self._area() < 1

    def _affords(self, seconds: float, share: float) -> bool:
        """Whether an extra takes no more than this share of the budget, and there is time for any."""
        return self.job.budget_s is None or (self.extras and seconds <= share * self.job.budget_s)

    def _finish(self, plan: Plan) -> None:
        """What is measured and learned after the last stage, and how long all of the end takes."""
        plan.maps_checked, plan.occlusions = self._maps_checked(), self._occlusions()
        scored = (self.counts.val + self.counts.test) * (1 + SCORED_AGAIN)
        more = scored + TRIED * self.counts.val
        plan.glances = self._glances(more)
        scored += 0 if plan.glances == 1 else more
        compared = min(COMPARED, self.counts.test) if self.tune.stages and self.job.recipe.probe.on else 0
        looks = (plan.glances or 2) * FRAMES * plan.maps_checked + OCCLUSION_COST * plan.occlusions
        seconds = FINISH_S + self.costs.engine * (scored + compared + looks)
        plan.finish_s = seconds * (LOCATED_FINISH if self.job.recipe.task in LOCATED else 1.0)

    def _glances(self, more: float) -> int:
        """The recipe's number of glances at each picture; one instead of what validation would say where the looks that
        two need `more` take too much of the budget."""
        wanted = self.job.recipe.decide.glances
        tried = self.counts.val > 0 and self._affords(more * self.costs.engine, GLANCE_SHARE)
        return wanted if wanted or tried else 1

    def _maps_checked(self) -> int:
        """On how many pictures the report measures what the maps are worth; a number has no probability to watch."""
        there = isinstance(self.job.network, Network) and self.job.recipe.task != "regress"
        return MAPS_CHECKED if there and (self.job.budget_s is None or self.job.budget_s >= MAPS_FROM_S) else 0

    def _occlusions(self) -> int:
        """How many looks at covered pictures there are time and pictures for, where later stages learn classes; 0 where
        too few."""
        job = self.job
        if job.recipe.task != "classify" or not self.tune.stages or not isinstance(job.network, Network):
            return 0
        most = min(job.recipe.bundle.occlusions, (LOOKS + 1) * (self.counts.train + self.counts.val))
        if job.budget_s is not None:
            most = min(most, int(OCCLUSION_SHARE * job.budget_s / self.costs.engine))
        return most if most >= FEWEST_OCCLUSIONS else 0

    def kept_cut(self) -> str | None:
        """The cut whose rows are to be kept while the linear stage sees the pictures."""
        return next((s.cut for s in self.plan.stages if s.views), None)

    def revise(self, engine_cost: float | None) -> None:
        """After the linear stage: the same stages for the time that is really left, with the engine's real cost."""
        if self.replayed or self.job.budget_s is None or not self.plan.stages:
            return
        if engine_cost is not None:
            self.costs = replace(self.costs, engine=engine_cost)
            self._finish(self.plan)
        left = self._end() - time.monotonic()
        total = sum(s.seconds for s in self.plan.stages)
        revised = [
            plans.again(s, self.costs, self.counts, left * s.seconds / total, self.tune) for s in self.plan.stages
        ]
        before, self.plan.stages = self.plan.stages, [s for s in revised if s is not None]
        self.plan.save(self.path)
        if _differ(before, self.plan.stages):
            self._say("plan now", self.plan)

    def _end(self) -> float:
        """When the last stage must end, on the clock of time.monotonic()."""
        assert self.job.budget_s is not None
        return self.job.begun + self.job.budget_s * (1 - MARGIN) - self.plan.finish_s

    def pace(self, stage: StagePlan, most: int) -> Pace:
        """The pace of a stage, of at most `most` steps: by the clock where there is a budget."""
        revisions = self.plan.revisions.setdefault(stage.name, [])
        deadline = None
        if not self.replayed and self.job.budget_s is not None:
            deadline = plans.deadlines(self.plan.stages, self._end())[stage.name]

        def on_revise(revision: Revision) -> None:
            revisions.append(revision)
            self.plan.save(self.path)

        return Pace(stage.steps, deadline, most, tuple(revisions), on_revise)


def _differ(a: list[StagePlan], b: list[StagePlan]) -> bool:
    """Whether one of the plans has other stages, or clearly other numbers of epochs."""
    same = [(s.name, s.cut, s.views) for s in a] == [(s.name, s.cut, s.views) for s in b]
    return not same or any(abs(x.epochs - y.epochs) > TOLD * y.epochs for x, y in zip(a, b, strict=True))
