"""The inference engine: OpenVINO on CPU, ONNX Runtime where OpenVINO is not. Neither may phone home.

An Engine is compiled once and run from several threads; each thread holds one stream, so that decoding, resizing and
inference of one micro-batch stay on one core and nothing is handed over.
"""

import ctypes
import os
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fieldmark.errors import MissingExtraError, UsageError, unknown_name

CONVERTER = "openvino.tools.ovc"
PRECISIONS = ("auto", "f32", "bf16")
Arrays = dict[str, NDArray[np.float32]]
Inputs = NDArray[np.uint8] | Mapping[str, NDArray[Any]]  # pictures, or every input by name


_compiling = threading.RLock()


def compiling() -> AbstractContextManager[Any]:
    """The lock under which this process makes engines and runs OpenVINO for the first time; a child has its own."""
    return _compiling


class Engine(Protocol):
    """A compiled network: pictures uint8 [N, H, W, 3] to named float32 outputs [N, ...]; safe to call from threads."""

    name: str
    precision: str
    micro_batch: int  # pictures a call that use a core best

    def run(self, pictures: NDArray[np.uint8], outputs: Sequence[str]) -> Arrays: ...


class Compiled(Engine, Protocol):
    """An Engine that can say what its network takes and gives; it also runs networks with several inputs."""

    def signature(self) -> "Signature": ...

    def run(self, pictures: Inputs, outputs: Sequence[str]) -> Arrays: ...


class Signature(NamedTuple):
    """What a network takes and gives: the sides of its input, None where any will do, and the names of its outputs."""

    input_shape: tuple[int | None, ...]
    outputs: set[str]


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def compile_engine(
    onnx: bytes, precision: str = "auto", threads: int | None = None, name: str = "auto", one_at_a_time: bool = False
) -> Compiled:
    """Compile an ONNX model for this CPU.

    `precision` "auto" is bfloat16 where the processor computes in it, float32 elsewhere. `threads` defaults to all
    cores; calls are dealt out to them, or with `one_at_a_time` the work of each call. `name` is "openvino",
    "onnxruntime" or "auto" (the first that is installed).
    """
    if precision not in PRECISIONS:
        raise UsageError(unknown_name("precision", precision, PRECISIONS))
    if name == "auto":
        name = next((n for n in ENGINES if installed(n)), "openvino")
    if name not in ENGINES:
        raise UsageError(unknown_name("engine", name, ENGINES))
    return ENGINES[name](onnx, precision, threads or cores(), one_at_a_time)


def installed(package: str) -> bool:
    """Whether Python finds this package."""
    from importlib.util import find_spec

    return find_spec(package) is not None


