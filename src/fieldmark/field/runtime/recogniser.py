"""The recogniser: a verified bundle that predicts."""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldmark import bundle as bundles
from fieldmark import pictures
from fieldmark.bundle import Bundle
from fieldmark.errors import BundleError, PictureError, UsageError, unknown_name
from fieldmark.field.tasks import OnLogits, Task, TaskFacts, get_task
from fieldmark.files import is_folder
from fieldmark.geometry import plain
from fieldmark.types import Picture, Prediction, Preprocess

from .careful import CarefulEngine
from .checked import CheckedEngine, compile_checked
from .engine import ENGINES, PRECISIONS, Arrays, Engine, compiling
from .evidence import class_evidence
from .facts import check_facts
from .glance import Glances, Region, second_look
from .occlusion import OcclusionMap
from .source import ONE_PICTURE, TAKEN, Source, load_source, name_of, size_of, whole_image
from .stream import Load, Look, Seen, see, stream
from .tiles import LOGITS, see_tiles

NO_NUMBERS = "the network gives no valid numbers for it"


class Recogniser:
    """A loaded bundle. `predict(one)` gives one Prediction; `predict(list or folder)` gives an iterator of them."""

    def __init__(
        self, bundle: Bundle, precision: str = "auto", engine: str = "auto", glances: int | None = None
    ) -> None:
        if precision not in PRECISIONS:
            raise UsageError(unknown_name("precision", str(precision), PRECISIONS))
        if engine not in ("auto", *ENGINES):
            raise UsageError(unknown_name("engine", str(engine), ("auto", *ENGINES)))
        if bundle.task == bundles.SEQUENCE:
            raise UsageError(
                f"{bundle.path} reads sequences and recognises no pictures; use fieldmark generate or predict"
            )
        self.bundle = bundle
        if glances not in (None, 1, 2):
            raise UsageError(f"glances must be 1 or 2, not {glances!r}")
        self.task: Task = get_task(bundle.task)
        try:
            check_facts(bundle.facts)
            known = Glances.from_bundle(bundle.facts)
            self.glances = replace(known, count=glances or known.count)
            facts = self.glances.facts(bundle.facts)
            check_facts(facts)
            self.facts = TaskFacts.from_bundle(facts)
            self.preprocess = Preprocess.from_json(bundle.facts["preprocess"])
        except (AttributeError, LookupError, TypeError, ValueError, UsageError) as error:
            raise BundleError(
                f"{bundle.path}: {bundles.FACTS} holds a value that is not valid ({error}); copy the bundle again"
            ) from error
        if glances == 2 and self.task.located:
            raise UsageError("a second glance is for classes; leave --glances away for boxes and masks")
        self._precision = bundle.facts.get("precision", "auto") if precision == "auto" else precision
        self._engine_name = engine
        self._engine: Engine | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        return self.facts.classes

    @property
    def engine(self) -> Engine:
        """The compiled network; compiled at first use."""
        if self._engine is None:
            with compiling():
                self._engine = self._engine or self._make_engine()
        return self._engine

    def _make_engine(self) -> Engine:
        fast = self._compile(self._precision)
        margin = float(self.bundle.facts.get("recheck_margin", 0.0))
        if fast.precision == "f32" or margin <= 0 or not isinstance(self.task, OnLogits):
            return fast
        return CarefulEngine(fast, lambda: self._compile("f32"), margin, partial(self.task.margins, facts=self.facts))

    def _compile(self, precision: str) -> CheckedEngine:
        size_wh, place = self.preprocess.size_wh, str(self.bundle.path)
        unfit = partial(self.task.unfit, n_classes=len(self.classes))
        return compile_checked(self._model, precision, self._engine_name, size_wh, unfit, place)

    @cached_property
    def _model(self) -> bytes:
        """The network as it was verified; kept, so that a later look in float32 has the same one."""
        return self.bundle.read(bundles.MODEL)

    @cached_property
    def head_weights(self) -> NDArray[np.float32]:
        """The weights [L, D] of the linear head, from the bundle's safetensors; BundleError where it has none."""
        from safetensors.numpy import load as load_safetensors

        try:
            weights = np.asarray(load_safetensors(self.bundle.read(bundles.WEIGHTS))["head.weight"], np.float32)
        except BundleError:
            raise
        except Exception as error:  # safetensors raises many kinds
            raise self.unfit(f"{bundles.WEIGHTS} holds no readable head.weight") from error
        if weights.ndim != 2 or len(weights) != len(self.classes) or not np.isfinite(weights).all():
            raise self.unfit(f"head.weight in {bundles.WEIGHTS} does not fit the classes")
        return weights

    @cached_property
    def occlusion(self) -> OcclusionMap | None:
        """What foresees from features what covering a place would take from the answer; None where nothing of the kind
        was learned. BundleError where it does not fit the network."""
        if bundles.OCCLUSION not in self.bundle.facts["files"]:
            return None
        try:
            return OcclusionMap.from_bytes(
                self.bundle.read(bundles.OCCLUSION), self.bundle.facts["outputs"]["features"][0]
            )
        except (LookupError, TypeError, ValueError) as error:
            raise self.unfit(f"{bundles.OCCLUSION} does not fit the network ({error})") from error

    def evidence(self, outputs: Arrays, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """Class evidence [h, w] of one picture, from its `evidence.OUTPUTS`, for `weights` [D], a row of the head's or
        a combination of rows; BundleError where the network's outputs do not fit each other or the head."""
        attention, features, embedding = (outputs[name] for name in ("attention", "features", "embedding"))
        fits = attention.ndim == features.ndim == 3 and attention.shape[1:] == features.shape[1:]
        if not fits or not embedding.shape == weights.shape == (len(attention) * len(features),):
            raise self.unfit("its network's outputs do not fit each other or the head's weights")
        return class_evidence(attention, embedding, features, weights)

    def unfit(self, what: str) -> BundleError:
        """The error for a bundle whose files do not fit each other."""
        return BundleError(f"{self.bundle.path}: {what}; copy the bundle again or train it anew")

    def predict(self, source: Source | Iterable[Source]) -> Any:
        """Recognise one picture (path, bytes, uint8 [H, W, 3], Pillow picture), or all of a list or folder, in order.

        A picture that cannot be used gives a Prediction whose `error` says why.
        """
        if isinstance(source, (str, Path)) and source != "" and is_folder(Path(source)):
            return self.predict_many(pictures.walk_pictures(Path(source)))
        if isinstance(source, ONE_PICTURE):
            return next(self.predict_many([source], workers=1))
        if not isinstance(source, Iterable) or isinstance(source, (Mapping, io.IOBase)):
            raise TypeError(f"predict takes {TAKEN}, or a list of these, not {type(source).__name__}")
        return self.predict_many(source)

    def predict_many(self, sources: Iterable[Source], workers: int | None = None) -> Iterator[Prediction]:
        """Predictions in the order of `sources`."""
        for seen in self.answers(sources, workers):
            name = name_of(seen.item)
            if seen.error is not None:
                yield Prediction(name, error=seen.error)
            else:
                yield self.task.predict([name], collect([seen.outputs]), self.facts)[0]

    def answers(self, sources: Iterable[Source], workers: int | None = None) -> Iterator[Seen[Source]]:
        """What the task keeps of the network's outputs for each source, in order: what its answers are made of."""
        if not self.task.located:
            return self.run(sources, self.task.outputs, workers)
        load = partial(load_source, preprocess=self.preprocess)
        return stream(self.engine, sources, load, self.task.outputs, workers, self._see_placed)

    def _see_placed(
        self, engine: Engine, load: Load[Source], items: Sequence[Source], outputs: Sequence[str]
    ) -> list[Seen[Source]]:
        """A micro-batch whose answers are in the pixels of each picture."""
        if self.preprocess.tile:
            return [self._see_parts(engine, item) for item in items]
        sizes: dict[int, tuple[int, int]] = {}

        def load_one(place: int) -> Picture:
            sizes[place], data = size_of(items[place])
            return load(data)

        def keep(seen: Seen[int]) -> Seen[Source]:
            if seen.error is not None:
                return Seen(items[seen.item], {}, seen.error)
            if not all(np.isfinite(values).all() for values in seen.outputs.values()):
                return Seen(items[seen.item], {}, NO_NUMBERS)
            geometry = plain(sizes[seen.item], self.preprocess)
            return Seen(items[seen.item], dict(self.task.keep(seen.outputs, geometry, self.facts)))

        return [keep(seen) for seen in see(engine, load_one, range(len(items)), outputs)]

    def _see_parts(self, engine: Engine, item: Source) -> Seen[Source]:
        """One picture, in tiles where it is large."""
        try:
            image = whole_image(item)
        except PictureError as error:
            return Seen(item, {}, str(error))
        if self.preprocess.tiles(image.size):
            logits, geometry = see_tiles(engine, image, self.preprocess)
        else:
            logits = engine.run(pictures.resize(image, self.preprocess)[None], (LOGITS,))[LOGITS][0]
            geometry = plain(image.size, self.preprocess)
        if not np.isfinite(logits).all():
            return Seen(item, {}, NO_NUMBERS)
        return Seen(item, dict(self.task.keep({LOGITS: logits}, geometry, self.facts)))

    def run(
        self, sources: Iterable[Source], outputs: Sequence[str], workers: int | None = None
    ) -> Iterator[Seen[Source]]:
        """The network's raw outputs for each source, in order."""
        load = partial(load_source, preprocess=self.preprocess)
        for seen in stream(self.engine, sources, load, outputs, workers, self._look()):
            valid = all(np.isfinite(values).all() for values in seen.outputs.values())
            yield seen if valid else Seen(seen.item, {}, NO_NUMBERS)

    def _look(self) -> Look[Source]:
        if self.glances.count == 1:
            return see

        def evidence(outputs: Arrays) -> NDArray[np.float32]:
            return self.evidence(outputs, self.head_weights[int(outputs["logits"].argmax())])

        def load_region(source: Source, region: Region) -> Picture:
            return load_source(source, self.preprocess, region)

        return second_look(self.glances, evidence, load_region)


def load(place: str | Path, precision: str = "auto", engine: str = "auto", glances: int | None = None) -> Recogniser:
    """Load a bundle (folder, RUN or `*.fieldmark`), verified; BundleError when it must not be used.

    `glances`: 2 looks at every picture again, at the region that decided; None is what the bundle says.
    """
    return Recogniser(bundles.load(place), precision, engine, glances)


def collect(seen: Sequence[Arrays]) -> Arrays:
    """Outputs of several pictures as arrays with a batch axis, [N, ...]; as objects [N] where their shapes differ."""
    return {name: _stack([s[name] for s in seen]) for name in (seen[0] if seen else {})}


def _stack(values: Sequence[NDArray[Any]]) -> NDArray[Any]:
    if len({v.shape for v in values}) <= 1:
        return np.stack(values)
    found = np.empty(len(values), object)
    found[:] = values
    return found
