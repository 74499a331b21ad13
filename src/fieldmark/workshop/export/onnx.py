"""A network as ONNX: exported once, its weights replaced by name afterwards, and checked against torch."""

import contextlib
import io
import logging
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fieldmark.errors import FieldmarkError
from fieldmark.field.runtime.engine import compile_engine
from fieldmark.workshop.models.network import OUTPUTS, Network

INPUT = "pictures"
OPSET = 18
MAX_F32_DIFFERENCE = 1e-4
MIN_AGREEMENT = 0.995
STRUCTURE_EXPONENT = 0.75  # while exporting: an exponent of 1 or 0.5 would be folded away and could not be set later


def export_onnx(network: Network, size_wh: tuple[int, int]) -> bytes:
    """The network as an ONNX model with input `pictures` uint8 [N, H, W, 3], any N, and outputs `OUTPUTS`.

    The bytes depend on the network alone: traces, paths and other notes of the exporter are removed.
    """
    exponent = network.power.exponent.clone()
    network.power.exponent.fill_(STRUCTURE_EXPONENT)
    width, height = size_wh
    example = torch.zeros(2, height, width, 3, dtype=torch.uint8)
    with _quiet():
        program = torch.onnx.export(
            network.eval(),
            (example,),
            dynamo=True,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_shapes=({0: torch.export.Dim("n")},),
            opset_version=OPSET,
            verbose=False,
        )
    network.power.exponent.copy_(exponent)
    if program is None:
        raise FieldmarkError("the network could not be exported to ONNX")
    return set_weights(_strip(program.model_proto), {"power.exponent": exponent.cpu().numpy()})


@contextlib.contextmanager
def _quiet() -> Any:
    """The exporter prints and warns about matters no user can mend."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _strip(model: Any) -> bytes:
    """Deterministic bytes without metadata, which holds stack traces and paths of this machine."""
    del model.metadata_props[:], model.graph.metadata_props[:], model.functions[:]
    model.graph.doc_string = model.doc_string = ""
    for part in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info):
        part.doc_string = ""
        del part.metadata_props[:]
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
        tensor.doc_string = ""
    return bytes(model.SerializeToString(deterministic=True))


def set_weights(onnx: bytes, tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """The model with these initializers replaced; KeyError for one that no node uses, ValueError for another shape."""
    import onnx as onnx_library
    from onnx import numpy_helper

    model = onnx_library.load_from_string(onnx)
    used = {name for node in model.graph.node for name in node.input}
    there = {t.name: t for t in model.graph.initializer if t.name in used}
    for name, array in tensors.items():
        old = there[name]
        if tuple(old.dims) != array.shape:
            raise ValueError(f"{name} is {tuple(old.dims)} in the model, not {array.shape}")
        old.CopyFrom(numpy_helper.from_array(np.asarray(array, numpy_helper.to_array(old).dtype), name))
    return bytes(model.SerializeToString(deterministic=True))


@dataclass(frozen=True)
class Parity:
    """ONNX against torch on real pictures: the largest difference of logits in float32 relative to their largest
    absolute value, and the share of equal decisions at the default precision."""

    pictures: int
    f32_difference: float
    precision: str
    agreement: float

    @property
    def holds(self) -> bool:
        return self.f32_difference <= MAX_F32_DIFFERENCE and self.agreement >= MIN_AGREEMENT

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def check_parity(network: Network, onnx: bytes, pictures: NDArray[np.uint8], precision: str = "auto") -> Parity:
    """Compare logits and decisions of the torch network with the exported model on pictures uint8 [N, H, W, 3]."""
    with torch.inference_mode():
        expected = network.eval()(torch.from_numpy(pictures))[0].numpy()
    exact = _logits(onnx, pictures, "f32")[0]
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    got, used = _logits(onnx, pictures, precision)
    return Parity(
        len(pictures),
        float(np.abs(exact - expected).max(initial=0.0)) / scale,
        used,
        float((got.argmax(1) == expected.argmax(1)).mean()),
    )


def _logits(onnx: bytes, pictures: NDArray[np.uint8], precision: str) -> tuple[NDArray[np.float32], str]:
    engine = compile_engine(onnx, precision)
    batches = [engine.run(pictures[i : i + 16], ("logits",))["logits"] for i in range(0, len(pictures), 16)]
    return np.concatenate(batches), engine.precision
