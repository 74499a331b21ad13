import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.field.runtime.evidence import class_evidence


def drawn(seed: int, maps: int, features: int, h: int, w: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Attention that sums to 1, features above 0, and weights."""
    rng = np.random.default_rng(seed)
    attention = rng.dirichlet(np.ones(h * w), maps).reshape(maps, h, w)
    return attention, rng.gamma(1, 1, (features, h, w)), rng.normal(size=maps * features)


SHAPES = (st.integers(0, 999), st.integers(1, 4), st.integers(1, 6), st.integers(1, 5), st.integers(1, 5))


@given(*SHAPES, st.sampled_from([1.0, 0.5]))
@settings(deadline=None, max_examples=80)
def test_evidence_sums_to_weights_times_embedding_plain_or_of_square_roots(seed, maps, features, h, w, power):
    attention, values, weights = drawn(seed, maps, features, h, w)
    pooled = np.array([(attention[k] * values[f]).sum() for k in range(maps) for f in range(features)])
    embedding = pooled**power
    evidence = class_evidence(attention, embedding, values, weights)
    assert evidence.shape == (h, w)
    assert evidence.sum() == pytest.approx(weights @ embedding, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_evidence_is_the_sum_over_maps_of_attention_times_weighted_features(seed):
    attention, values, weights = drawn(seed, 2, 3, 4, 5)
    embedding = np.einsum("khw,fhw->kf", attention, values).ravel()
    by_loops = np.zeros((4, 5))
    for y in range(4):
        for x in range(5):
            for k in range(2):
                by_loops[y, x] += attention[k, y, x] * (weights[3 * k : 3 * k + 3] @ values[:, y, x])
    assert class_evidence(attention, embedding, values, weights) == pytest.approx(by_loops, rel=1e-5)


def test_features_that_are_all_zero_give_no_evidence_and_no_warning():
    evidence = class_evidence(np.full((1, 2, 2), 0.25), np.zeros(3), np.zeros((3, 2, 2)), np.ones(3))
    assert (evidence == 0).all()
