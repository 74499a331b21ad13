"""Bundles with a checksum that fits and content that does not: one sentence each, and nothing outside is read."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save as save_safetensors

from fieldmark import bundle as bundles
from fieldmark.errors import BundleError, FieldmarkError, UsageError
from fieldmark.field.explain import explain_picture
from fieldmark.field.runtime import Recogniser, evaluate
from fieldmark.field.runtime.onnx_check import check_onnx
from fieldmark.field.runtime.recogniser import NO_NUMBERS
from tests.making import SIZE, class_folders, network_weights, smooth, tiny_bundle, tiny_facts, tiny_onnx

PICTURE = smooth(SIZE, SIZE)


def forged(folder: Path, changes: dict | None = None, **files: bytes) -> Path:
    """A bundle whose facts or files are changed, with checksums that fit; files by their stem."""
    folder.mkdir(exist_ok=True)
    weights = network_weights()
    whole = {
        bundles.MODEL: files.get("model", tiny_onnx(weights)),
        bundles.WEIGHTS: files.get("weights", save_safetensors({"head.weight": weights["head.weight"]})),
    }
    bundles.save(folder, tiny_facts(**(changes or {})), whole)
    return folder


def with_external(place: str) -> bytes:
    """The tiny network with one tensor whose values are in another file."""
    model = onnx.load_from_string(tiny_onnx(network_weights()))
    tensor = next(t for t in model.graph.initializer if t.name == "head.bias")
    if place == "attribute":
        value = model.graph.node.add(op_type="Constant", output=["unused"]).attribute.add(
            name="value", type=onnx.AttributeProto.TENSOR
        )
        value.t.CopyFrom(tensor)
        tensor = value.t
    elif place == "subgraph":
        inner = helper.make_graph([], "inner", [], [], [numpy_helper.from_array(np.zeros(3, np.float32), "x")])
        model.graph.node.add(op_type="If", input=["c"], output=["y"]).attribute.append(
            helper.make_attribute("then_branch", inner)
        )
        tensor = model.graph.node[-1].attribute[0].g.initializer[0]
    elif place == "sparse":
        tensor = model.graph.sparse_initializer.add().values
    elif place == "function":
        tensor = model.functions.add(name="f").node.add().attribute.add().tensors.add()
    elif place == "training":
        tensor = model.training_info.add().initialization.initializer.add()
    tensor.ClearField("raw_data")
    if place != "entries alone":
        tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret.bin")
    return model.SerializeToString()


@pytest.mark.parametrize(
    "place", ["initializer", "entries alone", "attribute", "subgraph", "sparse", "function", "training"]
)
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_network_that_reads_other_files_is_refused(tmp_path, monkeypatch, place, engine):
    (tmp_path / "secret.bin").write_bytes(b"\0" * 12)
    monkeypatch.chdir(tmp_path)
    recogniser = Recogniser(bundles.load(forged(tmp_path / "b", model=with_external(place))), engine=engine)
    with pytest.raises(BundleError, match="reads files outside the bundle; do not use it"):
        recogniser.predict(PICTURE)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"\0" * 100,
        b"<?xml version='1.0'?>",
        b"\x3a\xff",
        b"\x08\x07",
        b"\x3a\x7f\x00",
        b"\x08\x07\x00\x00ORTM",
    ],
)
def test_what_is_no_network_is_refused(tmp_path, data):
    with pytest.raises(BundleError, match=f"{tmp_path}.*no valid ONNX model"):
        Recogniser(bundles.load(forged(tmp_path, model=data))).predict(PICTURE)


def test_graphs_within_graphs_have_a_bound():
    data = b""
    for _ in range(400):
        inner = b"\x32" + _length(data) + data  # attribute.g
        node = b"\x2a" + _length(inner) + inner
        data = b"\x0a" + _length(node) + node
    with pytest.raises(BundleError, match="no valid ONNX model"):
        check_onnx(b"\x3a" + _length(data) + data)


def _length(data: bytes) -> bytes:
    size, out = len(data), b""
    while size > 127:
        out += bytes([size & 127 | 128])
        size >>= 7
    return out + bytes([size])


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_network_or_a_bundle_error(data):
    with contextlib.suppress(BundleError):
        check_onnx(b"\x08\x07\x3a" + _length(data) + data)


def test_a_whole_network_passes_and_its_check_is_quick(weights):
    check_onnx(tiny_onnx(weights))


FACTS = [
    {"classes": ["ash"]},
    {"classes": ["ash", "ash", "beech"]},
    {"classes": ["ash", "", "beech"]},
    {"classes": ["ash", 3, "beech"]},
    {"classes": ["ash", ["x"], "beech"]},
    {"classes": "abc"},
    {"precision": "int4"},
    {"precision": ["f32"]},
    {"recheck_margin": "big"},
    {"recheck_margin": float("nan")},
    {"recheck_margin": [1]},
    {"calibration": {"temperature": 1e-300}},
    {"calibration": {"temperature": float("inf")}},
    {"calibration": {"temperature": "1"}},
    {"calibration": {"temperature": 10**400}},
    {"calibration": {"temperature": True}},
    {"thresholds": {"unsure_below": "x"}},
    {"thresholds": {"unsure_below": None}},
    {"thresholds": [0.5]},
    {"thresholds": {"unsure_below": -5}},
    {"thresholds": {"shown_from": 1e299}},
    {"coarse": ["x"]},
    {"coarse": {"ash": 3}},
    {"data": 3},
    {"data": {"fingerprint": "x"}},
    {"data": {"fingerprint": "x", "split": {"seed": 0, "val": 0.1, "tset": 0.1}}},
    {"data": {"fingerprint": "x", "split": {"seed": "0", "val": 0.1, "test": 0.1}}},
    {"data": {"fingerprint": "x", "split": {"seed": 0, "val": 7, "test": 0.1}}},
    {"data": {"fingerprint": "x", "split": {"seed": 0, "val": 0.1, "test": 0.1}, "parts": {"test": 3}}},
    {"outputs": 3},
    {"outputs": [["logits"]]},
    {"preprocess": {"size_wh": [5000, 16], "fit": "squash", "resample": "bilinear"}},
    {"preprocess": {"size_wh": [16.5, 16], "fit": "squash", "resample": "bilinear"}},
    {"preprocess": {"size_wh": [10**30, 16], "fit": "squash", "resample": "bilinear"}},
    {"preprocess": {"size_wh": [True, 16], "fit": "squash", "resample": "bilinear"}},
    {"preprocess": {"size_wh": [16, 16, 3], "fit": "squash", "resample": "bilinear"}},
    {"preprocess": {"size_wh": [16, 16], "fit": ["squash"], "resample": "bilinear"}},
    {"preprocess": {"size_wh": [16, 16], "fit": "squash", "resample": "bilinear", "tile": 64}},
    {"preprocess": {"size_wh": [16, 16], "fit": "squash", "resample": "bilinear", "tile": 0.5}},
    {"task": "detect", "preprocess": {"size_wh": [16, 16], "fit": "crop", "resample": "bilinear"}},
    {"input": {"size_wh": [32, 32]}},
    {"input": 3},
]


@pytest.mark.parametrize("facts", FACTS, ids=str)
def test_facts_that_cannot_be_are_refused_once_when_loaded(tmp_path, facts):
    with pytest.raises(BundleError, match="holds a value that is not valid") as caught:
        Recogniser(bundles.load(forged(tmp_path, facts)))
    assert "\n" not in str(caught.value)


def test_a_number_of_absurd_length_is_refused(tmp_path):
    text = (forged(tmp_path) / bundles.FACTS).read_text()
    (tmp_path / bundles.FACTS).write_text(text.replace('"unsure_below": 0.5', f'"unsure_below": {"9" * 5000}'))
    with pytest.raises(BundleError, match="not valid JSON"):
        bundles.load(tmp_path)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(
    ("facts", "model", "says"),
    [
        ({"preprocess": {"size_wh": [2048, 2048], "fit": "squash", "resample": "bilinear"}}, None, "2048 x 2048"),
        ({"classes": ["ash", "beech"]}, None, "one logit for each of 2 classes"),
        ({}, "no logits", "has no output logits"),
        ({}, "bad operator", "cannot be compiled"),
        ({}, "bad reshape", "cannot be run|wrong shape"),
    ],
)
def test_a_network_that_is_not_what_the_facts_say_is_refused(tmp_path, facts, model, says, engine):
    made = onnx.load_from_string(tiny_onnx(network_weights()))
    if model == "no logits":
        made.graph.node[-1].output[0] = made.graph.output[0].name = "scores_of_classes"
    elif model == "bad operator":
        made.graph.node[4].op_type = "Nonsense"
    elif model == "bad reshape":
        flat = next(t for t in made.graph.initializer if t.name == "flat")
        flat.CopyFrom(numpy_helper.from_array(np.array([0, 0, 7]), "flat"))
    with pytest.raises(BundleError, match=says) as caught:
        Recogniser(bundles.load(forged(tmp_path, facts, model=made.SerializeToString())), engine=engine).predict(
            PICTURE
        )
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "weights",
    [
        b"",
        b"garbage" * 10,
        (2**62).to_bytes(8, "little"),
        save_safetensors({"other": np.zeros(3, np.float32)}),
        save_safetensors({"head.weight": np.zeros((2, 8), np.float32)}),
        save_safetensors({"head.weight": np.zeros((3, 7), np.float32)}),
        save_safetensors({"head.weight": np.zeros(3, np.float32)}),
        save_safetensors({"head.weight": np.full((3, 8), np.nan, np.float32)}),
    ],
)
def test_head_weights_that_do_not_fit_are_one_sentence(tmp_path, weights):
    made = bundles.load(forged(tmp_path, weights=weights))
    with pytest.raises(BundleError, match=r"head|do not fit"):
        explain_picture(Recogniser(made), PICTURE)
    with pytest.raises(BundleError, match=r"head|do not fit"):
        Recogniser(made, glances=2).predict(PICTURE)


def test_logits_that_are_no_numbers_are_an_error_of_the_picture(tmp_path):
    weights = network_weights()
    weights["head.bias"][1] = np.nan
    recogniser = Recogniser(bundles.load(forged(tmp_path / "b", model=tiny_onnx(weights))))
    found = recogniser.predict(PICTURE)
    assert (found.error, found.labels) == (NO_NUMBERS, ())
    with pytest.raises(FieldmarkError, match=NO_NUMBERS):
        explain_picture(recogniser, PICTURE)
    with pytest.raises(FieldmarkError, match=NO_NUMBERS):
        evaluate(recogniser, class_folders(tmp_path / "d", {"ash": 2, "beech": 2}))


def test_a_network_swapped_after_it_was_checked_is_not_used(tmp_path, bundle):
    place = Path(shutil.copytree(bundle.path, tmp_path / "b"))
    recogniser = Recogniser(bundles.load(place))
    (place / bundles.MODEL).write_bytes(tiny_onnx(network_weights(7)))
    with pytest.raises(BundleError, match=r"model\.onnx was changed since it was loaded"):
        recogniser.predict(PICTURE)


def test_facts_swapped_after_they_were_checked_do_not_reach_a_zip(tmp_path, bundle):
    loaded = bundles.load(shutil.copytree(bundle.path, tmp_path / "b"))
    forged(tmp_path / "b", {"classes": ["x", "y", "z"]})
    with pytest.raises(BundleError, match=r"bundle\.json was changed"):
        bundles.write_zip(loaded, tmp_path / "a.fieldmark")
    assert not (tmp_path / "a.fieldmark").exists()


def test_a_second_look_uses_the_network_that_was_checked(tmp_path, bundle):
    place = Path(shutil.copytree(bundle.path, tmp_path / "b"))
    recogniser = Recogniser(bundles.load(place))
    recogniser.predict(PICTURE)
    before = recogniser._compile("f32").run(PICTURE[None], ("logits",))["logits"]
    (place / bundles.MODEL).write_bytes(b"other")
    assert np.array_equal(recogniser._compile("f32").run(PICTURE[None], ("logits",))["logits"], before)


@pytest.fixture
def zipped(tmp_path):
    """A zip that lists 100 MB of zeros as its network."""
    facts = json.loads((forged(tmp_path / "b") / bundles.FACTS).read_text())
    zeros = b"\0" * 100_000_000
    facts["files"][bundles.MODEL] = {"bytes": len(zeros), "sha256": bundles.sha256(zeros)}
    facts["checksum"] = bundles.checksum(facts)
    with zipfile.ZipFile(tmp_path / "a.fieldmark", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(bundles.FACTS, json.dumps(facts))
        archive.writestr(bundles.MODEL, zeros)
        archive.writestr(bundles.WEIGHTS, (tmp_path / "b" / bundles.WEIGHTS).read_bytes())
    return tmp_path / "a.fieldmark"


def test_a_zip_that_unpacks_to_far_more_than_itself_is_refused_unread(zipped, monkeypatch):
    monkeypatch.setattr(bundles, "_verify", pytest.fail)
    with pytest.raises(BundleError, match=r"would unpack to 100 MB"):
        bundles.load(zipped)


def test_a_zip_packed_with_lzma_is_refused(tmp_path, bundle):
    with zipfile.ZipFile(tmp_path / "a.fieldmark", "w", zipfile.ZIP_LZMA) as archive:
        for path in bundle.path.iterdir():
            archive.write(path, path.name)
    with pytest.raises(BundleError, match="LZMA"):
        bundles.load(tmp_path / "a.fieldmark")


def test_files_of_more_than_four_gigabytes_together_are_refused_unread(tmp_path):
    facts = json.loads((forged(tmp_path) / bundles.FACTS).read_text())
    for name in "ab":
        facts["files"][name] = {"bytes": 2_100_000_000, "sha256": ""}
    facts["checksum"] = bundles.checksum(facts)
    (tmp_path / bundles.FACTS).write_text(json.dumps(facts))
    with pytest.raises(BundleError, match="more than 4 GB"):
        bundles.load(tmp_path)


@pytest.mark.parametrize("choice", [{"precision": None}, {"precision": "f16"}, {"engine": None}, {"engine": "trt"}])
def test_a_choice_that_does_not_exist_is_said_when_loading(bundle, choice):
    with pytest.raises(UsageError, match=r"unknown (precision|engine)"):
        Recogniser(bundle, **choice)


FORK = """
import os, signal, sys, threading
import numpy as np
from fieldmark.field.runtime import load

