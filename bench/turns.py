"""Two ways to do the same, by turns: pictures a second and core-milliseconds a picture; and how the usual torch path
reads pictures."""

import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def core_seconds() -> float:
    """Seconds of all cores that this process and its finished workers have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def by_turns(ways: Mapping[str, Callable[[], Any]], pictures: int, rounds: int) -> tuple[dict[str, Any], list[Any]]:
    """What the first of two ways gains over the second, by medians over the rounds, and the last answer of each."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    cores: dict[str, list[float]] = {name: [] for name in ways}
    answers: dict[str, Any] = {}
    for _ in range(rounds):
        for name, work in ways.items():
            begun, used = time.perf_counter(), core_seconds()
            answers[name] = work()
            rates[name].append(round(pictures / (time.perf_counter() - begun), 1))
            cores[name].append(round(1000 * (core_seconds() - used) / pictures, 1))
    ours, other = ways
    core_ms = {name: statistics.median(values) for name, values in cores.items()}
    facts = {
        "pictures_a_second": rates,
        "times": round(statistics.median(rates[ours]) / statistics.median(rates[other]), 2),
        "core_ms": core_ms,
        "times_by_cores": round(core_ms[other] / core_ms[ours], 2),
    }
    return facts, [answers[name] for name in ways]


def batches(paths: Sequence[Path], fitted: Callable[[Image.Image], Image.Image], size: int) -> Any:
    """A DataLoader of two workers: uint8 [N, H, W, 3] of pictures that `fitted` made the input's size, and their own
    sizes, (height, width) each."""
    import torch
    from torch.utils.data import DataLoader, Dataset

    class Pictures(Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, i: int) -> tuple[torch.Tensor, tuple[int, int]]:
            picture = Image.open(paths[i]).convert("RGB")
            return torch.from_numpy(np.array(fitted(picture))), (picture.height, picture.width)

    def joined(rows: list[Any]) -> Any:
        return torch.stack([p for p, _ in rows]), [s for _, s in rows]

    return DataLoader(Pictures(), batch_size=size, num_workers=2, collate_fn=joined)
