import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.errors import PictureError, UsageError
from fieldmark.field.explain import Question, class_evidence, explain_picture
from fieldmark.field.runtime import Recogniser
from tests.making import CLASSES, SIZE, by_hand, smooth, tiny_bundle, write_picture


def drawn(seed: int, maps: int, features: int, h: int, w: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Attention that sums to 1, features above 0, and weights."""
    rng = np.random.default_rng(seed)
    attention = rng.dirichlet(np.ones(h * w), maps).reshape(maps, h, w)
    return attention, rng.gamma(1, 1, (features, h, w)), rng.normal(size=maps * features)


SHAPES = (st.integers(0, 999), st.integers(1, 4), st.integers(1, 6), st.integers(1, 5), st.integers(1, 5))


@given(*SHAPES)
@settings(deadline=None, max_examples=40)
def test_evidence_sums_to_weights_times_embedding_for_a_plain_head(seed, maps, features, h, w):
    attention, values, weights = drawn(seed, maps, features, h, w)
    embedding = np.array([(attention[k] * values[f]).sum() for k in range(maps) for f in range(features)])
    evidence = class_evidence(attention, embedding, values, weights)
    assert evidence.shape == (h, w)
    assert evidence.sum() == pytest.approx(weights @ embedding, rel=1e-4, abs=1e-4)


@given(*SHAPES)
@settings(deadline=None, max_examples=40)
def test_evidence_sums_to_weights_times_embedding_when_the_embedding_is_a_square_root(seed, maps, features, h, w):
    attention, values, weights = drawn(seed, maps, features, h, w)
    embedding = np.sqrt([(attention[k] * values[f]).sum() for k in range(maps) for f in range(features)])
    evidence = class_evidence(attention, embedding, values, weights)
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


@pytest.mark.parametrize("gain", ["identity", "sqrt"])
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_the_evidence_of_a_picture_adds_up_to_its_logit(tmp_path, weights, gain, engine):
    recogniser = Recogniser(tiny_bundle(tmp_path / "bundle", weights, gain), engine=engine)
    picture = smooth(SIZE, SIZE, seed=4)
    logits = by_hand(weights, picture[None], gain)["logits"][0]
    for number, name in enumerate(CLASSES):
        found = explain_picture(recogniser, picture, Question(name))
        assert found.label == name
        assert found.evidence.sum() + weights["head.bias"][number] == pytest.approx(logits[number], rel=1e-3)
    for a, b in (("ash", "cedar"), ("beech", "ash")):
        found = explain_picture(recogniser, picture, Question(a, b))
        i, j = CLASSES.index(a), CLASSES.index(b)
        bias = weights["head.bias"][i] - weights["head.bias"][j]
        assert found.evidence.sum() + bias == pytest.approx(logits[i] - logits[j], rel=1e-3, abs=1e-4)
        assert found.against == b


def test_without_a_question_the_most_probable_class_is_explained(recogniser, tmp_path):
    path = write_picture(tmp_path / "a.png")
    found = explain_picture(recogniser, path)
    prediction = recogniser.predict(path)
    assert found.label == found.prediction.label == prediction.label
    assert found.prediction.path == str(path)
    assert found.attention.sum((1, 2)) == pytest.approx([1, 1], abs=1e-5)


def test_against_the_most_probable_class_the_next_one_is_explained(recogniser):
    picture = smooth(SIZE, SIZE)
    labels = [s.label for s in recogniser.predict(picture).labels]
    found = explain_picture(recogniser, picture, Question(against=labels[0]))
    assert (found.label, found.against) == (labels[1], labels[0])


@pytest.mark.parametrize(
    ("question", "says"),
    [
        (Question("asj"), "unknown class 'asj'; did you mean ash"),
        (Question(against="bech"), "did you mean beech"),
        (Question("ash", "ash"), "names the class itself"),
    ],
)
def test_questions_that_make_no_sense_are_refused(recogniser, question, says):
    with pytest.raises(UsageError, match=says):
        explain_picture(recogniser, smooth(SIZE, SIZE), question)


def test_a_picture_that_cannot_be_used_is_an_error(recogniser, tmp_path):
    with pytest.raises(PictureError, match="no such file"):
        explain_picture(recogniser, tmp_path / "none.jpg")


def test_the_weights_of_the_head_come_from_the_bundle(recogniser, weights):
    assert np.array_equal(recogniser.head_weights, weights["head.weight"])
