"""A network as ONNX: exported once, its weights replaced by name afterwards, and checked against torch."""

import contextlib
import io
import json
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fieldmark.errors import FieldmarkError
from fieldmark.field.runtime import Engine, compile_engine, stream
from fieldmark.field.runtime.recogniser import collect
from fieldmark.field.tasks import OnLogits, Task, TaskFacts
from fieldmark.field.tasks.base import Outputs
from fieldmark.workshop.models.network import BaseNetwork, Power

INPUT = "pictures"
STDOUT = 1
OPSET = 18
EXPORTERS = ("trace", "dynamo")
MAX_F32_DIFFERENCE = 1e-4
TORCH_PICTURES = 16
MOST_COMPARED = 2**27  # values of each output form: half a gigabyte
CHANGED_ROWS = 0.02  # of outputs whose rows are chosen and ordered by the network itself
RECHECK_NOISE = 1.5  # near tie: closer than this many root-mean-square errors of the margin
STRUCTURE_EXPONENT = 0.75  # while exporting: an exponent of 1 or 0.5 would be folded away and could not be set later


def export_onnx(
    network: BaseNetwork,
    size_wh: tuple[int, int],
    exporter: str = "auto",
    part: nn.Module | None = None,
    outputs: Sequence[str] = (),
) -> bytes:
    """The network as an ONNX model with input `pictures` uint8 [N, H, W, 3], any N, and its own outputs.

    `part`: a module on parts of the network that is exported in its place; it gives a tuple, `outputs` by name.
    `exporter`: "trace" (a second), "dynamo" (seven, and torch's way for the future), or "auto", which tries them in
    this order. The bytes depend on the network alone: traces, paths and other notes of the exporter are removed.
    Raises FieldmarkError when the network cannot be exported.
    """
    width, height = size_wh
    example = torch.zeros(2, height, width, 3, dtype=torch.uint8)
    powers = [part.exponent for part in network.modules() if isinstance(part, Power)]
    exponents = [power.clone() for power in powers]
    for power in powers:
        power.fill_(STRUCTURE_EXPONENT)
    try:
        with quiet():
            names = EXPORTERS if exporter == "auto" else (exporter,)
            model = _first_that_works((part or network).eval(), example, names, outputs or network.outputs)
    except ExportError as error:
        raise FieldmarkError(
            f"backbone {network.backbone.name} cannot be exported to ONNX ({error}); choose another"
        ) from error
    finally:
        for power, exponent in zip(powers, exponents, strict=True):
            power.copy_(exponent)
    stripped = strip(model)
    there = [t.name for t in model.graph.initializer if t.name.endswith("power.exponent")]
    return set_weights(stripped, {name: exponents[0].cpu().numpy() for name in there})


class ExportError(Exception):
    """What all exporters said."""


def _first_that_works(part: nn.Module, example: Tensor, exporters: Sequence[str], outputs: Sequence[str]) -> Any:
    errors: list[Exception] = []
    for name in exporters:
        try:
            return (_trace if name == "trace" else _dynamo)(part, example, outputs)
        except Exception as error:  # noqa: BLE001 - exporters raise anything; what all of them said is raised below
            errors.append(error)
    reasons = "; ".join(str(e).strip().splitlines()[0][:200] for e in errors if str(e).strip())
    raise ExportError(reasons)


def _trace(part: nn.Module, example: Tensor, outputs: Sequence[str]) -> Any:
    import onnx

    out = io.BytesIO()
    axes = {name: {0: "n"} for name in (INPUT, *outputs)}
    torch.onnx.export(
        part,
        (example,),
        out,  # type: ignore[arg-type]  # streams are taken
        dynamo=False,
        input_names=[INPUT],
        output_names=list(outputs),
        dynamic_axes=axes,
        do_constant_folding=False,
        opset_version=OPSET,
    )
    return onnx.load_from_string(out.getvalue())


def _dynamo(part: nn.Module, example: Tensor, outputs: Sequence[str]) -> Any:
    program = torch.onnx.export(
        part,
        (example,),
        dynamo=True,
        input_names=[INPUT],
        output_names=list(outputs),
        dynamic_shapes=({0: torch.export.Dim("n")},),
        opset_version=OPSET,
        verbose=False,
    )
    assert program is not None
    return program.model_proto


@contextlib.contextmanager
def quiet() -> Any:
    """The exporter prints and warns about matters no user can mend."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _no_descriptor_output():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _no_descriptor_output() -> Any:
    """The exporter's C++ half prints a network that it fails on, past `sys.stdout`."""
    try:
        kept = os.dup(STDOUT)
    except OSError:  # closed: nothing to keep clean
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, STDOUT)
        yield
    finally:
        os.dup2(kept, STDOUT)
        os.close(kept)
        os.close(nowhere)


def strip(model: Any) -> bytes:
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