recogniser = load(sys.argv[1], engine=sys.argv[2])
picture = np.zeros((16, 16, 3), np.uint8)
expected = recogniser.predict(picture).labels
if sys.argv[3] == "busy":  # other threads are at work when it forks
    go_on = True
    def work():
        while go_on: list(recogniser.predict([picture] * 8))
    threads = [threading.Thread(target=work, daemon=True) for _ in range(3)]
    for thread in threads: thread.start()
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        signal.alarm(50)
        same = recogniser.predict(picture).labels == expected
        same = same and len(list(recogniser.predict([picture] * 20))) == 20
        del recogniser
        sys.exit(0 if same else 3)
    assert os.waitpid(pid, 0)[1] == 0, "the child failed"
go_on = False
assert recogniser.predict(picture).labels == expected
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("busy", ["idle", "busy"])
def test_a_forked_child_predicts_and_ends(bundle, engine, busy):
    code = [sys.executable, "-c", FORK, str(bundle.path), engine, busy]
    done = subprocess.run(code, timeout=170, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_forked_child_of_a_careful_recogniser_predicts(tmp_path):
    place = tiny_bundle(tmp_path / "b", precision="bf16", recheck_margin=1e6).path
    code = [sys.executable, "-c", FORK, str(place), "openvino", "idle"]
    done = subprocess.run(code, timeout=170, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
