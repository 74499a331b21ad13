"""Where training runs: the CPU with its inference engine, or a CUDA device with torch under autocast."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from fieldmark.errors import UsageError
from fieldmark.field.runtime.engine import Arrays
from fieldmark.workshop.models.network import OUTPUTS, Network

DEVICES = ("auto", "cpu", "cuda")


def choose_device(name: str) -> torch.device:
    """The device of this name; "auto" is CUDA where there is one. UsageError when it is not there."""
    if name not in DEVICES:
        raise UsageError(f"unknown device {name!r}; use auto, cpu or cuda")
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise UsageError("no CUDA device was found; use --device cpu")
    return torch.device("cuda" if there and name != "cpu" else "cpu")


class TorchEngine:
    """The network itself as an Engine, for CUDA: bfloat16 autocast, channels-last, larger micro-batches."""

    name = "torch"
    micro_batch = 64

    def __init__(self, network: Network, device: torch.device) -> None:
        self.device = device
        self.precision = "bf16" if device.type == "cuda" else "f32"
        self._network = network.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run(self, pictures: NDArray[np.uint8], outputs: Sequence[str]) -> Arrays:
        batch = torch.from_numpy(pictures).to(self.device, non_blocking=True)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, self.device.type == "cuda"):
            found = dict(zip(OUTPUTS, self._network(batch), strict=True))
        return {name: found[name].float().cpu().numpy() for name in outputs}
