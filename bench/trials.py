"""Fine-grained craft that was tried and is not part of the toolkit, each as a change to one training of this process.

python -m bench.trials TRIAL [TEACHER] -- DATA OUT SEED [SETTING ...]     prints the scores as JSON
TEACHER: the run of an earlier training, for `distil`, `guided-crop`, `guided-drop`
"""

import functools
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fieldmark import load
from fieldmark.field.evaluate.classification import softmax
from fieldmark.field.explain.evidence import Question, explain_picture
from fieldmark.pictures import GREY, decode, read_bytes
from fieldmark.workshop.learn import LEARNERS
from fieldmark.workshop.learn.classify import Classify
from fieldmark.workshop.models import attention
from fieldmark.workshop.train import augment, lesson, optim, stages, train
from fieldmark.workshop.train.rows import Shown, Source

TEMPERATURE, CONTRAST = 0.1, 0.3  # of the contrastive term, and what it counts
TAUGHT = 0.5  # what the teacher's probabilities count beside the truth
ALIKE = 0.1  # of a target goes to classes that the linear head takes for it
SIDES = (0.4, 0.8)  # of a guided crop, of the picture's
DROPPED = (0.15, 0.3)
STYLE = 0.1  # of the beta distribution of MixStyle
SECOND_ORDER = 50  # dimensions; 50 * 51 / 2 products


def contrastive() -> None:
    """The supervised contrastive term (Khosla et al. 2020) on the embedding, for soft targets."""

    class Learner(Classify):
        def loss(self, outputs: Any, encoded: Tensor) -> Tensor:
            z = F.normalize(outputs[2].float())
            apart = (z @ z.T / TEMPERATURE).masked_fill(torch.eye(len(z), dtype=torch.bool), -1e9)
            alike = (encoded @ encoded.T).fill_diagonal_(0)
            has = alike.sum(1) > 0.5
            if not has.any():
                return super().loss(outputs, encoded)
            shares = alike[has] / alike[has].sum(1, keepdim=True)
            term = -(shares * F.log_softmax(apart, 1)[has]).sum(1).mean()
            return super().loss(outputs, encoded) + CONTRAST * term

    LEARNERS["classify"] = Learner.of


def covariance() -> None:
    """Second-order pooling beside the average (Lin et al. 2015; signed square roots, unit length), under the name of
    "gem"."""

    class Covariance(attention.Average):
        def __init__(self, n_features: int) -> None:
            super().__init__(2)
            self.fewer = torch.nn.Linear(n_features, SECOND_ORDER, bias=False)
            self.register_buffer("upper", torch.triu(torch.ones(SECOND_ORDER, SECOND_ORDER)).flatten().nonzero()[:, 0])
            self.rest = n_features - len(self.upper)

        def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
            pooled, maps = attention.Average().forward(features)
            rows = self.fewer(features.flatten(2).transpose(1, 2))
            rows = rows - rows.mean(1, keepdim=True)
            products = (rows.transpose(1, 2) @ rows / rows.shape[1]).flatten(1)[:, self.upper]
            second = F.normalize(products.sign() * (products.abs() + 1e-6).sqrt()) * 10
            return torch.cat([pooled, F.pad(second, (0, self.rest))], 1), torch.cat([maps, maps], 1)

    attention.HEADS["gem"] = lambda n_features, n_maps, hidden: Covariance(n_features)  # type: ignore[index]


class Watched:
    """A source that remembers what it showed last."""

    def __init__(self, source: Source) -> None:
        self.source, self.shown = source, None

    def batch(self, *words: Any) -> Shown:
        self.shown = self.source.batch(*words)
        return self.shown

    def plain(self, places: NDArray[np.int64]) -> Shown:
        return self.source.plain(places)


def soft_targets(make: Callable[[stages.Stages, stages.StagePlan], Callable[[Shown, Tensor], Tensor]]) -> None:
    """Training whose targets [N, L] are what `make(stages, stage)` makes of a batch and the truth."""
    own = stages.Stages._source

    def source(self: stages.Stages, stage: stages.StagePlan, prefix: torch.nn.Module) -> Any:
        watched, change = Watched(own(self, stage, prefix)), make(self, stage)
        learner, encode = self.job.learner, self.job.learner.encode
        learner.encode = lambda targets, views=(): change(watched.shown, encode(targets, views))
        return watched

    stages.Stages._source = source


def distil(teacher: Path) -> None:
    """Half of a target is what an earlier recogniser says of the very view (Hinton et al. 2015); views around places
    are other ones, so that it takes `augment.guided=0`."""

    def make(now: stages.Stages, stage: stages.StagePlan) -> Callable[[Shown, Tensor], Tensor]:
        recogniser, samples, keys = load(teacher), now.usable.samples, now.usable.keys
        said = np.zeros((stage.views, len(samples), len(recogniser.classes)), np.float32)
        for number in range(stage.views):
            wanted = [i for i, s in enumerate(samples) if s.split == "train"]
            seed, how, recipe = now.recipe.seed, recogniser.preprocess, now.recipe.augment
            views = (augment.view(read_bytes(samples[i].path), keys[i], number, seed, how, recipe) for i in wanted)
            for i, seen in zip(wanted, recogniser.run(views, ("logits",)), strict=True):
                said[number, i] = softmax(seen.outputs["logits"][None] / recogniser.facts.temperature)[0]
        table = torch.from_numpy(said)
        return lambda shown, truth: torch.lerp(truth, table[shown.numbers, shown.places], TAUGHT)

    soft_targets(make)


