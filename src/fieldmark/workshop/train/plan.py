"""The plan of a run: its stages, and every later change of their steps; times are seconds."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from fieldmark.errors import UsageError, short, unknown_name
from fieldmark.files import is_file, write_json
from fieldmark.workshop.models.cut import PICTURES
from fieldmark.workshop.recipe import TuneRecipe
from fieldmark.workshop.train.costs import Costs

STAGES = ("head", "tail", "full")  # in their order
UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
LONGEST_S = 1e7
MOST_KEPT_BYTES = 3_000_000_000
FEWEST_EPOCHS = 1.0
FEWEST_PICTURES = 20_000  # seen by a stage, where that is less than an epoch
WANTED_EPOCHS = 5.0  # before a cut nearer to the picture is worth its price
LARGEST_TAIL = 0.6  # of the whole network's work: beyond, little is saved by cutting
LARGEST_OF_ALL = 0.9  # where no cut leaves less; that no picture is read again is saved as well
MOST_VIEWS = 32
MOST_PLANNED_VIEWS, MOST_STEPS = 64, 10**9
EPOCHS_A_VIEW = 2.0
FULL_SHARE, HEAD_SHARE = 0.4, 0.2  # of the time, where there are other stages as well
MOST_EPOCHS, MOST_EPOCHS_IN_BUDGET = 30.0, 100.0
PATIENCE = 8  # checks, where no budget says when to end


def seconds_of(budget: str | float) -> float:
    """ "90s", "5m", "2h" or a number of seconds, as seconds; UsageError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", str(budget).strip(), re.ASCII)
    seconds = float(found[1]) * UNITS_S[found[2]] if found is not None else 0.0
    if not 0 < seconds <= LONGEST_S:
        raise UsageError(f"a budget is a time such as 90s, 5m or 2h, not {short(str(budget))!r}")
    return seconds


@dataclass(frozen=True)
class StagePlan:
    """One stage: what it trains and how long. `views` 0: fresh ones, made as they are needed, none kept."""

    name: str
    trains: str
    cut: str
    views: int
    steps: int
    epochs: float
    seconds: float


@dataclass
class Plan:
    """What a run will do, in which time, and every later change of a stage's steps."""

    budget_s: float | None
    probe_s: float
    finish_s: float
    probe_views: int
    identity: str = ""  # of the recipe and the pictures that it was made for
    stages: list[StagePlan] = field(default_factory=list)
    revisions: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    view_size: float = 1.0  # of augmented views at the beginning, as a share of the input's side
    maps_checked: int = 0  # pictures on which the report measures what the maps are worth
    occlusions: int = 0  # looks at covered pictures that the bundle learns from
    glances: int = 1  # at each picture; 0: as many as validation speaks for
    guided: bool = False  # whether later views are cropped where the linear head looks

    def save(self, path: Path) -> None:
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> "Plan | None":
        """The plan of an earlier run; None when there is none. UsageError when it is damaged."""
        if not is_file(path):
            return None
        try:
            raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            stages = [StagePlan(**row) for row in raw.pop("stages")]
            revisions = {k: [(a, b) for a, b in rows] for k, rows in raw.pop("revisions").items()}
            plan = cls(**raw, stages=stages, revisions=revisions)
            plan.check()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UsageError(f"{path} is damaged ({str(error)[:200]}); delete it to plan anew") from error
        return plan

    def check(self) -> None:
        """ValueError for values that no plan has."""
        times = [self.probe_s, self.finish_s, *(s.seconds for s in self.stages), *(s.epochs for s in self.stages)]
        views = [self.probe_views, *(s.views for s in self.stages)]
        steps = [n for rows in self.revisions.values() for row in rows for n in row]
        if self.budget_s is not None:
            times.append(self.budget_s)
        if not all(isinstance(t, (int, float)) and 0 <= t <= LONGEST_S for t in times):
            raise ValueError("a time or a number of epochs is impossible")
        if not all(isinstance(n, int) and 0 <= n <= MOST_PLANNED_VIEWS for n in views):
            raise ValueError("a number of views is impossible")
        steps += [*(s.steps for s in self.stages), self.maps_checked, self.occlusions]
        if not all(isinstance(n, int) and 0 <= n <= MOST_STEPS for n in steps):
            raise ValueError("a number of steps or looks is impossible")
        if self.glances not in (0, 1, 2):
            raise ValueError("its number of glances is impossible")
        if not isinstance(self.view_size, (int, float)) or not 0 < self.view_size <= 1:
            raise ValueError("its size of views is impossible")
        if not isinstance(self.guided, bool):
            raise ValueError("guided is neither true nor false")
        names = [s.name for s in self.stages]
        if not set(names) <= set(STAGES) or len(set(names)) < len(names) or not set(self.revisions) <= set(STAGES):
            raise ValueError("it has other stages than there are")
        if any(rows != sorted(rows) for rows in self.revisions.values()):
            raise ValueError("its revisions are out of order")

    def table(self, word: str = "plan") -> list[str]:
        """The plan as lines: stage, what is trained, epochs, expected seconds; each begins with `word`."""
        probe = f"a linear head on frozen features, {views_of(self.probe_views)}" + ", where it looks" * self.guided
        finish = "export, check, score, report" + ", two glances tried" * (self.glances == 0)
        rows = [("probe", probe, "", self.probe_s)] if self.probe_s else []
        rows += [(s.name, f"{s.trains}, {views_of(s.views)}", f"{s.epochs:.1f} epochs", s.seconds) for s in self.stages]
        rows.append(("finish", finish, "", self.finish_s))
        wide = max(len(row[1]) for row in rows)
        return [f"{word}  {name:6}  {what:{wide}}  {epochs:>12}  {s:5.0f} s" for name, what, epochs, s in rows]


