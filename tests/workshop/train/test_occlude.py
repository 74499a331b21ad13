from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fieldmark import bundle as bundles
from fieldmark.data import open_data
from fieldmark.field.explain import explain_picture
from fieldmark.field.runtime import compile_engine, load
from fieldmark.pictures import load as load_picture
from fieldmark.types import Preprocess, Sample
from fieldmark.workshop.train import occlude, planner
from fieldmark.workshop.train import stages as room
from tests.training import coloured, tiny_train


def test_covers_are_where_the_evidence_is_and_their_shares_are_areas():
    evidence, rng = np.zeros((4, 5), np.float32), np.random.default_rng(0)
    evidence[1, 3] = 5
    hit = []
    for _ in range(40):
        boxes, shares = occlude.covers(evidence, (50, 80), rng)
        assert boxes.shape == (occlude.LOOKS, 4)
        assert (boxes >= 0).all()
        assert (boxes <= [50, 80, 50, 80]).all()
        covered = np.zeros((80, 50))
        left, top, right, bottom = boxes[0]
        covered[top:bottom, left:right] = 1
        by_hand = covered.reshape(4, 20, 5, 10).mean((1, 3)).ravel()
        assert shares[0] == pytest.approx(by_hand, abs=1e-6)
        hit.append(shares.reshape(-1, 4, 5)[:, 1, 3] > 0)
    assert np.mean(hit) > 0.75
    boxes, _ = occlude.covers(np.zeros((4, 5), np.float32), (50, 80), rng)
    assert len(np.unique(boxes, axis=0)) > occlude.LOOKS / 2


def test_what_covers_take_by_a_linear_rule_is_found_again():
    """Pictures whose lead falls by what one feature says at the covered positions."""
    rng, whole, falls = np.random.default_rng(0), [], []
    for _ in range(80):
        features = rng.normal(size=(10, 5, 5))
        features[4] *= 3
        _, shares = occlude.covers(rng.normal(size=(5, 5)).astype(np.float32), (50, 50), rng)
        sample = Sample(path=None, name="", labels=())  # type: ignore[arg-type]
        whole.append(occlude._Seen(sample, features.astype(np.float16), 0, 0.0, np.zeros((16, 4), int), shares))
        falls.append(shares @ (2 * features[4].ravel() + 0.5))
    made = occlude.fit(whole, np.array(falls, np.float32), np.ones((80, occlude.LOOKS), bool))
    features = rng.normal(size=(10, 5, 5)).astype(np.float32)
    truth = 2 * features[4] + 0.5
    assert np.corrcoef(made.foresee(features).ravel(), truth.ravel())[0, 1] > 0.95
    usable = np.ones((80, occlude.LOOKS), bool)
    usable[:, ::2] = False  # looks that failed are left out, whatever stands in their place
    spoiled = np.where(usable, np.array(falls), 1e6).astype(np.float32)
    again = occlude.fit(whole, spoiled, usable)
    assert np.corrcoef(again.foresee(features).ravel(), truth.ravel())[0, 1] > 0.9


def test_falls_that_nothing_foretells_give_no_map():
    rng = np.random.default_rng(0)
    whole = []
    for _ in range(40):
        _, shares = occlude.covers(rng.normal(size=(5, 5)).astype(np.float32), (50, 50), rng)
        features = rng.normal(size=(10, 5, 5)).astype(np.float16)
        sample = Sample(path=None, name="", labels=())  # type: ignore[arg-type]
        whole.append(occlude._Seen(sample, features, 0, 0.0, np.zeros((16, 4), int), shares))
    usable = np.ones((40, occlude.LOOKS), bool)
    assert occlude.fit(whole, rng.normal(size=usable.shape).astype(np.float32), usable) is None
    assert occlude.fit(whole, np.zeros(usable.shape, np.float32), ~usable) is None


class RedEngine:
    """Class 0 is as sure as the picture has red; the features are the red of each of 6 x 6 cells, and its square."""

    name, precision, micro_batch = "red", "f32", 4

    def run(self, batch, outputs):
        red = (batch[..., 0].astype(np.float32) - batch[..., 2]).clip(0) / 255
        cells = red.reshape(len(batch), 6, 8, 6, 8).mean((2, 4))
        lead = 40 * cells.mean((1, 2))
        features = np.stack([cells, cells**2], 1)
        found = {
            "logits": np.stack([lead, -lead], 1),
            "features": features,
            "attention": np.full_like(features, 1 / 36),
        }
        found["embedding"] = features.mean((2, 3))
        return {name: found[name].astype(np.float32) for name in outputs}


