import numpy as np
import pytest

from fieldmark import bundle as bundles
from fieldmark.data import open_data
from fieldmark.field.explain import explain_picture
from fieldmark.field.runtime import compile_engine, load
from fieldmark.types import Sample
from fieldmark.workshop.train import occlude
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


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A trained run whose features have 3 x 3 positions."""
    root = tmp_path_factory.mktemp("occlude")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room.Stages, "_better", lambda self, last: True)
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