def views_of(count: int) -> str:
    """Views in words; 0: fresh ones each time."""
    return f"{count} view{'s' if count > 1 else ''}" if count else "fresh views"


@dataclass(frozen=True)
class Counts:
    """Pictures of each part."""

    train: int
    val: int
    test: int


def settled(tune: TuneRecipe, budget_s: float | None) -> TuneRecipe:
    """The recipe, with what it leaves to the budget: that time is used, and without one validation decides."""
    most = tune.most_epochs or (MOST_EPOCHS if budget_s is None else MOST_EPOCHS_IN_BUDGET)
    patience = tune.patience if tune.patience >= 0 else (PATIENCE if budget_s is None else 0)
    return replace(tune, most_epochs=most, patience=patience)


def fitting_views(most: int, per_view: float, seconds: float | None) -> int:
    """How many views, of at most `most` and at least one, have time in `seconds`."""
    return most if seconds is None or not most else max(1, min(most, int(max(0.0, seconds) / per_view)))


def choose(costs: Costs, counts: Counts, seconds: float | None, tune: TuneRecipe) -> list[StagePlan]:
    """The recipe's stages that are worth beginning in `seconds` (None: until validation stops improving)."""
    if not costs.after and ("head" in tune.stages or (tune.cut != "auto" and "tail" in tune.stages)):
        raise UsageError("this backbone cannot be cut into stages; set tune.stages=full, or choose another backbone")
    names = ["full"] if tune.stages and not costs.after else [n for n in STAGES if n in tune.stages]
    several = len(names) > 1
    full = None
    if "full" in names:
        full = full_stage(costs, counts, _share(seconds, FULL_SHARE if several else 1.0), tune)
        seconds = seconds if seconds is None or full is None else seconds - full.seconds
    found: list[StagePlan | None] = []
    for name in names:
        if name == "head":
            last = replace(tune, cut=list(costs.after)[-1])
            stage = tail_stage(costs, counts, _share(seconds, HEAD_SHARE if several else 1.0), last)
            found.append(stage and replace(stage, name="head", trains="the head"))
            seconds = seconds if seconds is None or stage is None else seconds - stage.seconds
        else:
            found.append(full if name == "full" else tail_stage(costs, counts, seconds, tune))
    return [stage for stage in found if stage is not None and stage.steps > 0]


def _share(seconds: float | None, share: float) -> float | None:
    return None if seconds is None else seconds * share


def again(stage: StagePlan, costs: Costs, counts: Counts, seconds: float, tune: TuneRecipe) -> StagePlan | None:
    """The same stage for another time; None when it is not worth beginning any more."""
    if stage.cut == PICTURES:
        return full_stage(costs, counts, seconds, tune)
    found = tail_stage(costs, counts, seconds, replace(tune, cut=stage.cut))
    return found and replace(found, name=stage.name, trains=stage.trains)


