"""A recurrent network as ONNX: a block of steps, its states going in and coming out.

S steps, N sequences, L layers, H hidden units, V codes.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fieldmark.errors import FieldmarkError
from fieldmark.field.runtime import compile_engine
from fieldmark.field.runtime.carried import NEXT
from fieldmark.workshop.export.onnx import MAX_F32_DIFFERENCE, OPSET, quiet, strip
from fieldmark.workshop.models.recurrent import Recurrent

MOST_COST = 0.002  # of the score's unit (nats, steps), that a faster precision may cost
BLOCKS = 2  # that parity is checked on, the second with what the first carried


def export_steps(network: Recurrent, example: Tensor, names: tuple[str, str]) -> bytes:
    """The network as an ONNX model. `example` [S, N, ...] is an input; `names` are the input's and the output's. States
    go in under their names and come out as `NAME_next`; any S and N. Raises FieldmarkError when it cannot be."""
    import onnx

    states = network.states
    inputs, outputs = [names[0], *states], [names[1], *(name + NEXT for name in states)]
    axes = {name: {0: "steps", 1: "n"} for name in names} | {
        name: {1: "n"} for name in (*states, *(name + NEXT for name in states))
    }
    out = io.BytesIO()
    try:
        with quiet(), torch.no_grad():
            torch.onnx.export(
                _Steps(network.eval()),
                (example, *network.begin(example.shape[1])),
                out,  # type: ignore[arg-type]  # streams are taken
                dynamo=False,
                input_names=inputs,
                output_names=outputs,
                dynamic_axes=axes,
                opset_version=OPSET,
            )
    except Exception as error:
        raise FieldmarkError(
            f"the network cannot be exported to ONNX ({str(error)[:200]}); please report this"
        ) from error
    return strip(onnx.load_from_string(out.getvalue()))


class _Steps(nn.Module):
    """A network whose forward has no more than the inputs of the model: the exporter would add defaults to them."""

    def __init__(self, network: Recurrent) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        found: tuple[Tensor, ...] = self.network(inputs, *states)
        return found


@dataclass(frozen=True)
class StepParity:
    """ONNX against torch on real sequences. `f32_difference`: largest difference of outputs, relative to their largest
    absolute value, states carried; `cost`: what the mean score loses at `precision`."""

    positions: int
    f32_difference: float
    precision: str
    cost: float

    @property
    def holds(self) -> bool:
        """Whether the default precision may be used."""
        return abs(self.cost) <= MOST_COST

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def check_steps(
    network: Recurrent,
    onnx: bytes,
    inputs: NDArray[Any],
    score: Any,
    names: tuple[str, str],
    precision: str = "auto",
) -> StepParity:
    """Compare the exported model with the torch network, and its default precision with float32.

    `inputs` [S, N, ...] are read in `BLOCKS` blocks with what is carried between them; `score(outputs)` is the mean
    score of outputs [S, N, ...]. Raises FieldmarkError when ONNX and torch disagree: such a model must not leave the
    workshop.
    """
    blocks = np.array_split(inputs, BLOCKS)
    expected = _in_torch(network, blocks)
    exact, fast = (_in_engine(onnx, p, network, blocks, names) for p in ("f32", precision))
    difference = float(np.abs(exact - expected).max()) / max(1.0, float(np.abs(expected).max()))
    if difference > MAX_F32_DIFFERENCE:
        raise FieldmarkError(f"ONNX and torch disagree by {difference:.1e} of the largest output; please report this")
    used = compile_engine(onnx, precision).precision
    return StepParity(int(np.prod(inputs.shape[:2])), difference, used, float(score(fast) - score(exact)))


def _in_torch(network: Recurrent, blocks: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
    states, found = network.eval().begin(blocks[0].shape[1]), []
    with torch.inference_mode():
        for block in blocks:
            outputs, *after = network(torch.from_numpy(block), *states)
            states = tuple(after)
            found.append(outputs.numpy())
    return np.concatenate(found)


def _in_engine(
    onnx: bytes, precision: str, network: Recurrent, blocks: Sequence[NDArray[Any]], names: tuple[str, str]
) -> NDArray[np.float32]:
    engine = compile_engine(onnx, precision)
    n = blocks[0].shape[1]
    states: Mapping[str, NDArray[np.float32]] = {
        name: state.numpy() for name, state in zip(network.states, network.begin(n), strict=True)
    }
    found = []
    for block in blocks:
        got = engine.run({names[0]: block, **states}, (names[1], *(name + NEXT for name in states)))
        states = {name: got[name + NEXT] for name in states}
        found.append(got[names[1]])
    return np.concatenate(found)
