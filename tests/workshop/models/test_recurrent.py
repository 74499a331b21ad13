"""Recurrent networks: one step of each cell by hand from its weights, states, the trick of masks, sizes."""

import numpy as np
import pytest
import torch

from fieldmark.workshop.models.recurrent import CELLS, FORGET_BIAS, STATES, CharRNN, SeriesRNN, sizes

HIDDEN, EMBEDDING, CODES = 5, 3, 7


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def by_hand(cell: str, w: dict[str, np.ndarray], x: np.ndarray, states: list[np.ndarray]) -> list[np.ndarray]:
    """One step of one layer, as docs/sequences.md has it: the new states, h first."""
    h = states[0]
    a = x @ w["weight_ih_l0"].T + w["bias_ih_l0"]
    b = h @ w["weight_hh_l0"].T + w["bias_hh_l0"]
    if cell == "rnn":
        return [np.tanh(a + b)]
    if cell == "gru":
        (ar, az, an), (br, bz, bn) = np.split(a, 3, -1), np.split(b, 3, -1)
        r, z = sigmoid(ar + br), sigmoid(az + bz)
        n = np.tanh(an + r * bn)
        return [(1 - z) * n + z * h]
    i, f, g, o = np.split(a + b, 4, -1)
    c = sigmoid(f) * states[1] + sigmoid(i) * np.tanh(g)
    return [sigmoid(o) * np.tanh(c), c]


def weights(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: p.detach().double().numpy() for name, p in module.named_parameters()}


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_one_step_of_each_cell_is_what_its_equations_say(cell, layers):
    torch.manual_seed(0)
    network = CharRNN(CODES, cell, EMBEDDING, HIDDEN, layers)
    states = [torch.randn(layers, 2, HIDDEN) for _ in STATES[cell]]
    codes = torch.tensor([[3, 6]])
    logits, *after = network(codes, *states)
    x = weights(network)["embedding.weight"][[3, 6]]
    for i, layer in enumerate(network.layers):
        expected = by_hand(cell, weights(layer), x, [s[i].double().numpy() for s in states])
        for found, value in zip(after, expected, strict=True):
            np.testing.assert_allclose(found[i].detach().numpy(), value, atol=1e-5)
        x = expected[0]
    own = weights(network)
    np.testing.assert_allclose(logits[0].detach().numpy(), x @ own["weight"].T + own["bias"], atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_two_windows_with_what_is_carried_are_one(cell):
    network = CharRNN(CODES, cell, EMBEDDING, HIDDEN, 2).eval()
    codes = torch.randint(0, CODES, (9, 3), generator=torch.Generator().manual_seed(0))
    whole, *end = network(codes, *network.begin(3))
    first, *carried = network(codes[:4], *network.begin(3))
    second, *after = network(codes[4:], *carried)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(after, end)


def test_a_tied_head_reads_with_the_embedding_and_saves_its_weights():
    tied, free = (CharRNN(CODES, "lstm", EMBEDDING, HIDDEN, 1, tie=t) for t in (True, False))
    logits, h, _ = tied(torch.tensor([[1]]), *tied.begin(1))
    expected = (h[0, 0] @ tied.project.weight.T) @ tied.embedding.weight.T + tied.bias
    torch.testing.assert_close(logits[0, 0], expected)
    assert sizes(tied)["parameters"] < sizes(free)["parameters"]
    assert len(tied.state_dict()) == len({t.data_ptr() for t in tied.state_dict().values()})


def test_masks_multiply_the_inputs_of_layers_and_the_outputs_all_steps_alike():
    network = CharRNN(CODES, "rnn", EMBEDDING, HIDDEN, 1).eval()
    codes = torch.tensor([[1], [2]])
    masks = [torch.ones(1, 1, EMBEDDING), torch.zeros(1, 1, HIDDEN)]
    logits, _ = network(codes, *network.begin(1), masks=masks)
    torch.testing.assert_close(logits, network.bias.expand(2, 1, CODES))
    assert network.widths == [EMBEDDING, HIDDEN]


def test_what_is_carried_is_no_weight_but_is_there_to_be_kept():
    network = CharRNN(CODES, "lstm", EMBEDDING, HIDDEN, 2)
    network.carry(4)
    assert [tuple(s.shape) for s in network.carried] == [(2, 4, HIDDEN)] * 2
    assert not [name for name in network.state_dict() if "carried" in name]
    assert {"carried_h", "carried_c"} <= {name for name, _ in network.named_buffers()}


def test_an_lstm_begins_by_remembering():
    network = CharRNN(CODES, "lstm", EMBEDDING, HIDDEN, 2)
    for layer in network.layers:
        both = (layer.bias_ih_l0 + layer.bias_hh_l0)[HIDDEN : 2 * HIDDEN]
        assert both.tolist() == [FORGET_BIAS] * HIDDEN


def test_a_series_network_begins_as_its_linear_forecast():
    network = SeriesRNN(2, 8, "gru", HIDDEN, 1)
    with torch.no_grad():
        network.direct.normal_()
    inputs = torch.randn(4, 3, 8)
    changes, h = network(inputs, *network.begin(3))
    torch.testing.assert_close(changes, inputs @ network.direct.T)
    assert h.shape == (1, 3, HIDDEN)
    assert network.widths == [8, HIDDEN]


def test_in_training_the_head_gives_the_codes_that_the_text_has_and_they_are_the_same():
    network = CharRNN(CODES, "lstm", EMBEDDING, HIDDEN, 1, used=(1, 4))
    codes = torch.tensor([[1], [4]])
    whole, *_ = network.eval()(codes, *network.begin(1))
    some, *_ = network.train()(codes, *network.begin(1))
    torch.testing.assert_close(some, whole[..., [1, 4]])
    assert whole.softmax(-1)[..., [1, 4]].sum(-1).min().item() > 0.999
    assert "used" not in network.state_dict()
