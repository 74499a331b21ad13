"""The recogniser: a verified bundle that predicts."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fieldmark import bundle as bundles
from fieldmark import pictures
from fieldmark.bundle import Bundle
from fieldmark.errors import BundleError, PictureError, UsageError
from fieldmark.field.tasks import Task, TaskFacts, get_task
from fieldmark.files import is_folder
from fieldmark.types import Picture, Prediction, Preprocess

from .careful import CarefulEngine
from .engine import Arrays, Engine, compile_engine
from .stream import Seen, stream

Source = str | Path | bytes | NDArray[np.uint8] | Image.Image


ONE_PICTURE = (str, Path, bytes, np.ndarray, Image.Image)
TAKEN = "a path, bytes, a uint8 array [H, W, 3] or a Pillow picture"


class Recogniser:
    """A loaded bundle. `predict(one)` gives one Prediction; `predict(list or folder)` gives an iterator of them."""

    def __init__(self, bundle: Bundle, precision: str = "auto", engine: str = "auto") -> None:
        self.bundle = bundle
        self.task: Task = get_task(bundle.task)
        try:
            self.facts = TaskFacts.from_bundle(bundle.facts)
            self.preprocess = Preprocess.from_json(bundle.facts["preprocess"])
        except (AttributeError, LookupError, TypeError, ValueError, UsageError) as error:
            raise BundleError(
                f"{bundle.path}: {bundles.FACTS} holds a value that is not valid ({error}); copy the bundle again"
            ) from error
        self._precision = bundle.facts.get("precision", "auto") if precision == "auto" else precision
        self._engine_name = engine

    @property
    def classes(self) -> tuple[str, ...]:
        return self.facts.classes

    @cached_property
    def engine(self) -> Engine:
        """The compiled network; compiled at first use."""
        fast = self._compile(self._precision)
        margin = float(self.bundle.facts.get("recheck_margin", 0.0))
        if fast.precision == "f32" or margin <= 0:
            return fast
        return CarefulEngine(fast, lambda: self._compile("f32"), margin)

    def _compile(self, precision: str) -> Engine:
        return compile_engine(self.bundle.read(bundles.MODEL), precision, name=self._engine_name)

    @cached_property
    def head_weights(self) -> NDArray[np.float32]:
        """The weights [L, D] of the linear head, from the bundle's safetensors."""
        from safetensors.numpy import load as load_safetensors

        return np.asarray(load_safetensors(self.bundle.read(bundles.WEIGHTS))["head.weight"], np.float32)

    def predict(self, source: Source | Iterable[Source]) -> Any:
        """Recognise one picture (path, bytes, uint8 [H, W, 3], Pillow picture), or all of a list or folder, in order.

        A picture that cannot be used gives a Prediction whose `error` says why.
        """
        if isinstance(source, (str, Path)) and is_folder(Path(source)):
            return self.predict_many(pictures.find_pictures(Path(source)))
        if isinstance(source, ONE_PICTURE):
            return next(self.predict_many([source], workers=1))
        if not isinstance(source, Iterable):
            raise TypeError(f"predict takes {TAKEN}, or a list of these, not {type(source).__name__}")
        return self.predict_many(source)

    def predict_many(self, sources: Iterable[Source], workers: int | None = None) -> Iterator[Prediction]:
        """Predictions in the order of `sources`."""
        for seen in self.run(sources, self.task.outputs, workers):
            name = _name(seen.item)
            if seen.error is not None:
                yield Prediction(name, error=seen.error)
            else:
                yield self.task.predict([name], {k: v[None] for k, v in seen.outputs.items()}, self.facts)[0]

    def run(
        self, sources: Iterable[Source], outputs: Sequence[str], workers: int | None = None
    ) -> Iterator[Seen[Source]]:
        """The network's raw outputs for each source, in order."""
        return stream(self.engine, sources, partial(load_source, preprocess=self.preprocess), outputs, workers)


def load_source(source: Source, preprocess: Preprocess) -> Picture:
    """Any source as the network's input, uint8 [H, W, 3]; PictureError when it cannot be used."""
    if isinstance(source, np.ndarray):
        return pictures.from_array(source, preprocess)
    if isinstance(source, Image.Image):
        return pictures.from_image(source, preprocess)
    if not isinstance(source, (str, Path, bytes)):
        raise PictureError(f"{type(source).__name__} is no picture; give {TAKEN}")
    return pictures.load(Path(source) if isinstance(source, str) else source, preprocess)


def _name(source: Source) -> str:
    return str(source) if isinstance(source, (str, Path)) else ""


def load(place: str | Path, precision: str = "auto", engine: str = "auto") -> Recogniser:
    """Load a bundle (folder, RUN or `*.fieldmark`), verified; BundleError when it must not be used."""
    return Recogniser(bundles.load(place), precision, engine)


def collect(seen: Sequence[Arrays]) -> Arrays:
    """Outputs of several pictures as arrays with a batch axis, [N, ...]."""
    return {name: np.stack([s[name] for s in seen]) for name in (seen[0] if seen else {})}
