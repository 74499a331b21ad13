"""The one loop: it learns, keeps the best, stops early, rolls back, and resumes bit for bit."""

import math

import pytest
import torch
from torch import nn

from fieldmark.errors import UsageError
from fieldmark.workshop.recipe import OptimRecipe, TuneRecipe
from fieldmark.workshop.train import checkpoint, loop
from fieldmark.workshop.train.journal import Journal
from fieldmark.workshop.train.loop import Fit
from fieldmark.workshop.train.optim import make_optimiser
from fieldmark.workshop.train.pace import Pace
from tests.training import events


class Line:
    """Learns y = x w; `broken` are batches whose loss is no number, `scores` what validation says in turn."""

    check_every = 10

    def __init__(self, broken=(), scores=None, die_at=None):
        torch.manual_seed(0)
        self.module = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.LayerNorm(8), nn.Linear(8, 1))
        self.broken, self.scores, self.die_at = set(broken), scores, die_at
        self.asked = 0

    def batch(self, number, done):
        if number == self.die_at:
            raise KeyboardInterrupt
        generator = torch.Generator().manual_seed(number)
        x = torch.randn(16, 4, generator=generator)
        if number in self.broken:
            self.broken.remove(number)
            return x, x.sum(1, keepdim=True) * math.nan
        return x, x.sum(1, keepdim=True)

    def loss(self, batch):
        self.module.train()
        return (self.module(batch[0]) - batch[1]).square().mean()

    def score(self):
        self.asked += 1
        if self.scores is not None:
            return {"score": self.scores[min(self.asked, len(self.scores)) - 1]}
        self.module.eval()
        x = torch.randn(64, 4, generator=torch.Generator().manual_seed(10**6))
        with torch.no_grad():
            return {"score": -float((self.module(x) - x.sum(1, keepdim=True)).square().mean())}


def fit(lesson, tmp_path, steps=60, optim=None, tune=None, file=None, pace=None):
    optim = optim or OptimRecipe(rate=0.02)
    parts = [list(part.named_parameters()) for part in lesson.module[:-1]]
    optimiser = make_optimiser(parts, lesson.module[-1].parameters(), optim, 16)
    journal = Journal(tmp_path / "log.jsonl")
    recipe = (optim, tune or TuneRecipe())
    return Fit("training", lesson, optimiser, pace or Pace(steps), recipe, journal, autocast=False, seed=3, file=file)


def weights(lesson):
    return {k: v.clone() for k, v in lesson.module.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[k], b[k]) for k in a)


def test_it_learns_and_logs_every_step(tmp_path):
    lesson = Line()
    before = lesson.score()["score"]
    found = fit(lesson, tmp_path).run()
    assert (found.step, found.stopped) == (60, "planned end")
    assert lesson.score()["score"] == pytest.approx(found.best)
    assert found.best > before
    rows = [e for e in events(tmp_path) if e["event"] == "train"]
    assert [r["step"] for r in rows] == list(range(60))
    assert {"loss", "rate", "took"} <= set(rows[0])
    assert len(found.history) == 6


def test_the_best_weights_are_kept_not_the_last(tmp_path):
    lesson = Line(scores=[0.1, 0.9, 0.5, 0.4, 0.3, 0.2])
    found = fit(lesson, tmp_path).run()
    assert (found.best, found.best_step) == (0.9, 20)
    again = Line(scores=[0.1, 0.9])
    twenty = fit(again, tmp_path, 60)
    twenty.pace.steps = 20
    twenty.run()
    assert same(weights(lesson), weights(again))


def test_when_patience_ends_rates_fall_to_nothing_and_it_stops(tmp_path):
    lesson = Line(scores=[0.5, 0.4, 0.3, 0.2, 0.1])
    found = fit(lesson, tmp_path, 200, tune=TuneRecipe(patience=2)).run()
    assert (found.step, found.best_step) == (36, 10)  # a fifth of 30 steps more
    assert "stopped improving" in found.stopped
    rates = [e["rate"] for e in events(tmp_path) if e["event"] == "train"]
    assert rates[-1] < 0.1 * rates[29]
    assert rates[29] > 0.9 * max(rates)