class RedRecogniser:
    preprocess = Preprocess((48, 48))
    head_weights = np.eye(2, dtype=np.float32)

    def evidence(self, outputs, weights):
        return np.ones((6, 6), np.float32)


def red_picture(path: Path, row: int, column: int) -> Path:
    picture = np.full((48, 48, 3), 60, np.uint8)
    picture[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = (250, 30, 30)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(picture).save(path)
    return path


def test_a_map_is_high_where_covering_takes_the_answer(tmp_path):
    rng, samples = np.random.default_rng(0), []
    for number in range(60):
        path = red_picture(tmp_path / "red" / f"{number}.png", *rng.integers(0, 6, 2))
        samples.append(Sample(path, path.name, ("red",), "train"))
    made = occlude.learn_occlusion(RedRecogniser(), RedEngine(), samples, 2000, 0, lambda done, total: None)
    for place in ((0, 0), (2, 4), (5, 1)):
        picture = load_picture(red_picture(tmp_path / "new.png", *place), RedRecogniser.preprocess)
        foreseen = made.foresee(RedEngine().run(picture[None], ("features",))["features"][0])
        assert np.unravel_index(foreseen.argmax(), (6, 6)) == place
        assert foreseen.max() > 0.3  # its lead is about 2: a cover of two to six cells takes half of it and more


def test_features_that_would_fill_memory_are_taken_of_fewer_pictures(tmp_path, monkeypatch):
    samples = []
    for number in range(40):
        path = red_picture(tmp_path / "red" / f"{number}.png", number % 6, number // 7)
        samples.append(Sample(path, path.name, ("red",), "train"))
    monkeypatch.setattr(occlude, "MOST_BYTES", 20 * 2 * 36 * 2)
    kept = []
    monkeypatch.setattr(occlude, "fit", lambda whole, falls, usable: kept.extend(whole))
    occlude.learn_occlusion(RedRecogniser(), RedEngine(), samples, 2000, 0, lambda done, total: None)
    assert len(kept) == 21


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A trained run whose features have 3 x 3 positions."""
    root = tmp_path_factory.mktemp("occlude")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room.Stages, "_better", lambda self, new, old: True)
        patch.setattr(planner, "FEWEST_OCCLUSIONS", 100)
        settings = ("picture.size=96", "tune.epochs=2", "tune.batch=8", "bundle.occlusions=1600")
        return tiny_train(coloured(root / "data", 12), root / "run", *settings, recipe="standard")


def test_a_tuned_recogniser_learns_where_its_answers_come_from(run):
    found = explain_picture(load(run.bundle), next((run.run.parent / "data").rglob("*.png")))
    assert found.occlusion is not None
    assert found.occlusion.shape == found.evidence.shape == (3, 3)
    assert np.isfinite(found.occlusion).all()


def test_pictures_that_vanish_and_too_few_of_them_are_no_error(run, tmp_path):
    recogniser = load(run.bundle)
    engine = compile_engine(recogniser.bundle.read(bundles.MODEL))
    samples = list(open_data(coloured(tmp_path / "data", 8)).samples)
    for sample in samples[:4]:
        sample.path.unlink()
    made = occlude.learn_occlusion(recogniser, engine, samples, 1000, 0, lambda done, total: None)
    assert made is not None
    same = occlude.learn_occlusion(recogniser, engine, samples, 1000, 0, lambda done, total: None)
    assert same is not None
    assert np.array_equal(made.kernel, same.kernel)
    assert occlude.learn_occlusion(recogniser, engine, samples[:10], 1000, 0, lambda done, total: None) is None


@pytest.mark.parametrize("setting", ["bundle.occlusions=0", "tune.stages="])
def test_none_is_learned_where_none_is_asked_for_or_the_head_alone_was_trained(tmp_path, setting):
    settings = ("picture.size=96", "tune.epochs=1", "tune.batch=8", setting)
    found = tiny_train(coloured(tmp_path / "data", 8), tmp_path / "run", *settings, recipe="standard")
    assert bundles.OCCLUSION not in bundles.load(found.bundle).facts["files"]