def full_stage(costs: Costs, counts: Counts, seconds: float | None, tune: TuneRecipe) -> StagePlan | None:
    """The whole network, from pictures; None when there is no time for `FEWEST_EPOCHS`."""
    per_epoch = counts.train * costs.train(PICTURES)
    epochs = tune.epochs or tune.most_epochs
    if seconds is not None and not tune.epochs:
        epochs = min(epochs, seconds / per_epoch)
        if not _enough(epochs, counts):
            return None
    return StagePlan("full", "the whole network", PICTURES, 0, _steps(epochs, counts, tune), epochs, epochs * per_epoch)


def tail_stage(costs: Costs, counts: Counts, seconds: float | None, tune: TuneRecipe) -> StagePlan | None:
    """The tail for a time: of the places where the network may be cut, the one nearest to the picture whose tail sees
    every training picture `WANTED_EPOCHS` times, else the one that sees them most often. None when there is no time for
    `FEWEST_EPOCHS`. UsageError for a cut that the network does not have."""
    if tune.cut not in ("auto", *costs.after):
        raise UsageError("tune.cut: " + unknown_name("block", tune.cut, list(costs.after)))
    names = [tune.cut] if tune.cut != "auto" else _worth_cutting(costs, counts)
    plans = [_tail(costs, cut, counts, seconds, tune) for cut in names]
    able = [p for p in plans if tune.epochs or _enough(p.epochs, counts)]
    return next((p for p in able if p.epochs >= WANTED_EPOCHS), max(able, key=lambda p: p.epochs, default=None))


def _enough(epochs: float, counts: Counts) -> bool:
    return epochs >= FEWEST_EPOCHS or epochs * counts.train >= FEWEST_PICTURES


def _worth_cutting(costs: Costs, counts: Counts) -> list[str]:
    """The places where cutting saves work, those whose rows can be kept before the others; where a network leaves most
    of its work to the tail wherever it is cut, all but the first, or the last of those."""
    names = [name for name, work in costs.work_after.items() if 0 < work <= LARGEST_TAIL]
    names = names or [name for name, work in costs.work_after.items() if 0 < work <= LARGEST_OF_ALL]
    names = names or list(costs.work_after)[-1:]
    return [name for name in names if _fitting_views(costs, name, counts)] or names


def _tail(costs: Costs, cut: str, counts: Counts, seconds: float | None, tune: TuneRecipe) -> StagePlan:
    """A tail stage after `cut` that fills `seconds`, or the recipe's epochs. Its plain view comes with the linear
    stage; each further one costs time of its own."""
    most = tune.epochs or tune.most_epochs
    per_epoch, per_view = counts.train * costs.train(cut), counts.train * costs.row(cut)
    fitting = min(tune.views or MOST_VIEWS, _fitting_views(costs, cut, counts))
    if not fitting:  # every row is made when it is needed
        per_epoch, per_view = per_epoch + per_view, 0.0
    views, fewest = fitting, 1 if costs.area == 1 else 2  # a plain one of another size is not trained on
    if seconds is None or tune.epochs:
        epochs = most
        views = min(fitting, tune.views or max(1, round(epochs / EPOCHS_A_VIEW)) + fewest - 1)
    else:
        epochs = _epochs(seconds, views, per_view, per_epoch, most)
        while views > fewest and not tune.views and epochs < EPOCHS_A_VIEW * (views - fewest + 1):
            views -= 1
            epochs = _epochs(seconds, views, per_view, per_epoch, most)
    took = max(0, views - 1) * per_view + epochs * per_epoch
    return StagePlan("tail", f"after {cut}", cut, views, _steps(epochs, counts, tune), epochs, took)


def _fitting_views(costs: Costs, cut: str, counts: Counts) -> int:
    """How many views' rows can be kept."""
    return int(max(0.0, MOST_KEPT_BYTES / costs.row_bytes[cut] - counts.val) // max(1, counts.train))


def _epochs(seconds: float, views: int, per_view: float, per_epoch: float, most: float) -> float:
    return max(0.0, min(most, (seconds - max(0, views - 1) * per_view) / per_epoch))


def _steps(epochs: float, counts: Counts, tune: TuneRecipe) -> int:
    return max(1, round(epochs * counts.train / (tune.batch * tune.accumulate)))


def deadlines(stages: Sequence[StagePlan], end: float) -> dict[str, float]:
    """When each stage must end so that those after it have their time and all end at `end`."""
    found: dict[str, float] = {}
    for stage in reversed(stages):
        found[stage.name] = end
        end -= stage.seconds
    return found
