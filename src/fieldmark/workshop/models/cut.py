"""A network cut in two: a prefix that stays frozen, whose outputs can be kept, and a tail that learns.

Works on any backbone that torch.fx can trace block by block: where all later computation goes through one tensor, the
network may be cut. Prefix and tail share their modules with the network, so that what the tail learns is in it.

N pictures; rows [N, ...] are what passes through the cut.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from fieldmark.workshop.models.network import BaseNetwork

PICTURES = "pictures"  # the cut before everything: the whole network learns
CONTAINERS = (nn.Sequential,)


class _BlockTracer(fx.Tracer):
    """Traces into containers only: a block is one step."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self._body = body

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return m is not self._body and type(m) not in CONTAINERS


@dataclass(frozen=True)
class Cuttable:
    """A traced backbone: `names` are the places after which it may be cut, from the picture to the head."""

    root: nn.Module
    graph: fx.Graph
    nodes: tuple[fx.Node, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(_name(node) for node in self.nodes)


def trace(network: BaseNetwork) -> Cuttable:
    """The places where this network may be cut; none for a backbone that cannot be traced."""
    root = network.trunk()
    try:
        graph = _BlockTracer(network.backbone.body).trace(root)
    except Exception:  # noqa: BLE001 - tracing raises whatever the backbone's own code makes of a proxy
        return Cuttable(root, fx.Graph(), ())
    return Cuttable(root, graph, tuple(_bottlenecks(graph)))


def _name(node: fx.Node) -> str:
    return str(node.target).removeprefix("body.")


def _bottlenecks(graph: fx.Graph) -> list[fx.Node]:
    """Blocks that give one tensor, after which nothing earlier is used any more, parameters apart."""
    nodes = list(graph.nodes)
    place = {node: i for i, node in enumerate(nodes)}
    last_use = [max((place[user] for user in node.users), default=i) for i, node in enumerate(nodes)]
    found, reach = [], 0
    for i, node in enumerate(nodes):
        several = any(user.target is operator.getitem for user in node.users)
        if node.op == "call_module" and reach <= i and not several:
            found.append(node)
        if node.op != "get_attr":
            reach = max(reach, last_use[i])
    return found


def split(network: BaseNetwork, cuttable: Cuttable, name: str) -> tuple["Prefix", "Tail"]:
    """Prefix (pictures to rows) and tail (rows to logits) of a network cut after the block `name`, or at `PICTURES`."""
    if name == PICTURES:
        return Prefix(network, None), Tail(network, None)
    cut = cuttable.nodes[cuttable.names.index(name)]
    before, after = fx.Graph(), fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    rest: dict[fx.Node, fx.Node] = {}
    passed = False
    for node in cuttable.graph.nodes:
        if not passed:
            copied[node] = before.node_copy(node, copied.__getitem__)
            passed = node is cut
            if passed:
                before.output(copied[node])
                rest[node] = after.placeholder("rows")
        else:
            rest[node] = after.node_copy(node, lambda old: _carried(old, rest, after))
    return Prefix(network, fx.GraphModule(cuttable.root, before)), Tail(network, fx.GraphModule(cuttable.root, after))


def _carried(node: fx.Node, rest: dict[fx.Node, fx.Node], after: fx.Graph) -> fx.Node:
    """The copy of an earlier node, a parameter, on this side of the cut."""
    if node not in rest:
        rest[node] = after.node_copy(node)
    return rest[node]


class Prefix(nn.Module):
    """Pictures uint8 [N, H, W, 3] to rows [N, ...] at the cut."""

    def __init__(self, network: BaseNetwork, part: nn.Module | None) -> None:
        super().__init__()
        self.network, self.part = network, part

    def forward(self, pictures: Tensor) -> Tensor:
        x = self.network.normalise(pictures)
        return x if self.part is None else self.part(x)


class Tail(nn.Module):
    """Rows [N, ...] (pictures where nothing is cut off) to the network's outputs, or with their truth to what the loss
    takes."""

    def __init__(self, network: BaseNetwork, part: nn.Module | None) -> None:
        super().__init__()
        self.network, self.part = network, part

    def forward(self, rows: Tensor, truth: Any = None) -> Sequence[Tensor]:
        if self.part is None:
            return self.network(rows, truth)  # type: ignore[no-any-return]
        features = self.part(rows)
        if not self.network.exact:
            return self.network.answer(features, truth)
        with torch.autocast(rows.device.type, enabled=False):
            return self.network.answer(features.float(), truth)

    @property
    def channels_last(self) -> bool:
        """Whether its rows are [N, H, W, C]: pictures, or those of a network that computes so."""
        return self.part is None or self.network.backbone.layout == "NHWC"

    def learning(self) -> list[list[tuple[str, nn.Parameter]]]:
        """The parameters of the tail without its head, a list for each block, from the picture to the head."""
        part = self.network.backbone.body if self.part is None else self.part
        seen: set[int] = set()
        layers = [list(part.named_parameters(recurse=False))]
        for child in part.children():
            layers += [list(block.named_parameters()) for block in _blocks(child)]
        for layer in layers:
            layer[:] = [(name, p) for name, p in layer if id(p) not in seen]
            seen |= {id(p) for _, p in layer}
        return [layer for layer in layers if layer]

    def head(self) -> list[nn.Parameter]:
        """The parameters of what reads the features."""
        return self.network.head_parameters()


def _blocks(part: nn.Module) -> list[nn.Module]:
    """The blocks of a module in order: its parts, containers opened."""
    if type(part) in (*CONTAINERS, nn.ModuleList, nn.Module):
        return [block for child in part.children() for block in _blocks(child)]
    return [part]


class Whole(nn.Module):
    """Pictures to the network's outputs and, last, the rows at the cut."""

    def __init__(self, prefix: Prefix, tail: Tail) -> None:
        super().__init__()
        self.prefix, self.tail = prefix, tail

    def forward(self, pictures: Tensor) -> Sequence[Tensor]:
        rows = self.prefix(pictures)
        return (*self.tail(rows), rows)


class Named(nn.Module):
    """A part with one output as one with named outputs."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, pictures: Tensor) -> tuple[Tensor]:
        return (self.part(pictures),)
