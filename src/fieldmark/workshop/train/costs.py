"""What things cost on this machine: seconds a picture, measured on the network itself.

`forward` means torch's forward pass with the precision of training.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx
from torch.utils.flop_counter import FlopCounterMode

from fieldmark.workshop.models import BaseNetwork
from fieldmark.workshop.models.classic import SMALL
from fieldmark.workshop.models.cut import PICTURES, Cuttable

BACKWARD = 2.2  # times the forward pass, of the blocks that learn
PREFIX_SAVES = 0.7  # of the engine's time for the blocks that are left out; reading stays
READING = 0.2  # of the engine's time for a picture
PROFILE_PICTURES, PROFILE_SMALL = 8, 128  # the latter of small ones, whose time is more than that of calls


@dataclass(frozen=True)
class Costs:
    """`engine`: of one picture through reading and engine; `whole`: forward through the network; `after`: forward
    from each place where it may be cut; `row_bytes`: of one row there; `work_after`: the share of multiplications
    after it, which unlike seconds are the same whenever they are measured; `area`: of an augmented view, as a share of
    the plain picture's; `fresh`: of a view's time, what a step of the whole network pays for, none where pictures are
    kept decoded."""

    engine: float
    whole: float
    after: dict[str, float] = field(default_factory=dict)
    row_bytes: dict[str, int] = field(default_factory=dict)
    work_after: dict[str, float] = field(default_factory=dict)
    area: float = 1.0
    fresh: float = 0.5

    def train(self, cut: str) -> float:
        """Of one augmented view in a training step of the tail after this cut."""
        if cut == PICTURES:
            return self.area * (1 + BACKWARD) * self.whole + self.fresh * self.view()
        return self.area * (1 + BACKWARD) * self.after[cut]

    def view(self) -> float:
        """Of one augmented view through reading and engine."""
        return self.engine * (READING + (1 - READING) * self.area)

    def row(self, cut: str) -> float:
        """Of one augmented view's row at this cut: reading, and the prefix in the engine."""
        return self.view() * (1 - PREFIX_SAVES * self.after[cut] / self.whole)


def profile(
    cuttable: Cuttable, size_wh: tuple[int, int], engine: float, autocast: bool, network: BaseNetwork | None = None
) -> Costs:
    """Time every block in torch on the CPU, twice, and count its multiplications, and what reads the features where
    that is costly: in `network`; `engine` is passed through."""
    count = PROFILE_SMALL if max(size_wh) <= SMALL else PROFILE_PICTURES
    x = torch.randn(count, 3, size_wh[1], size_wh[0]).to(memory_format=torch.channels_last)
    runner = _Clock(fx.GraphModule(cuttable.root, cuttable.graph))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, autocast):
        runner.run(x)  # the first time sets up
        features = runner.run(x)
        seconds = {node: s / count for node, s in runner.seconds.items()}
        with FlopCounterMode(display=False) as runner.counter:
            few = runner.run(x[:1])
        head_s, head_work = (0.0, 0) if network is None or network.exact else _head(network, features, few)
    whole, work = head_s + sum(seconds.values()), max(1, head_work + sum(runner.work.values()))
    order = list(cuttable.graph.nodes)
    found = Costs(engine, max(whole, 1e-6))
    for name, node in zip(cuttable.names, cuttable.nodes, strict=True):
        later = order[order.index(node) + 1 :]
        found.after[name] = max(1e-7, head_s + sum(seconds[n] for n in later))
        found.work_after[name] = (head_work + sum(runner.work[n] for n in later)) / work
        found.row_bytes[name] = runner.bytes[node]
    return found


def _head(network: BaseNetwork, features: Any, few: Any) -> tuple[float, int]:
    """Seconds a picture of what reads the features, and the multiplications for one."""
    features = [level[:PROFILE_PICTURES] for level in features]
    network.read(features)
    began = time.perf_counter()
    network.read(features)
    seconds = (time.perf_counter() - began) / PROFILE_PICTURES
    with FlopCounterMode(display=False) as counter:
        network.read(few)
    return seconds, counter.get_total_flops()


class _Clock(fx.Interpreter):
    """Runs a graph and notes of each node the seconds, the bytes of its value in 16 bits a picture, and, with a
    counter, the multiplications."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.seconds: dict[fx.Node, float] = {}
        self.bytes: dict[fx.Node, int] = {}
        self.work: dict[fx.Node, int] = {}
        self.counter: FlopCounterMode | None = None

    def run_node(self, n: fx.Node) -> Any:
        counted = self.counter.get_total_flops() if self.counter is not None else 0
        began = time.perf_counter()
        value = super().run_node(n)
        self.seconds[n] = time.perf_counter() - began
        if self.counter is not None:
            self.work[n] = self.counter.get_total_flops() - counted
        if isinstance(value, torch.Tensor):
            self.bytes[n] = 2 * value.numel() // len(value)
        return value
