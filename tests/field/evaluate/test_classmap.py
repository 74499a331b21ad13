"""Class maps against torch's way and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.field.evaluate import classmap
from fieldmark.field.evaluate.classmap import class_map, decide, enlarged, evidence, expected_iou, softmax

torch = pytest.importorskip("torch")


def whole(scores: np.ndarray, size_wh: tuple[int, int], box: tuple[float, float, float, float]) -> np.ndarray:
    return np.concatenate([band for _, band in enlarged(scores, size_wh, box)], 1)


@given(st.integers(0, 99), st.integers(1, 3), st.integers(7, 40), st.integers(7, 40))
@settings(max_examples=20)
def test_enlarging_is_bilinear_as_in_torch(seed, n, width, height):
    scores = np.random.default_rng(seed).normal(size=(n, 5, 6)).astype(np.float32)
    expected = torch.nn.functional.interpolate(torch.from_numpy(scores)[None], (height, width), mode="bilinear")[0]
    np.testing.assert_allclose(whole(scores, (width, height), (0, 0, 6, 5)), expected.numpy(), atol=1e-4)


def test_bands_are_the_same_as_the_whole(monkeypatch):
    scores = np.random.default_rng(0).normal(size=(3, 6, 6)).astype(np.float32)
    at_once = whole(scores, (31, 23), (0.5, 1, 5.5, 5))
    monkeypatch.setattr(classmap, "BAND_VALUES", 3 * 31 * 4)
    np.testing.assert_allclose(whole(scores, (31, 23), (0.5, 1, 5.5, 5)), at_once, atol=1e-5)


def test_what_is_something_is_said_even_in_doubt_between_two_things():
    p = np.array([[0.45, 0.55, 0.4], [0.3, 0.3, 0.15], [0.25, 0.15, 0.45]], np.float32)
    assert decide(p, background=True).tolist() == [1, 0, 2]
    assert decide(p, background=False).tolist() == [0, 0, 2]


def test_a_map_counts_its_pixels_and_their_probabilities():
    scores = np.random.default_rng(1).normal(size=(3, 4, 4)).astype(np.float32) * 2
    found = class_map(scores, (9, 7), (0, 0, 4, 4), background=True)
    p = softmax(whole(scores, (9, 7), (0, 0, 4, 4)))
    assert found.numbers.shape == (7, 9)
    assert (found.numbers == decide(p, background=True)).all()
    for c in range(3):
        there = found.numbers == c
        assert found.pixels[c] == there.sum()
        assert found.sure[c] == pytest.approx(p[c][there].sum(), rel=1e-5)
        if there.any():
            promised = p[c][there].sum() / (there.sum() + p[c][~there].sum())
            assert expected_iou(found)[c] == pytest.approx(promised, rel=1e-5)
        else:
            assert np.isnan(expected_iou(found)[c])


def test_evidence_is_the_largest_probability_and_what_is_left():
    scores = np.log(np.array([[[0.9, 0.2]], [[0.1, 0.7]], [[0.0001, 0.1]]]))
    assert evidence(scores, background=True) == pytest.approx([0.2, 0.7, 0.1], rel=1e-3)
