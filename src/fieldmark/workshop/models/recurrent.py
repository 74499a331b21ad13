"""Recurrent networks over sequences: of characters, and of numbers. docs/sequences.md has the equations.

S steps, N sequences, L layers, H hidden units, E embedding dimensions, V codes, C columns, F inputs.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CELLS: Mapping[str, Callable[[int, int], nn.RNNBase]] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
STATES = {"lstm": ("h", "c"), "gru": ("h",), "rnn": ("h",)}  # what a cell carries from step to step
FORGET_BIAS = 1.0  # of an LSTM at the beginning: remember (Jozefowicz et al. 2015)
UNUSED_BIAS = -20.0  # of the logit of a code that the text does not have
States = tuple[Tensor, ...]  # each [L, N, H]


class Recurrent(nn.Module):
    """Layers of one cell: what it reads, and what its subclasses make of it, is theirs.

    `carried_*` [L, N, H] are the states that training carries from window to window; they belong to no weights file.
    """

    def __init__(self, cell: str, inputs: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.cell, self.hidden = cell, hidden
        self.layers = nn.ModuleList([CELLS[cell](inputs if i == 0 else hidden, hidden) for i in range(layers)])
        if cell == "lstm":
            for name, bias in self.layers.named_parameters():
                if "bias" in name:
                    nn.init.constant_(bias[hidden : 2 * hidden], FORGET_BIAS if "bias_ih" in name else 0.0)

    @property
    def widths(self) -> list[int]:
        """Of each layer's input, and of the outputs."""
        raise NotImplementedError

    @property
    def states(self) -> tuple[str, ...]:
        """The names of the states."""
        return STATES[self.cell]

    def begin(self, n: int) -> States:
        """The states before anything is read, for `n` sequences: zeros."""
        zeros = torch.zeros(len(self.layers), n, self.hidden, device=next(self.parameters()).device)
        return tuple(zeros.clone() for _ in self.states)

    def carry(self, n: int) -> None:
        """Keep the states of `n` sequences beside the weights from now on."""
        for name, state in zip(self.states, self.begin(n), strict=True):
            self.register_buffer(f"carried_{name}", state, persistent=False)

    @property
    def carried(self) -> States:
        """The states that are carried, to be read and written."""
        return tuple(self.get_buffer(f"carried_{name}") for name in self.states)

    def run(self, x: Tensor, states: States, masks: Sequence[Tensor] = ()) -> tuple[Tensor, States]:
        """The last layer's outputs [S, N, H] for inputs [S, N, F], and the states after them. `masks`: what each
        layer's input, and the outputs, are multiplied by, [1, N, ...], one more than there are layers."""
        after: list[tuple[Tensor, ...]] = []
        for i, layer in enumerate(self.layers):
            own = tuple(state[i : i + 1] for state in states)
            x, new = layer(x * masks[i] if masks else x, own if len(own) > 1 else own[0])
            after.append(new if len(own) > 1 else (new,))
        return (x * masks[-1] if masks else x), tuple(torch.cat(s) for s in zip(*after, strict=True))


class CharRNN(Recurrent):
    """Which code comes next, at every position: an embedding, recurrent layers, a linear head.

    `used`: the codes that the text has. In training the head gives their logits alone, in this order; otherwise those
    of all codes, of which the others are improbable from the beginning.
    """

    used: Tensor

    def __init__(
        self,
        codes: int,
        cell: str = "lstm",
        embedding: int = 128,
        hidden: int = 512,
        layers: int = 1,
        tie: bool = False,
        used: Sequence[int] = (),
    ) -> None:
        super().__init__(cell, embedding, hidden, layers)
        self.register_buffer("used", torch.tensor(list(used) or range(codes)), persistent=False)
        self.embedding = nn.Embedding(codes, embedding)
        self.project = nn.Linear(hidden, embedding, bias=False) if tie and hidden != embedding else nn.Identity()
        self.weight = None if tie else nn.Parameter(torch.empty(codes, hidden))
        self.bias = nn.Parameter(torch.full((codes,), UNUSED_BIAS).index_fill(0, self.used, 0.0))
        nn.init.normal_(self.embedding.weight, std=1 / math.sqrt(embedding))
        if self.weight is not None:
            nn.init.uniform_(self.weight, -1 / math.sqrt(hidden), 1 / math.sqrt(hidden))

    @property
    def widths(self) -> list[int]:
        return [self.embedding.embedding_dim, *[self.hidden] * len(self.layers)]

    def forward(self, codes: Tensor, *states: Tensor, masks: Sequence[Tensor] = ()) -> tuple[Tensor, ...]:
        """Logits [S, N, V], in training those of `used` alone, of the code after each of codes [S, N], and the states
        after all."""
        found, after = self.run(self.embedding(codes), states, masks)
        weight: Tensor = self.embedding.weight if self.weight is None else self.weight
        bias: Tensor = self.bias
        if self.training and len(self.used) < len(bias):
            weight, bias = weight[self.used], bias[self.used]
        return F.linear(self.project(found), weight, bias), *after


class SeriesRNN(Recurrent):
    """By how many steps each column changes next: a linear reading of the inputs, and of recurrent layers on them. The
    layers' reading begins with zeros, so that it begins as the linear forecast."""

    def __init__(self, columns: int, inputs: int, cell: str = "lstm", hidden: int = 64, layers: int = 1) -> None:
        super().__init__(cell, inputs, hidden, layers)
        self.weight = nn.Parameter(torch.zeros(columns, hidden))
        self.direct = nn.Parameter(torch.zeros(columns, inputs))
        self.bias = nn.Parameter(torch.zeros(columns))

    @property
    def widths(self) -> list[int]:
        return [self.direct.shape[1], *[self.hidden] * len(self.layers)]

    def forward(self, inputs: Tensor, *states: Tensor, masks: Sequence[Tensor] = ()) -> tuple[Tensor, ...]:
        """Changes [S, N, C] after each of inputs [S, N, F], and the states after all."""
        found, after = self.run(inputs, states, masks)
        return F.linear(found, self.weight, self.bias) + F.linear(inputs, self.direct), *after


def sizes(network: Recurrent) -> dict[str, Any]:
    """What a bundle records of a network."""
    return {
        "cell": network.cell,
        "layers": len(network.layers),
        "hidden": network.hidden,
        "parameters": sum(p.numel() for p in network.parameters()),
    }