def look_alikes() -> None:
    """Smoothing goes to the classes that the linear head, cross-validated, takes for the true one; not to all alike as
    well with `regularise.label_smoothing=0`."""

    def make(now: stages.Stages, stage: stages.StagePlan) -> Callable[[Shown, Tensor], Tensor]:
        choice = now.fitted.choice
        p = softmax(np.nan_to_num(choice.logits, neginf=-1e9) / now.settled["calibration"]["temperature"])
        taken = np.full((p.shape[1],) * 2, 1e-3)
        np.add.at(taken, choice.targets, p)
        np.fill_diagonal(taken, 0)
        table = torch.from_numpy(taken / taken.sum(1, keepdims=True)).float()
        return lambda shown, truth: torch.lerp(truth, truth @ table, ALIKE)

    soft_targets(make)


def guided(teacher: Path, change: Callable[[Image.Image, float, float, Any], Image.Image]) -> None:
    """Every second view is of a picture changed at the peak (x, y, in shares) of an earlier recogniser's evidence."""
    recogniser = load(teacher)

    @functools.cache
    def peak(data: bytes) -> tuple[float, float]:
        evidence = explain_picture(recogniser, data, Question()).evidence
        row, column = np.unravel_index(evidence.argmax(), evidence.shape)
        return (column + 0.5) / evidence.shape[1], (row + 0.5) / evidence.shape[0]

    _every_second(lambda data, rng: change(decode(data), *peak(data), rng))


def _every_second(change: Callable[[bytes, Any], Image.Image]) -> None:
    own = augment.view

    def view(data: bytes, digest: bytes, number: int, *words: Any) -> Any:
        if number % 2:
            rng = np.random.default_rng([number, int.from_bytes(digest[:8], "little")])
            image, stream = change(data, rng), io.BytesIO()
            image.save(stream, "PNG", compress_level=0)
            data = stream.getvalue()
        return own(data, digest, number, *words)

    augment.view = view


def _cropped(image: Image.Image, x: float, y: float, rng: Any) -> Image.Image:
    side = rng.uniform(*SIDES)
    left, top = (min(max(centre - side / 2, 0), 1 - side) for centre in (x, y))
    w, h = image.size
    return image.crop((round(left * w), round(top * h), round((left + side) * w), round((top + side) * h)))


def _dropped(image: Image.Image, x: float, y: float, rng: Any) -> Image.Image:
    half, (w, h) = rng.uniform(*DROPPED) / 2, image.size
    image = image.copy()
    image.paste(GREY, (round((x - half) * w), round((y - half) * h), round((x + half) * w), round((y + half) * h)))
    return image


def closer() -> None:
    """Every second view is of a square anywhere: what guided crops are without a guide."""
    _every_second(lambda data, rng: _cropped(decode(data), *rng.uniform(0, 1, 2), rng))


def styles() -> None:
    """Half of the batches take on means and spreads of channels of other pictures in them (MixStyle: Zhou et al. 2021),
    as in other shops' light."""
    own = lesson.mix

    def mix(rows: Tensor, targets: Tensor, recipe: Any, rng: Any, *words: Any) -> tuple[Tensor, Tensor]:
        rows, targets = own(rows, targets, recipe, rng, *words)
        if rng.random() < 0.5:
            return rows, targets
        values, partner = rows.float(), torch.from_numpy(rng.permutation(len(rows)))
        share = torch.from_numpy(rng.beta(STYLE, STYLE, (len(rows), 1, 1, 1))).float()
        mean, spread = values.mean((2, 3), keepdim=True), values.std((2, 3), keepdim=True) + 1e-6
        values = (values - mean) / spread * torch.lerp(spread[partner], spread, share)
        return (values + torch.lerp(mean[partner], mean, share)).to(rows.dtype), targets

    lesson.mix = mix


def averaged(recent: float) -> None:
    """The average of weights reaches back over another part of the steps."""
    optim.RECENT = recent


TRIALS: dict[str, Callable[..., None]] = {
    "longer-average": functools.partial(averaged, 2.0),
    "short-average": functools.partial(averaged, 9.0),
    "contrastive": contrastive,
    "covariance": covariance,
    "distil": distil,
    "look-alikes": look_alikes,
    "styles": styles,
    "guided-none": closer,
    "guided-crop": functools.partial(guided, change=_cropped),
    "guided-drop": functools.partial(guided, change=_dropped),
}


def main(words: list[str]) -> None:
    trial, rest = words[: words.index("--")], words[words.index("--") + 1 :]
    data, out, seed, *settings = rest
    TRIALS[trial[0]](*map(Path, trial[1:]))
    found = train(data, out, recipe="standard", seed=int(seed), settings=settings)
    print(json.dumps(found.to_json()))


if __name__ == "__main__":
    main(sys.argv[1:])
