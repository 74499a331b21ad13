import numpy as np
import pytest

from fieldmark.errors import PictureError, UsageError
from fieldmark.field.explain import Question, explain_picture
from fieldmark.field.runtime import Recogniser, load
from tests.making import CLASSES, SIZE, by_hand, smooth, tiny_bundle, tiny_facts, write_picture


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


def test_the_class_that_the_operating_point_says_is_explained(tmp_path):
    """Where a defect is said from a tenth on, it is what is to be explained, not the likelier class."""
    facts = {"classes": ["defect", "free"], "positive": "defect", "outputs": {**tiny_facts()["outputs"], "logits": [2]}}
    plain = load(tiny_bundle(tmp_path / "plain", **facts).path)
    pictures = [smooth(SIZE, SIZE, seed) for seed in range(30)]
    chances = [next(s.probability for s in plain.predict(p).labels if s.label == "defect") for p in pictures]
    chance, picture = max((c, i) for i, c in enumerate(chances) if c < 0.5)
    eager = tiny_bundle(tmp_path / "eager", thresholds={"unsure_below": 0.5, "positive_at": chance / 2}, **facts)
    recogniser = load(eager.path)
    found = explain_picture(recogniser, pictures[picture])
    assert found.label == found.prediction.label == "defect"
    assert found.evidence == pytest.approx(explain_picture(plain, pictures[picture], Question("defect")).evidence)


def test_two_glances_are_explained_by_what_both_say(bundle, tmp_path):
    twice = load(bundle.path, glances=2)
    for seed in range(4):
        path = write_picture(tmp_path / f"{seed}.png", seed, (90, 50))
        found, prediction = explain_picture(twice, path), twice.predict(path)
        assert found.prediction == prediction
        assert found.label == prediction.label
        first = explain_picture(load(bundle.path, glances=1), path, Question(found.label))
        assert found.evidence == pytest.approx(first.evidence, rel=1e-3, abs=1e-4)


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
