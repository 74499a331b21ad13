"""Where training runs: the CPU with its inference engine, or a CUDA device with torch under autocast."""

import ctypes
import sys
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fieldmark.errors import UsageError
from fieldmark.field.runtime.engine import Arrays

DEVICES = ("auto", "cpu", "cuda")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
LARGEST_KEPT_BYTES = 1 << 30


def choose_device(name: str) -> torch.device:
    """The device of this name; "auto" is CUDA where there is one. UsageError when it is not there."""
    if name not in DEVICES:
        raise UsageError(f"unknown device {name!r}; use auto, cpu or cuda")
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise UsageError("no CUDA device was found; use --device cpu")
    return torch.device("cuda" if there and name != "cpu" else "cpu")


def computes_bf16(device: torch.device) -> bool:
    """Whether training in bfloat16 is quicker on this device than in float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def keep_freed_memory() -> None:
    """Have the C library keep large blocks that are freed, since each step asks for the same ones again: a fifth of a
    step's time on CPU would go into new pages. Linux with glibc only; elsewhere nothing happens."""
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES)
        library.mallopt(M_TRIM_THRESHOLD, LARGEST_KEPT_BYTES)


def seed_step(device: torch.device, seed: int) -> None:
    """Seed what a step draws on this device; torch's own function for all of them keeps a stack trace of every call
    for each kind of device that is not there."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


class TorchEngine:
    """A part of a network as an Engine, for CUDA: bfloat16 autocast, channels-last, larger micro-batches."""

    name = "torch"
    micro_batch = 64

    def __init__(self, part: nn.Module, outputs: Sequence[str], device: torch.device) -> None:
        self.device, self.outputs = device, tuple(outputs)
        self.precision = "bf16" if device.type == "cuda" else "f32"
        self._part = part.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run(self, pictures: NDArray[np.uint8], outputs: Sequence[str]) -> Arrays:
        batch = torch.from_numpy(pictures).to(self.device, non_blocking=True)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, self.device.type == "cuda"):
            found = dict(zip(self.outputs, self._part(batch), strict=True))
        return {name: found[name].float().cpu().numpy() for name in outputs}
