"""A second glance: where it looks, what it joins, and what it leaves alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fieldmark import pictures
from fieldmark.errors import BundleError, UsageError
from fieldmark.field.runtime import Recogniser, load
from fieldmark.field.runtime.evaluation import evaluate
from fieldmark.field.runtime.glance import Glances, region_of
from tests.making import by_hand, class_folders, tiny_bundle, write_picture

MAPS = arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.floats(-5, 5, width=32))


@given(MAPS, st.floats(0.1, 1.0))
def test_the_region_has_its_side_and_is_inside(evidence, side):
    left, top, right, bottom = region_of(evidence, side)
    assert (right - left, bottom - top) == (pytest.approx(side), pytest.approx(side))
    assert 0 <= left <= right <= 1 + 1e-9
    assert 0 <= top <= bottom <= 1 + 1e-9


def test_the_region_is_where_the_evidence_is():
    evidence = np.full((8, 8), -1.0, np.float32)
    evidence[2, 5] = 3.0
    assert region_of(evidence, 0.25) == pytest.approx(
        (5.5 / 8 - 0.125, 2.5 / 8 - 0.125, 5.5 / 8 + 0.125, 2.5 / 8 + 0.125)
    )
    assert region_of(-np.ones((4, 4), np.float32), 0.5) == pytest.approx((0.25, 0.25, 0.75, 0.75))


def test_two_glances_join_the_logits_of_the_picture_and_of_its_region(bundle, weights, tmp_path):
    again = Recogniser(load(bundle.path).bundle, "f32", glances=2)
    again.glances = Glances(2, side=0.5, share=0.25)
    for seed in range(5):
        path = write_picture(tmp_path / f"{seed}.png", seed, (70, 50))
        whole = by_hand(weights, pictures.load(path, again.preprocess)[None])
        attention, features = whole["attention"][0], whole["features"][0]
        head = weights["head.weight"][int(whole["logits"][0].argmax())].reshape(len(attention), len(features))
        region = region_of(np.einsum("khw,kf,fhw->hw", attention, head, features), 0.5)
        left, top, right, bottom = (v * s for v, s in zip(region, (70, 50, 70, 50), strict=True))
        image = pictures.decode(path.read_bytes())
        part = pictures.resize(image, again.preprocess, (left, top, right, bottom))
        expected = 0.75 * whole["logits"][0] + 0.25 * by_hand(weights, part[None])["logits"][0]
        seen = next(again.run([path], ("logits",)))
        assert seen.outputs["logits"] == pytest.approx(expected, rel=1e-3, abs=1e-4)
        assert set(seen.outputs) == {"logits"}


def test_a_broken_picture_stays_one_row_and_others_are_seen_twice(bundle, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"nothing")
    paths = [write_picture(tmp_path / "a.png"), tmp_path / "broken.png", write_picture(tmp_path / "b.png", 1)]
    found = list(load(bundle.path, glances=2).predict(paths))
    assert [p.error is None for p in found] == [True, False, True]


def test_arrays_bytes_and_paths_are_looked_at_again_alike(bundle, tmp_path):
    again, path = load(bundle.path, glances=2), write_picture(tmp_path / "a.png", 3, (90, 40))
    image = pictures.decode(path.read_bytes())
    found = [again.predict(source) for source in (path, path.read_bytes(), np.asarray(image), image)]
    assert len({p.labels for p in found}) == 1


def test_the_bundle_says_how_many_and_the_caller_may_say_otherwise(tmp_path):
    settled = {"calibration": {"temperature": 3.0}, "thresholds": {"unsure_below": 0.125}}
    place = tiny_bundle(tmp_path / "bundle", glances={"count": 2, "settled": settled})
    recogniser = load(place.path)
    assert (recogniser.glances.count, recogniser.facts.temperature) == (2, 3.0)
    assert recogniser.facts.thresholds == {"unsure_below": 0.125}
    once = load(place.path, glances=1)
    assert once.glances.count == 1
    assert once.facts.temperature != 3.0
    assert once.facts.thresholds != {"unsure_below": 0.125}
    with pytest.raises(UsageError, match="glances must be 1 or 2"):
        load(place.path, glances=3)


SETTLED = (
    {"count": 2, "settled": {"calibration": {"temperature": 0}}},
    {"settled": {"classes": ["a", "b"]}},
    {"settled": 5},
)


@pytest.mark.parametrize("value", [{"count": 3}, {"side": 0}, {"share": 2}, {"side": "wide"}, 5, *SETTLED])
def test_a_bundle_with_impossible_glances_is_refused(tmp_path, value):
    place = tiny_bundle(tmp_path / "bundle", glances=value)
    with pytest.raises(BundleError, match="not valid"):
        load(place.path)


def test_two_glances_are_scored(bundle, tmp_path):
    data = class_folders(tmp_path / "data", dict.fromkeys(load(bundle.path).classes, 3))
    found, once = (evaluate(load(bundle.path, glances=count), data) for count in (2, 1))
    assert found.scores["n"] == 3 * len(load(bundle.path).classes)
    seen = load(bundle.path, glances=2).run([s.path for s in found.samples], ("logits",))
    assert found.outputs["logits"] == pytest.approx(np.stack([s.outputs["logits"] for s in seen]), abs=1e-5)
    assert np.abs(found.outputs["logits"] - once.outputs["logits"]).max() > 1e-3