def with_notes(onnx: bytes, notes: Mapping[str, Any]) -> bytes:
    """The model with `notes`, each as JSON, in its metadata: what a program needs that has the model alone."""
    import onnx as onnx_library

    model = onnx_library.load_from_string(onnx)
    onnx_library.helper.set_model_props(model, {key: json.dumps(v, ensure_ascii=False) for key, v in notes.items()})
    return bytes(model.SerializeToString(deterministic=True))


@dataclass(frozen=True)
class Parity:
    """ONNX against torch on real pictures.

    `f32_difference`: largest difference of a float32 output, relative to its largest absolute value. `agreement`:
    share of decisions at `precision` that are float32's, near ties (closer than `recheck_margin`) looked at again.
    `rechecked`: share of those. `least`: the agreement from which that precision is used.
    """

    pictures: int
    f32_difference: float
    precision: str
    agreement: float
    recheck_margin: float
    rechecked: float
    least: float = OnLogits.least_alike

    @property
    def holds(self) -> bool:
        """Whether the default precision may be used."""
        return self.agreement >= self.least

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def check_parity(
    network: BaseNetwork, onnx: bytes, pictures: NDArray[np.uint8], precision: str, task: Task, facts: TaskFacts
) -> Parity:
    """Compare the exported model with the torch network, and the task's decisions at `precision` with float32's.

    Pictures uint8 [N, H, W, 3]; torch, being slow, sees the first `TORCH_PICTURES`. Raises FieldmarkError when ONNX
    and torch disagree: such a model must not leave the workshop.
    """
    exact, fast = (compile_engine(onnx, p) for p in ("f32", precision))
    few = pictures[:TORCH_PICTURES]
    expected = network_outputs(network, few, task.outputs)
    values = sum(found[0].size for found in expected.values() if len(found))
    pictures = pictures[: max(TORCH_PICTURES, MOST_COMPARED // max(1, values))]
    exactly, fastly = (_outputs(engine, pictures, task.outputs) for engine in (exact, fast))
    answered = {name: exactly[name][: len(few)] for name in task.outputs}
    difference = (_differences if network.ordered else _row_difference)(answered, expected)
    if difference > MAX_F32_DIFFERENCE:
        raise FieldmarkError(f"ONNX and torch disagree by {difference:.1e} of the largest output; please report this")
    if not len(pictures):
        return Parity(0, difference, fast.precision, 1.0, 0.0, 0.0, task.least_alike)
    alike = task.alike(exactly, fastly, facts)
    margin, close = 0.0, np.zeros(len(pictures), bool)
    if isinstance(task, OnLogits):
        exact_gaps, gaps = (task.margins(outputs["logits"], facts) for outputs in (exactly, fastly))
        noise = float(np.sqrt(np.mean((gaps - exact_gaps) ** 2)))
        margin = max(RECHECK_NOISE * noise, 1.1 * float(gaps[alike < 1].max(initial=0.0)))
        close = gaps < margin
    agreement = float(np.where(close, 1.0, alike).mean())
    rechecked = float(close.mean())
    return Parity(len(pictures), difference, fast.precision, agreement, margin, rechecked, task.least_alike)


def _differences(found: Outputs, expected: Outputs) -> float:
    """The largest of all outputs."""
    return max(_difference(found[name], expected[name]) for name in expected)


def _row_difference(found: Outputs, expected: Outputs) -> float:
    """Of outputs [N, M, ...] whose M rows stand in any order: how far each row is from the nearest one found, but for
    the `CHANGED_ROWS` that near ties may change."""
    scale = [max(1.0, float(np.abs(values).max(initial=0.0))) for values in expected.values()]
    far = []
    for i in range(len(next(iter(expected.values())))):
        have, want = (
            np.concatenate([outputs[name][i] / s for name, s in zip(expected, scale, strict=True)], 1)
            for outputs in (found, expected)
        )
        far += [float(np.abs(have - row).max(1).min()) for row in want]
    return float(np.quantile(far, 1 - CHANGED_ROWS)) if far else 0.0


def _difference(found: NDArray[np.floating], expected: NDArray[np.floating]) -> float:
    """The largest, relative to the largest absolute value."""
    return float(np.abs(found - expected).max(initial=0.0)) / max(1.0, float(np.abs(expected).max(initial=0.0)))


def network_logits(network: BaseNetwork, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The torch network's logits [N, L] in float32."""
    return np.asarray(network_outputs(network, pictures, ("logits",))["logits"])


def network_outputs(network: BaseNetwork, pictures: NDArray[np.uint8], names: Sequence[str]) -> Outputs:
    """The torch network's outputs [N, ...] of these names in float32."""
    with torch.inference_mode():
        found = dict(zip(network.outputs, network.eval()(torch.from_numpy(pictures)), strict=True))
    return {name: found[name].numpy() for name in names}


def _outputs(engine: Engine, pictures: NDArray[np.uint8], names: Sequence[str]) -> Outputs:
    return collect([seen.outputs for seen in stream(engine, pictures, lambda picture: picture, names)])
