import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fieldmark import bundle as bundles
from fieldmark import pictures
from fieldmark.errors import BundleError, UsageError
from fieldmark.field.runtime import Recogniser, load
from fieldmark.field.runtime.recogniser import collect
from fieldmark.types import Prediction
from tests.making import CLASSES, by_hand, encoded, smooth, tiny_bundle, write_picture


def expected_label(weights, path: Path, recogniser: Recogniser) -> str:
    picture = pictures.load(path, recogniser.preprocess)
    return CLASSES[int(by_hand(weights, picture[None])["logits"][0].argmax())]


def test_a_bundle_loads_from_a_folder_a_run_or_a_zip(bundle, tmp_path):
    bundles.write_zip(bundle, tmp_path / "a.fieldmark")
    for place in (bundle.path, str(bundle.path.parent), tmp_path / "a.fieldmark"):
        assert load(place).classes == CLASSES


def test_one_picture_gives_one_prediction(recogniser, weights, tmp_path):
    for seed in range(6):
        path = write_picture(tmp_path / f"{seed}.png", seed)
        found = recogniser.predict(path)
        assert isinstance(found, Prediction)
        assert found.label == expected_label(weights, path, recogniser)
        assert found.path == str(path)
        assert sum(s.probability for s in found.labels) == pytest.approx(1)


def test_a_path_its_text_its_bytes_and_its_array_are_recognised_alike(recogniser, tmp_path):
    path = write_picture(tmp_path / "a.png")
    found = [
        recogniser.predict(s)
        for s in (path, str(path), path.read_bytes(), np.asarray(Image.open(io.BytesIO(path.read_bytes()))))
    ]
    assert len({p.labels for p in found}) == 1
    assert [p.path for p in found] == [str(path), str(path), "", ""]


def test_a_list_or_a_folder_gives_an_iterator_in_order(recogniser, tmp_path):
    paths = [write_picture(tmp_path / f"{k:02d}.png", k) for k in range(11)]
    alone = [recogniser.predict(p).labels for p in paths]
    for source in (paths, iter(paths), tmp_path, str(tmp_path)):
        found = recogniser.predict(source)
        assert iter(found) is found
        rows = list(found)
        assert [r.path for r in rows] == [str(p) for p in paths]
        for row, labels in zip(rows, alone, strict=True):
            assert [s.label for s in row.labels] == [s.label for s in labels]
            assert [s.probability for s in row.labels] == pytest.approx([s.probability for s in labels], abs=1e-5)


def test_pictures_that_cannot_be_used_are_told_and_do_not_stop_the_others(recogniser, tmp_path):
    good = write_picture(tmp_path / "good.png")
    (tmp_path / "text.jpg").write_text("I am no picture")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "cut.jpg").write_bytes(encoded(smooth(64, 64), "JPEG")[:400])
    os.mkfifo(tmp_path / "pipe.jpg")
    sources = ["good.png", "text.jpg", "empty.jpg", "cut.jpg", "pipe.jpg", "none.jpg", "a\0b.jpg", "x" * 5000]
    found = list(recogniser.predict([tmp_path / s for s in sources] + [b"", np.zeros((3, 3)), good]))
    assert [p.error is None for p in found] == [True] + [False] * 9 + [True]
    for prediction in found[1:-1]:
        assert (prediction.labels, prediction.label, prediction.unsure) == ((), None, None)
    assert found[0].labels[0].probability == pytest.approx(found[-1].labels[0].probability, abs=1e-5)


def test_one_unusable_picture_is_a_prediction_with_an_error(recogniser):
    assert recogniser.predict("nowhere.jpg").error == "no such file"
    assert "too long" in recogniser.predict("x" * 5000).error


def test_an_empty_folder_gives_nothing(recogniser, tmp_path):
    assert list(recogniser.predict(tmp_path)) == []
    assert list(recogniser.predict([])) == []


def test_both_engines_recognise_alike(bundle, tmp_path):
    for k in range(5):
        write_picture(tmp_path / f"{k}.png", k)
    a, b = (list(Recogniser(bundle, "f32", name).predict(tmp_path)) for name in ("openvino", "onnxruntime"))
    for x, y in zip(a, b, strict=True):
        assert [s.label for s in x.labels] == [s.label for s in y.labels]
        assert [s.probability for s in x.labels] == pytest.approx([s.probability for s in y.labels], abs=1e-5)


def test_calibration_and_threshold_of_the_bundle_are_used(tmp_path, weights):
    path = write_picture(tmp_path / "a.png")
    plain = tiny_bundle(tmp_path / "plain", weights)
    soft = tiny_bundle(tmp_path / "soft", weights, calibration={"temperature": 100.0}, thresholds={"unsure_below": 0.4})
    first, second = Recogniser(plain).predict(path), Recogniser(soft).predict(path)
    assert first.label == second.label
    assert second.labels[0].probability < min(0.4, first.labels[0].probability)
    assert second.unsure


def test_the_fit_of_the_bundle_is_used(tmp_path, weights):
    path = write_picture(tmp_path / "a.png", size_wh=(64, 16))
    found = {}
    for fit in ("squash", "crop", "pad"):
        preprocess = {"size_wh": [16, 16], "fit": fit, "resample": "bilinear"}
        one = Recogniser(tiny_bundle(tmp_path / fit, weights, preprocess=preprocess))
        found[fit] = one.predict(path).labels
        assert found[fit][0].label == expected_label(weights, path, one)
    assert len(set(found.values())) == 3


def test_an_unknown_task_is_refused(tmp_path):
    with pytest.raises(UsageError, match="unknown task 'classfy'; did you mean classify"):
        Recogniser(tiny_bundle(tmp_path, task="classfy"))


def test_a_bundle_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BundleError, match="no such bundle"):
        load(tmp_path / "none")


def test_raw_outputs_of_several_pictures_become_arrays(recogniser, tmp_path):
    paths = [write_picture(tmp_path / f"{k}.png", k) for k in range(3)]
    arrays = collect([seen.outputs for seen in recogniser.run(paths, ("logits", "features"))])
    assert arrays["logits"].shape == (3, 3)
    assert arrays["features"].shape == (3, 4, 4, 4)
    assert collect([]) == {}


def test_a_pillow_picture_is_recognised_like_its_file_turned_as_its_exif_says(recogniser, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.png"
    Image.fromarray(smooth(60, 40)).save(path, exif=exif)
    with Image.open(path) as image:
        assert recogniser.predict(image).labels == recogniser.predict(path).labels
        assert [p.labels for p in recogniser.predict([image, path])] == [recogniser.predict(path).labels] * 2


@pytest.mark.parametrize("what", [None, 3, 2.5, object()])
def test_what_is_no_picture_is_said_in_one_sentence(recogniser, what):
    with pytest.raises(TypeError, match="a Pillow picture"):
        recogniser.predict(what)
    (found,) = recogniser.predict([what])
    assert "is no picture" in found.error
