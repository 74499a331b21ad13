import numpy as np
import pytest
from safetensors.numpy import save

from fieldmark.errors import BundleError
from fieldmark.field.explain import Question, explain_picture
from fieldmark.field.runtime.occlusion import OcclusionMap
from tests.making import SIZE, smooth, with_map


def drawn(n_features: int, around: int = 3, seed: int = 0) -> OcclusionMap:
    rng = np.random.default_rng(seed)
    shapes = ((n_features,), (n_features, around, around), (1,))
    return OcclusionMap(*(rng.normal(size=shape).astype(np.float32) for shape in shapes))


@pytest.mark.parametrize(("h", "w", "around"), [(4, 5, 3), (3, 3, 5), (1, 2, 1)])
def test_each_position_reads_the_features_around_it_and_nothing_beyond_the_border(h, w, around):
    made = drawn(6, around)
    features = np.random.default_rng(1).normal(size=(6, h, w)).astype(np.float32)
    expected, reach = np.full((h, w), made.bias[0], np.float64), around // 2
    for y in range(h):
        for x in range(w):
            for a in range(around):
                for b in range(around):
                    row, column = y + a - reach, x + b - reach
                    if 0 <= row < h and 0 <= column < w:
                        expected[y, x] += (features[:, row, column] - made.mean) @ made.kernel[:, a, b]
    assert made.foresee(features) == pytest.approx(expected, abs=1e-4)


def test_bytes_hold_the_map():
    made = drawn(7)
    found = OcclusionMap.from_bytes(made.to_bytes(), 7)
    for name, values in vars(made).items():
        assert np.array_equal(getattr(found, name), values)


def test_a_plain_question_is_told_by_it_and_one_about_a_class_by_evidence(bundle, recogniser, tmp_path):
    picture, n_features = smooth(SIZE, SIZE, seed=2), recogniser.bundle.facts["outputs"]["features"][0]
    made = drawn(n_features)
    found = explain_picture(with_map(bundle, tmp_path / "bundle", made.to_bytes()), picture)
    without = explain_picture(recogniser, picture)
    features = next(recogniser.run([picture], ("features",))).outputs["features"]
    assert found.occlusion == pytest.approx(made.foresee(features), rel=1e-3, abs=1e-3)
    assert np.array_equal(found.telling, found.occlusion)
    assert found.evidence == pytest.approx(without.evidence, abs=1e-5)
    assert without.occlusion is None
    assert np.array_equal(without.telling, without.evidence)
    assert explain_picture(recogniser, picture, Question("ash")).label == "ash"


FEW = {"mean": np.zeros(3, np.float32), "kernel": np.zeros((3, 3, 3), np.float32), "bias": np.zeros(1, np.float32)}


@pytest.mark.parametrize(
    "data",
    [
        b"no safetensors",
        save(FEW),
        save({"mean": np.zeros(3, np.float32)}),
        drawn(8, 2).to_bytes(),
        drawn(8, 17).to_bytes(),
        OcclusionMap(np.full(8, np.nan, np.float32), drawn(8).kernel, drawn(8).bias).to_bytes(),
    ],
)
def test_a_map_that_does_not_fit_is_refused(bundle, tmp_path, data):
    recogniser = with_map(bundle, tmp_path / "bundle", data)
    with pytest.raises(BundleError, match=r"occlusion\.safetensors does not fit"):
        explain_picture(recogniser, smooth(SIZE, SIZE))
