import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.errors import DataError, UsageError
from fieldmark.types import Prediction, Preprocess, Sample, Score


@given(
    st.tuples(st.integers(1, 4096), st.integers(1, 4096)),
    st.sampled_from(["squash", "crop", "pad"]),
    st.sampled_from(["bilinear", "bicubic", "lanczos", "box"]),
)
def test_preprocessing_comes_back_from_its_json(size_wh, fit, resample):
    made = Preprocess(size_wh, fit, resample)
    assert Preprocess.from_json(json.loads(json.dumps(made.to_json()))) == made


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (((8, 8), "sqash"), "did you mean squash"),
        (((8, 8), "pad", "bicubik"), "did you mean bicubic"),
        (((0, 8),), "1 to 4096 pixels, not 0 x 8"),
        (((8, 4097),), "1 to 4096 pixels"),
    ],
)
def test_preprocessing_that_cannot_be_is_refused(arguments, says):
    with pytest.raises(UsageError, match=says):
        Preprocess(*arguments)


def test_the_label_of_a_sample_is_its_first():
    assert Sample(Path("a"), "a", ("ash",)).label == "ash"
    with pytest.raises(DataError, match=r"b\.jpg has no label; give data in which every picture has one"):
        _ = Sample(Path("b"), "b.jpg").label


def test_a_prediction_row_has_the_contracts_keys_and_the_most_probable_labels():
    prediction = Prediction("a.jpg", (Score("ash", 0.7000000001), Score("oak", 0.3)), unsure=False)
    assert prediction.label == "ash"
    assert prediction.to_json(top=1) == {
        "path": "a.jpg",
        "labels": [{"label": "ash", "probability": 0.7}],
        "unsure": False,
        "error": None,
    }
    assert len(prediction.to_json()["labels"]) == 2


def test_a_prediction_without_a_picture_has_no_label():
    prediction = Prediction("a.jpg", error="no such file")
    assert prediction.label is None
    assert prediction.to_json() == {"path": "a.jpg", "labels": [], "unsure": None, "error": "no such file"}
