import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fieldmark.errors import MissingExtraError, UsageError
from fieldmark.field.runtime import compile_engine, cores
from fieldmark.field.runtime import engine as engines
from fieldmark.field.runtime.stream import stream
from tests.making import SIZE, by_hand, tiny_onnx

OUTPUTS = ("logits", "attention", "embedding", "features")
NAMES = ("openvino", "onnxruntime")


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (13, SIZE, SIZE, 3), np.uint8)


@pytest.fixture(scope="module", params=NAMES)
def engine(request, weights):
    return compile_engine(tiny_onnx(weights), "f32", name=request.param)


@pytest.mark.parametrize("gain", ["identity", "sqrt"])
@pytest.mark.parametrize("name", NAMES)
def test_an_engine_computes_what_numpy_does(name, gain, weights, pictures):
    found = compile_engine(tiny_onnx(weights, gain), "f32", name=name).run(pictures, OUTPUTS)
    for output, expected in by_hand(weights, pictures, gain).items():
        assert found[output].dtype == np.float32
        np.testing.assert_allclose(found[output], expected, rtol=1e-4, atol=1e-5)


def test_both_engines_say_the_same(weights, pictures):
    a, b = (compile_engine(tiny_onnx(weights), "f32", name=name).run(pictures, OUTPUTS) for name in NAMES)
    for output in OUTPUTS:
        np.testing.assert_allclose(a[output], b[output], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_an_engine_for_one_call_at_a_time_says_the_same(name, weights, pictures):
    engine = compile_engine(tiny_onnx(weights), "f32", threads=2, name=name, one_at_a_time=True)
    for output, expected in by_hand(weights, pictures).items():
        np.testing.assert_allclose(engine.run(pictures, OUTPUTS)[output], expected, rtol=1e-4, atol=1e-5)


def test_only_the_outputs_asked_for_are_given(engine, pictures):
    assert list(engine.run(pictures, ("embedding", "logits"))) == ["embedding", "logits"]


def test_a_picture_gets_the_same_answer_in_any_company(engine, pictures):
    together = engine.run(pictures, OUTPUTS)
    for size in (1, 2, 4):
        for start in range(0, len(pictures), size):
            part = engine.run(pictures[start : start + size], OUTPUTS)
            for output in OUTPUTS:
                np.testing.assert_allclose(part[output], together[output][start : start + size], rtol=1e-5, atol=1e-6)


def test_answers_stay_when_the_engine_goes_on(engine, pictures):
    first = engine.run(pictures[:2], OUTPUTS)
    kept = {name: values.copy() for name, values in first.items()}
    engine.run(pictures[2:4], OUTPUTS)
    assert all(np.array_equal(first[name], kept[name]) for name in OUTPUTS)


def test_threads_do_not_disturb_each_other(engine, pictures):
    alone = engine.run(pictures, OUTPUTS)["logits"]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda k: engine.run(pictures[k % 13][None], ("logits",))["logits"][0], range(104)))
    for k, logits in enumerate(found):
        np.testing.assert_allclose(logits, alone[k % 13], rtol=1e-5, atol=1e-6)


def test_views_and_read_only_arrays_are_taken_as_they_are(engine, pictures):
    turned = pictures[:3, ::-1, ::-1]
    frozen = pictures[:3].copy()
    frozen.flags.writeable = False
    expected = engine.run(np.ascontiguousarray(turned), ("logits",))["logits"]
    np.testing.assert_allclose(engine.run(turned, ("logits",))["logits"], expected, rtol=1e-5, atol=1e-6)
    assert np.array_equal(engine.run(frozen, ("logits",))["logits"], engine.run(pictures[:3], ("logits",))["logits"])


def test_a_stream_through_an_engine_is_the_engine_picture_by_picture(engine, pictures):
    found = list(stream(engine, range(13), lambda k: pictures[k], OUTPUTS, 2))
    expected = engine.run(pictures, OUTPUTS)
    assert [seen.item for seen in found] == list(range(13))
    for seen in found:
        for output in OUTPUTS:
            np.testing.assert_allclose(seen.outputs[output], expected[output][seen.item], rtol=1e-5, atol=1e-6)


def test_bfloat16_differs_a_little_and_is_chosen_only_where_it_is_fast(weights, pictures):
    auto = compile_engine(tiny_onnx(weights), name="openvino")
    assert auto.precision in ("f32", "bf16")
    exact = by_hand(weights, pictures)["logits"]
    assert np.abs(auto.run(pictures, ("logits",))["logits"] - exact).max() < 0.05 * np.abs(exact).max()


def test_automatic_choice_takes_the_first_engine_installed(weights, monkeypatch):
    assert compile_engine(tiny_onnx(weights), "f32").name == "openvino"
    monkeypatch.setattr(engines, "installed", lambda name: name == "onnxruntime")
    assert compile_engine(tiny_onnx(weights)).name == "onnxruntime"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"precision": "f16"}, "unknown precision 'f16'; did you mean"),
        ({"name": "openvno"}, "did you mean openvino"),
        ({"name": "onnxruntime", "precision": "bf16"}, "install openvino or choose precision f32"),
    ],
)
def test_what_no_engine_does_is_refused(arguments, says):
    with pytest.raises(UsageError, match=says):
        compile_engine(b"", **arguments)


@pytest.mark.parametrize("package", NAMES)
def test_an_engine_that_is_not_installed_says_what_to_install(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"fieldmark\[onnxruntime\]"):
        compile_engine(b"", name=package)


def test_there_is_at_least_one_core(monkeypatch):
    assert cores() >= 1
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1


@pytest.mark.parametrize("name", NAMES)
def test_an_engine_writes_nothing_at_home_and_dials_nobody(name, tmp_path, weights):
    (tmp_path / "model.onnx").write_bytes(tiny_onnx(weights))
    (tmp_path / "home").mkdir()
    code = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise SystemExit('dialled')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
        "from pathlib import Path\nimport numpy as np\n"
        "from fieldmark.field.runtime import compile_engine\n"
        "engine = compile_engine(Path(sys.argv[1]).read_bytes(), 'f32', name=sys.argv[2])\n"
        f"engine.run(np.zeros((1, {SIZE}, {SIZE}, 3), np.uint8), ('logits',))\n"
    )
    kept = {k: v for k, v in os.environ.items() if k not in ("CI", "ORT_DISABLE_TELEMETRY") and "XDG" not in k}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model.onnx"), name],
        env={**kept, "HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list((tmp_path / "home").rglob("*")) == []