def test_a_resumed_cool_down_ends_with_the_same_weights(tmp_path):
    scores = [0.5, 0.4, 0.3, 0.9]
    whole, halves = Line(scores=list(scores)), Line(scores=list(scores))
    tune = TuneRecipe(patience=2)
    (tmp_path / "whole").mkdir()
    fit(whole, tmp_path / "whole", 200, tune=tune).run()
    revisions: list[tuple[int, int]] = []
    first = fit(
        halves, tmp_path, tune=tune, file=tmp_path / "c.safetensors", pace=Pace(200, on_revise=revisions.append)
    )
    while first.at.step < 33:
        if first._step() and first.at.step % 10 == 0:
            first._check()
    first._save()
    again = fit(halves, tmp_path, tune=tune, file=tmp_path / "c.safetensors", pace=Pace(200, revisions=revisions))
    found = again.run()
    assert (found.step, found.best_step) == (36, 36)
    assert same(weights(whole), weights(halves))


def test_without_validation_the_last_weights_are_taken(tmp_path):
    lesson = Line()
    lesson.score = lambda: None
    found = fit(lesson, tmp_path, 40).run()
    assert found.best_step == 40


def test_a_loss_that_is_no_number_rolls_back_with_a_lower_rate(tmp_path):
    lesson = Line(broken=[25, 44])
    found = fit(lesson, tmp_path).run()
    assert (found.step, found.rollbacks) == (60, 2)
    assert found.rate == pytest.approx(loop.LOWER_RATE**2)
    assert all(v.isfinite().all() for v in lesson.module.state_dict().values())
    told = events(tmp_path)
    assert [e["step"] for e in told if e["event"] == "rollback"] == [25, 44]
    assert any("back to step 20" in e.get("sentence", "") for e in told)


def test_a_loss_that_never_is_a_number_ends_with_the_weights_from_before(tmp_path):
    lesson = Line()
    before = weights(lesson)
    lesson.loss = lambda batch: lesson.module(batch[0]).sum() * math.inf
    found = fit(lesson, tmp_path).run()
    assert "no number" in found.stopped
    assert found.rollbacks == loop.MOST_ROLLBACKS + 1
    assert same(before, weights(lesson))


def test_accumulated_batches_are_one_larger_batch(tmp_path):
    def plain():
        lesson = Line()
        lesson.module[1].p = 0.0
        return lesson

    whole, parts = plain(), plain()
    whole.batch = lambda n, done: tuple(
        torch.cat(p) for p in zip(Line.batch(whole, 2 * n, done), Line.batch(whole, 2 * n + 1, done), strict=True)
    )
    fit(whole, tmp_path, 20).run()
    fit(parts, tmp_path, 20, tune=TuneRecipe(accumulate=2)).run()
    for a, b in zip(weights(whole).values(), weights(parts).values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("optim", [OptimRecipe(rate=0.02), OptimRecipe(name="sgd", rate=0.02, ema=0.0)])
def test_a_fit_that_died_anywhere_ends_with_the_very_weights_of_an_undisturbed_one(tmp_path, monkeypatch, optim):
    undisturbed = Line()
    expected = fit(undisturbed, tmp_path, optim=optim).run()
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_S", 0.0)
    for die_at in (1, 9, 10, 11, 37, 59):
        file = tmp_path / f"at{die_at}.safetensors"
        with pytest.raises(KeyboardInterrupt):
            fit(Line(die_at=die_at), tmp_path, optim=optim, file=file).run()
        lesson = Line()
        found = fit(lesson, tmp_path, optim=optim, file=file).run()
        assert same(weights(lesson), weights(undisturbed)), die_at
        assert found == expected


def test_a_finished_fit_is_not_trained_again(tmp_path):
    file = tmp_path / "c.safetensors"
    fit(Line(), tmp_path, file=file).run()
    lesson = Line()
    lesson.batch = None
    assert fit(lesson, tmp_path, file=file).run().step == 60


def test_a_damaged_checkpoint_is_said_in_one_sentence(tmp_path):
    file = tmp_path / "c.safetensors"
    fit(Line(), tmp_path, file=file).run()
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(UsageError, match="delete it"):
        fit(Line(), tmp_path, file=file).run()
    assert checkpoint.load(tmp_path / "none") is None
