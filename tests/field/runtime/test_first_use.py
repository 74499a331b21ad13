"""The first use of OpenVINO by several threads at once.

Its bindings make tables at first use inside a C++ guard and let the GIL go meanwhile: a second thread then holds the
GIL and waits for the guard, the first one holds the guard and waits for the GIL.
"""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from fieldmark.field.runtime import compile_engine
from fieldmark.field.runtime.engine import OpenVino
from tests.making import SIZE, tiny_onnx

TOGETHER = f"""
import pathlib, sys, threading
import numpy as np
from fieldmark.field.runtime import compile_engine

sys.setswitchinterval(1e-6)
engine = compile_engine(pathlib.Path(sys.argv[1]).read_bytes(), "f32")
start = threading.Barrier(4)

def work():
    start.wait()
    engine.run(np.zeros((1, {SIZE}, {SIZE}, 3), np.uint8), ("logits",))

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_the_first_run_of_a_process_is_alone(weights, monkeypatch):
    engine = compile_engine(tiny_onnx(weights), "f32", name="openvino")
    assert isinstance(engine, OpenVino)
    running, most = [0], []

    def infer(pictures, outputs):
        running[0] += 1
        most.append(running[0])
        time.sleep(0.02)
        running[0] -= 1
        return {}

    monkeypatch.setattr(OpenVino, "_used", False)
    monkeypatch.setattr(engine, "_infer", infer)
    threads = [threading.Thread(target=engine.run, args=(np.zeros(0), ())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[:2] == [1, 1]  # the second began when the first had ended
    assert len(most) == 4
    assert OpenVino._used


@pytest.mark.parametrize("time_number", range(3))
def test_threads_that_begin_together_end(weights, tmp_path, time_number):
    (tmp_path / "model.onnx").write_bytes(tiny_onnx(weights))
    subprocess.run([sys.executable, "-c", TOGETHER, str(tmp_path / "model.onnx")], check=True, timeout=60)
