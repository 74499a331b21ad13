"""Recurrent networks as ONNX: any number of steps and sequences, states in and out, parity, what must not leave."""

import numpy as np
import pytest
import torch

from fieldmark.errors import FieldmarkError
from fieldmark.field.runtime.engine import ENGINES, compile_engine
from fieldmark.workshop.export.onnx import set_weights
from fieldmark.workshop.export.sequence import check_steps, export_steps
from fieldmark.workshop.models.recurrent import CELLS, CharRNN

NAMES = ("codes", "logits")


def network(cell="lstm", layers=2):
    torch.manual_seed(1)
    return CharRNN(260, cell, 4, 6, layers).eval()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("cell", CELLS)
def test_an_engine_carries_states_from_call_to_call_as_torch_does(cell, engine):
    if engine == "onnxruntime":
        pytest.importorskip("onnxruntime")
    made = network(cell)
    onnx = export_steps(made, torch.zeros(3, 2, dtype=torch.long), NAMES)
    compiled = compile_engine(onnx, "f32", 1, engine)
    for steps, n in ((1, 1), (5, 3)):
        codes = np.random.default_rng(n).integers(0, 260, (2 * steps, n))
        states = {name: s.numpy() for name, s in zip(made.states, made.begin(n), strict=True)}
        expected, *_ = made(torch.from_numpy(codes), *made.begin(n))
        rows = []
        for block in np.split(codes, 2):
            got = compiled.run({"codes": block, **states}, ("logits", *(f"{s}_next" for s in states)))
            states = {name: got[f"{name}_next"] for name in states}
            rows.append(got["logits"])
        np.testing.assert_allclose(np.concatenate(rows), expected.detach().numpy(), atol=1e-4)


def test_the_same_network_gives_the_same_bytes():
    example = torch.zeros(3, 2, dtype=torch.long)
    assert export_steps(network(), example, NAMES) == export_steps(network(), example, NAMES)


def test_parity_is_measured_and_a_model_that_disagrees_does_not_leave():
    made = network(layers=1)
    inputs = np.random.default_rng(0).integers(0, 260, (8, 4))
    onnx = export_steps(made, torch.from_numpy(inputs), NAMES)
    parity = check_steps(made, onnx, inputs, lambda found: float(found.mean()), NAMES)
    assert parity.positions == 32
    assert parity.f32_difference < 1e-4
    assert parity.holds
    assert parity.to_json()["precision"] in ("f32", "bf16")
    wrong = set_weights(onnx, {"network.embedding.weight": np.ones((260, 4), np.float32)})
    with pytest.raises(FieldmarkError, match="disagree"):
        check_steps(made, wrong, inputs, lambda found: 0.0, NAMES)
