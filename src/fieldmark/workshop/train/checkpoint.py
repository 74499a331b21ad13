"""Where a stage stands, on disk: one safetensors file, written atomically; nothing is pickled."""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fieldmark.errors import FieldmarkError, UsageError
from fieldmark.files import atomic_file, is_file

FACTS, CHECK = "fieldmark", "crc32"


@dataclass
class State:
    """Groups of named tensors, and facts that are JSON."""

    tensors: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


def save(path: Path, state: State) -> None:
    """Write `state` to `path`, all or nothing."""
    from safetensors.torch import save as to_bytes

    flat = {
        f"{group}/{name}": t.detach().cpu().contiguous()
        for group, ts in state.tensors.items()
        for name, t in ts.items()
    }
    facts = json.dumps(state.facts)
    data = to_bytes(flat, metadata={FACTS: facts, CHECK: _checksum(flat, facts)})
    with atomic_file(path) as partial:
        partial.write_bytes(data)


def load(path: Path) -> State | None:
    """The state in `path`; None when there is none. UsageError when it is damaged."""
    if not is_file(path):
        return None
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            notes = file.metadata()
            flat = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
        if notes[CHECK] != _checksum(flat, notes[FACTS]):
            raise ValueError("its checksum differs")
        state = State(facts=json.loads(notes[FACTS]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise damaged(path, error) from error
    for key, tensor in flat.items():
        group, _, name = key.partition("/")
        state.tensors.setdefault(group, {})[name] = tensor
    return state


def damaged(path: Path, error: Exception) -> UsageError:
    """The error for a checkpoint that cannot be gone on from."""
    return UsageError(f"the checkpoint {path} is damaged ({str(error)[:200]}); delete it to begin its stage anew")


def _checksum(tensors: Mapping[str, Tensor], facts: str) -> str:
    """CRC-32 of the facts and of all tensors, in order of name."""
    check = zlib.crc32(facts.encode())
    for name in sorted(tensors):
        check = zlib.crc32(bytes(tensors[name].reshape(-1).view(torch.uint8).numpy()), zlib.crc32(name.encode(), check))
    return f"{check:08x}"


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's tensors by parameter number and name."""
    state = optimiser.state_dict()["state"]
    return {f"{number}.{name}": torch.as_tensor(v) for number, values in state.items() for name, v in values.items()}


def put_optimiser_tensors(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Set the optimiser's tensors to those of `optimiser_tensors`. FieldmarkError when they are of other parameters."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = value
    there = optimiser.state_dict()
    if len(state) > sum(len(group["params"]) for group in there["param_groups"]):
        raise FieldmarkError("the checkpoint is of another network")
    optimiser.load_state_dict({"state": state, "param_groups": there["param_groups"]})
