"""The stages of a training: linear head, tail, whole network, each beginning where the last ended."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from fieldmark.data.index import Skipped, fingerprint
from fieldmark.errors import UsageError
from fieldmark.field.runtime import Engine, compile_engine
from fieldmark.files import sha256
from fieldmark.types import Preprocess, Sample
from fieldmark.workshop.export import export_onnx, set_weights
from fieldmark.workshop.learn import OnLogits
from fieldmark.workshop.learn.linear import LinearHead
from fieldmark.workshop.models import BaseNetwork, Network
from fieldmark.workshop.models.cut import PICTURES, Named, Whole, split, trace
from fieldmark.workshop.train import augment, probe, small
from fieldmark.workshop.train.cache import Digest, FeatureCache, fill
from fieldmark.workshop.train.device import TorchEngine, computes_bf16, keep_freed_memory
from fieldmark.workshop.train.guide import NO_GUIDE, Guide, find_places
from fieldmark.workshop.train.job import Job
from fieldmark.workshop.train.lesson import TailLesson, learning
from fieldmark.workshop.train.loop import Fit, Progress
from fieldmark.workshop.train.optim import make_optimiser
from fieldmark.workshop.train.plan import MOST_VIEWS, StagePlan
from fieldmark.workshop.train.planner import Planner
from fieldmark.workshop.train.rows import FreshRows, KeptRows, Pictures, Source

ROWS = "rows"


@dataclass(frozen=True)
class Learned:
    """What the stages give: the network holds the weights; `before` is the untouched backbone with its linear head as
    ONNX, where later stages changed it; `settled` and `settled_before`, what held-out pictures decided;
    `views`, how many of a picture were made, around the places of `guide`;
    `maps_checked`, on how many pictures the report checks the maps; `occlusions`, from how many looks at covered
    pictures the bundle learns where its answers come from; `glances`, how many each picture gets, 0 = by validation."""

    samples: tuple[Sample, ...]
    digests: tuple[Digest, ...]
    skipped: tuple[Skipped, ...]
    onnx: bytes
    settled: dict[str, Any]
    head: dict[str, Any]
    views: int
    guide: Guide
    maps_checked: int
    occlusions: int
    glances: int
    before: bytes | None
    settled_before: dict[str, Any]
    fits: tuple[tuple[StagePlan, Progress], ...]


class Stages:
    """One run's stages on its job."""

    def __init__(self, job: Job) -> None:
        self.job, self.recipe, self.network = job, job.recipe, job.network
        self.bf16 = {"auto": computes_bf16(job.device), "bf16": True, "f32": False}[job.recipe.tune.compute]
        self.cuttable = trace(job.network) if job.recipe.tune.stages else None
        self.usable = probe.readable([s for s in job.index.samples if s.split != "test"], job.journal)
        self.identity = sha256(repr([job.recipe, self.usable.keys, fingerprint(self.usable.samples)]).encode())
        self.caches: dict[str, list[tuple[FeatureCache, Preprocess]]] = {}  # rows by cut, one a view, and how
        self.engines: dict[tuple[str, tuple[int, int]], Engine] = {}  # by cut and size
        self.fitted: probe.Fitted | None = None
        self.guide: Guide = NO_GUIDE
        self.kept: small.Kept | None = None
        self.onnx, self.settled = b"", dict[str, Any]()

    def run(self) -> Learned:
        """All of them; the network ends with the best weights by validation."""
        job = self.job
        if not self.recipe.probe.on:
            self._look()
        with job.journal.step("network to ONNX"):
            self.onnx = export_onnx(self.network, job.preprocess.size_wh)
            try:
                engine = self._engine(self.network, self.network.outputs, lambda: self.onnx)
            except RuntimeError as error:
                name, size = self.network.backbone.name, self.network.backbone.size
                raise UsageError(
                    f"the engine cannot run backbone {name} on {size} px pictures; set picture.size higher or choose "
                    "another backbone"
                ) from error
        self.planner = Planner(
            job, self.usable, engine, self.cuttable, self.bf16, self.identity, decoded=self.kept is not None
        )
        self.job = self.planner.job
        if self.recipe.probe.on:
            self._probe(engine)
            self.planner.revise(self.fitted.engine_cost if self.fitted else None)
        before, settled_before = self.onnx, self.settled
        fits = self._later_stages()
        kept = self.onnx is not before
        return Learned(
            tuple(self.usable.samples),
            tuple(self.usable.keys),
            tuple(self.usable.skipped),
            self.onnx,
            self.settled,
            self.fitted.facts() if self.fitted else self.network.describe(),
            max((s.views or MOST_VIEWS for s in self.planner.plan.stages), default=self.planner.plan.probe_views),
            self.guide,
            self.planner.plan.maps_checked,
            self.planner.plan.occlusions,
            self.planner.plan.glances,
            before if kept and self.fitted else None,
            settled_before,
            fits,
        )

    def _look(self) -> None:
        """Decode every picture, and keep small ones: no linear stage finds those that cannot be used. A network with
        random weights normalises by the pictures that it learns from."""
        job = self.job
        if not job.learner.located:
            self.kept = small.keep(self.usable, job.preprocess, self.recipe.augment, job.journal)
        errors = self.kept.errors if self.kept is not None else probe.undecodable(self.usable, job.journal)
        self.usable.leave_out(errors, job.journal)
        probe.check_classes_left(self.usable, job.classes)
        if self.kept is not None and self.network.backbone.source == "random":
            self.network.set_statistics(*self.kept.statistics())

    def _later_stages(self) -> tuple[tuple[StagePlan, Progress], ...]:
        """The stages after the linear one, each from where the last ended; kept is the network that validation likes
        best of the linear one and what each stage has learned."""
        stages = self.planner.plan.stages
        if not stages:
            return ()
        network = self.network
        pooling = network.attention if isinstance(network, Network) else None
        linear, kept = (_state(network), self.settled), None
        network.renew(self.recipe)
        fits, best = [], self.fitted.val if self.fitted is not None else None
        for stage in stages:
            found = self._fit(stage)
            fits.append((stage, found))
            last = next((row for row in found.history if row["step"] == found.best_step), None)
            if self._better(last, best) if last is not None else kept is None and self.fitted is None:
                best, kept = last, (_state(network), self.settled)
        if kept is not None:
            state, self.settled = kept
            network.load_state_dict(state)
            network.settle()
            with self.job.journal.step("network to ONNX again"):
                self.onnx = export_onnx(network, self.job.preprocess.size_wh)
        else:
            state, self.settled = linear
            if isinstance(network, Network) and pooling is not None:
                network.set_pooling(pooling)
            network.load_state_dict(state)
            self.job.journal.say("fine-tuning did not beat the linear head on validation: the linear head is kept")
        return tuple(fits)

    # -- the linear stage --

    def _engine(self, part: torch.nn.Module, outputs: Sequence[str], onnx: Callable[[], bytes]) -> Engine:
        if self.job.device.type == "cuda":
            return TorchEngine(part, outputs, self.job.device)
        return compile_engine(onnx(), self.recipe.bundle.precision)

    def _engine_at(self, name: str, size_wh: tuple[int, int], part: torch.nn.Module, outputs: Sequence[str]) -> Engine:
        """The engine of a part of the network, called `name`, for pictures of this size; made once."""
        if (name, size_wh) not in self.engines:
            onnx = partial(export_onnx, self.network, size_wh, part=part, outputs=outputs)
            with self.job.journal.step(f"network {name} to ONNX at {size_wh[0]} x {size_wh[1]}"):
                self.engines[name, size_wh] = self._engine(part, outputs, onnx)
        return self.engines[name, size_wh]

    def _probe(self, engine: Engine) -> None:
        """Fit the linear head and put it into the network and its ONNX form; keep the rows at the tail's cut."""
        job, cut, plan = self.job, self.planner.kept_cut(), self.planner.plan
        network, learner = self.network, job.learner
        assert isinstance(network, Network)
        assert isinstance(learner, OnLogits)
        part: torch.nn.Module = network
        name, outputs = "", list(network.outputs)
        if cut is not None and self.cuttable is not None:
            part = Whole(*split(network, self.cuttable, cut)).eval()
            name, outputs = f"with {cut}", [*network.outputs, ROWS]
        else:
            self.engines[name, job.preprocess.size_wh] = engine
        views = max([plan.probe_views, *(s.views for s in plan.stages)])

        def look(number: int) -> tuple[Engine, Preprocess]:
            preprocess = job.preprocess_of(number, views)
            return self._engine_at(name, preprocess.size_wh, part, outputs), preprocess

        self.fitted = probe.fit(self.usable, learner, network, look, self.recipe, job.journal, plan.probe_views, cut)
        if plan.guided:
            with job.journal.step("where the linear head looks") as tick:
                files, eye = self.usable.files("train"), look(augment.PLAIN)[0]
                self.guide = find_places(eye, self.fitted.head, files, job.preprocess, tick)
        if cut is not None:
            made = [job.preprocess_of(number, views) for number in range(plan.probe_views)]
            self.caches[cut] = list(zip(self.fitted.rows, made, strict=True))
        self.settled = job.learner.settle(self.fitted.choice.logits, self.fitted.choice.targets)
        job.journal.write("head", **self.fitted.facts())
        _put_head(network, self.fitted.head)
        state = network.state_dict()
        names = ("head.weight", "head.bias", "power.exponent")
        self.onnx = set_weights(self.onnx, {name: state[name].numpy() for name in names})

    # -- the later stages --

    def _fit(self, stage: StagePlan) -> Progress:
        """Train one stage; the network keeps its best weights, `settled` is theirs."""
        assert self.cuttable is not None
        job, recipe, tune = self.job, self.recipe, self.planner.tune
        keep_freed_memory()
        prefix, tail = split(self.network, self.cuttable, stage.cut)
        source = self._source(stage, prefix)
        with learning(tail, recipe, job.device):
            samples, keys = self.usable.samples, self.usable.keys
            lesson = TailLesson(tail, source, samples, keys, job.learner, recipe, job.device, self.bf16)
            if isinstance(source, Pictures | FreshRows):
                source.follow(lesson)
            optimiser = make_optimiser(tail.learning(), tail.head(), recipe.optim, tune.batch)
            fit = Fit(
                f"training {stage.name}",
                lesson,
                optimiser,
                self.planner.pace(stage, lesson.steps_of(tune.epochs or tune.most_epochs)),
                (recipe.optim, tune),
                job.journal,
                autocast=self.bf16,
                seed=recipe.seed,
                file=job.run / f"checkpoint-{stage.name}.safetensors",
                identity=f"{self.identity} {stage.cut}",
            )
            found = fit.run()
            self.settled = job.learner.settle(*lesson.seen(lesson.val))
        if isinstance(source, Pictures | FreshRows):  # those that broke while it learned
            self.usable.leave_out({self.usable.keys[place]: why for place, why in source.errors.items()}, job.journal)
        job.journal.write("stage", name=stage.name, **vars(found))
        return found

    def _better(self, new: Mapping[str, float], old: Mapping[str, float] | None) -> bool:
        """Whether validation prefers a stage's scores to the best before it; without validation the later is taken."""
        if old is None or "score" not in new:
            return True
        return self.job.learner.better(new, old, self.planner.counts.val)

    def _source(self, stage: StagePlan, prefix: torch.nn.Module) -> Source:
        usable, job = self.usable, self.job
        dtype = torch.bfloat16 if self.bf16 else torch.float32
        if stage.cut == PICTURES and self.kept is not None:
            augmented, seed = self.recipe.augment, self.recipe.seed
            return small.SmallPictures(self.kept, usable.keys, job.preprocess, augmented, seed, job.device)
        if not stage.views:
            paths = [s.path for s in usable.samples]
            fresh = Pictures(
                paths, usable.keys, self.recipe.seed, job.preprocess, job.preprocess_at, self.recipe.augment, self.guide
            )
            if stage.cut == PICTURES:
                return fresh
            return FreshRows(fresh, lambda size_wh: self._prefix_engine(stage.cut, size_wh, prefix), ROWS, dtype)
        kept = self._fill_views(stage, prefix)[: stage.views]
        return KeptRows([c for c, _ in kept], [made for _, made in kept], usable.keys, self.recipe.seed, dtype)

    def _prefix_engine(self, cut: str, size_wh: tuple[int, int], prefix: torch.nn.Module) -> Engine:
        return self._engine_at(f"up to {cut}", size_wh, Named(prefix).eval(), (ROWS,))

    def _fill_views(self, stage: StagePlan, prefix: torch.nn.Module) -> list[tuple[FeatureCache, Preprocess]]:
        """Rows of all views at the stage's cut, those that are not kept yet by the prefix alone; plain ones of all
        pictures, the others of those for training."""
        caches = self.caches.setdefault(stage.cut, [])
        job, usable = self.job, self.usable
        weights = probe.weights_digest(self.network)
        for number in range(len(caches), stage.views):
            preprocess = job.preprocess_of(number, stage.views)
            engine = self._prefix_engine(stage.cut, preprocess.size_wh, prefix)
            key = probe.extractor_key(self.network, engine, preprocess, weights)
            wanted = usable.files() if number == augment.PLAIN else usable.files("train")
            cache = probe.view_cache(key, self.recipe, number, stage.cut, self.guide)
            with job.journal.step(f"view {number + 1} of {stage.views}") as tick:
                view = partial(
                    probe.load_view, number=number, preprocess=preprocess, recipe=self.recipe, guide=self.guide
                )
                errors = fill([cache], engine, wanted, view, tick)
            caches.append((cache, preprocess))
            usable.leave_out(errors, job.journal)
            probe.check_classes_left(usable, job.classes)
        return caches


def _state(network: BaseNetwork) -> dict[str, torch.Tensor]:
    return {name: values.clone() for name, values in network.state_dict().items()}


def _put_head(network: Network, head: LinearHead) -> None:
    network.cpu()
    network.head.weight.copy_(torch.from_numpy(head.weight))
    network.head.bias.copy_(torch.from_numpy(head.bias))
    network.power.exponent.fill_(head.power)