class OpenVino:
    """OpenVINO on CPU: one stream of one thread for each core, or one of all threads for `one_at_a_time`.

    A forked child has none of its parent's threads, so it compiles the network again at its first run.
    """

    name = "openvino"
    micro_batch = 4
    _used = False  # by this process: OpenVINO's bindings set up their tables of types at first use
    _all: "weakref.WeakSet[OpenVino]" = weakref.WeakSet()

    def __init__(self, onnx: bytes, precision: str, threads: int, one_at_a_time: bool = False) -> None:
        self._onnx, self._threads, self.precision = onnx, threads, precision
        self._streams = 1 if one_at_a_time else threads
        self._compile()
        OpenVino._all.add(self)

    def _compile(self) -> None:
        ov = _import_openvino()
        core = ov.Core()
        able = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self.precision = ("bf16" if able else "f32") if self.precision == "auto" else self.precision
        options: Mapping[str, Any] = {
            "INFERENCE_PRECISION_HINT": self.precision,
            "NUM_STREAMS": self._streams,
            "INFERENCE_NUM_THREADS": self._threads,
            "ENABLE_CPU_PINNING": False,
        }
        self._compiled = core.compile_model(core.read_model(self._onnx), "CPU", options)
        self._own = threading.local()
        self._requests: weakref.WeakSet[Any] = weakref.WeakSet()
        self._pid = os.getpid()

    def signature(self) -> Signature:
        shape = self._compiled.input(0).get_partial_shape()
        names = {name for output in self._compiled.outputs for name in output.get_names()}
        return Signature(tuple(d.get_length() if d.is_static else None for d in shape), names)

    def run(self, pictures: Inputs, outputs: Sequence[str]) -> Arrays:
        if OpenVino._used and self._pid == os.getpid():
            return self._infer(pictures, outputs)
        with compiling():  # two threads at once wait for each other for ever: one holds the GIL, one the tables
            if self._pid != os.getpid():
                self._compile()
            found = self._infer(pictures, outputs)
            OpenVino._used = True
            return found

    def _infer(self, pictures: Inputs, outputs: Sequence[str]) -> Arrays:
        request = getattr(self._own, "request", None)
        if request is None:
            request = self._own.request = self._compiled.create_infer_request()
            self._requests.add(request)
        request.infer({0: pictures} if isinstance(pictures, np.ndarray) else dict(pictures), share_inputs=True)
        return {name: np.array(request.get_tensor(name).data, np.float32) for name in outputs}

    @property
    def native(self) -> list[Any]:
        """What OpenVINO made for this engine."""
        return [self._compiled, self._own, *self._requests]


_kept: list[list[Any]] = []


def _before_fork() -> None:
    """A child must never free what its parent compiled: that waits for threads which it has not."""
    _kept.extend(engine.native for engine in list(OpenVino._all))


def _in_a_child() -> None:
    global _compiling
    _compiling = threading.RLock()
    ctypes.pythonapi.Py_IncRef(ctypes.py_object([*_kept]))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_kept.clear, after_in_child=_in_a_child)


class OnnxRuntime:
    """ONNX Runtime on CPU in float32; parallel over calls, or over the work of each for `one_at_a_time`."""

    name = "onnxruntime"
    precision = "f32"
    micro_batch = 4

    def __init__(self, onnx: bytes, precision: str, threads: int, one_at_a_time: bool = False) -> None:
        if precision == "bf16":
            raise UsageError("ONNX Runtime computes in float32 on CPU; install openvino or choose precision f32")
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        try:
            import onnxruntime
        except ImportError:
            raise MissingExtraError("the ONNX Runtime engine", "onnxruntime") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads if one_at_a_time else 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])

    def signature(self) -> Signature:
        shape = self._session.get_inputs()[0].shape
        names = {output.name for output in self._session.get_outputs()}
        return Signature(tuple(d if isinstance(d, int) else None for d in shape), names)

    def run(self, pictures: Inputs, outputs: Sequence[str]) -> Arrays:
        first = self._session.get_inputs()[0].name
        given = {first: pictures} if isinstance(pictures, np.ndarray) else dict(pictures)
        values = self._session.run(list(outputs), given)
        return {name: np.asarray(value, np.float32) for name, value in zip(outputs, values, strict=True)}


def _import_openvino() -> Any:
    """OpenVINO without its telemetry, which would write a client id and queue an event at import.

    Its model converter, half of the import's time, is left for whoever calls `openvino.convert_model`.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    first = "openvino" not in sys.modules and CONVERTER not in sys.modules
    if first:
        sys.modules[CONVERTER] = None  # type: ignore[assignment]  # OpenVINO goes on without it
    try:
        import openvino
    except ImportError:
        raise MissingExtraError("inference", "onnxruntime") from None
    finally:
        if first:
            del sys.modules[CONVERTER]
    if not hasattr(openvino, "convert_model"):
        openvino.convert_model = _convert_model
    return openvino


def _convert_model(*args: Any, **options: Any) -> Any:
    return import_module(CONVERTER).convert_model(*args, **options)


ENGINES: dict[str, type[OpenVino] | type[OnnxRuntime]] = {"openvino": OpenVino, "onnxruntime": OnnxRuntime}
