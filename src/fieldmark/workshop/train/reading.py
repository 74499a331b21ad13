"""What the loop teaches a recurrent network: windows of a source, each part of a batch on a core of its own.

S steps, N sequences, L layers, H hidden units.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fieldmark.field.runtime import cores
from fieldmark.workshop.learn.sequence import Task
from fieldmark.workshop.models.recurrent import Recurrent
from fieldmark.workshop.train.windows import Source, Windows

FEWEST_A_PART = 16  # sequences: fewer make products of matrices slow
FEWEST_STEPS_BETWEEN_CHECKS = 10
VALIDATION_SHARE = 0.05  # of the time, about
BACKWARD = 2.0  # times the forward pass


class ReadingLesson:
    """The network reads windows of `source` and is scored on its validation part.

    On CPU the sequences of a batch are dealt out to threads, one a core, each of which does all of its part's work, so
    that no core waits for another within a step. Within `open()` alone.
    """

    def __init__(
        self,
        network: Recurrent,
        source: Source,
        task: Task,
        dropout: float,
        device: torch.device,
        autocast: bool,
    ) -> None:
        self.module: nn.Module = network
        self.network = network
        self.source, self.task, self.dropout, self.device, self.autocast = source, task, dropout, device, autocast
        self.parts = max(1, min(cores(), source.batch // FEWEST_A_PART)) if device.type == "cpu" else 1
        forward = source.validated / (source.window * source.batch) / (1 + BACKWARD)  # in steps of training
        self.check_every = max(FEWEST_STEPS_BETWEEN_CHECKS, math.ceil(forward / VALIDATION_SHARE))
        network.carry(source.batch)

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Training mode on the device, with the threads that work on parts."""
        threads = torch.get_num_threads()
        self.network.to(self.device).train()
        if self.device.type == "cpu":
            torch.set_num_threads(max(1, cores() // self.parts))
        try:
            with ThreadPoolExecutor(self.parts, thread_name_prefix="fieldmark") as self.pool:
                yield
        finally:
            torch.set_num_threads(threads)
            self.network.eval().cpu()

    def batch(self, number: int, done: float) -> Windows:
        found = self.source.windows(number)
        return Windows(found.inputs.to(self.device), found.targets.to(self.device), found.fresh)

    def loss(self, batch: Windows) -> Tensor:
        """Mean error of a batch; what is carried goes on from the last one."""
        masks = self._masks(batch.inputs.shape[1])
        with torch.no_grad():
            for state in self.network.carried:
                state[:, batch.fresh] = 0
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        places = torch.arange(batch.inputs.shape[1]).chunk(self.parts)
        work = [(batch, masks, slice(int(p[0]), int(p[-1]) + 1), parameters) for p in places]
        done = list(self.pool.map(lambda args: self._part(*args), work))
        gradients = list(done[0][1])
        for _, more in done[1:]:
            torch._foreach_add_(gradients, list(more))
        value = torch.stack([loss for loss, _ in done]).sum()
        return _Known.apply(value, gradients, *parameters)  # type: ignore[no-any-return]

    def _part(
        self, batch: Windows, masks: Sequence[Tensor], place: slice, parameters: list[Tensor]
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """The share of the loss of some sequences, and its gradients; their states are carried on."""
        carried = [state[:, place] for state in self.network.carried]
        states = [state.clone() for state in carried]
        inputs, targets = batch.inputs[:, place], batch.targets[:, place]
        with torch.autocast(self.device.type, torch.bfloat16, self.autocast):
            found, *after = self.network(inputs, *states, masks=[mask[:, place] for mask in masks])
            share = inputs.shape[1] / batch.inputs.shape[1]
            loss = self.task.errors(found, targets).mean() * share
        gradients = torch.autograd.grad(loss, parameters)
        for state, new in zip(carried, after, strict=True):
            state.copy_(new.detach())
        return loss.detach(), gradients

    def _masks(self, n: int) -> list[Tensor]:
        if not self.dropout:
            return []
        keep = 1 - self.dropout
        drawn = [torch.bernoulli(torch.full((1, n, width), keep)) / keep for width in self.network.widths]
        return [mask.to(self.device) for mask in drawn]

    def score(self) -> dict[str, float] | None:
        if not self.source.validated:
            return None
        self.network.eval()
        scores = np.concatenate(list(self.pool.map(self._scores_of_part, range(self.parts))))
        self.network.train()
        if not scores.size:
            return None
        mean = float(scores.mean())
        return {"score": -mean, "error": float(scores.std() / math.sqrt(scores.size)), "loss": mean}

    def _scores_of_part(self, part: int) -> NDArray[np.float32]:
        """The task's scores of each position of some sequences of the validation part, [positions]."""
        found, states = [np.zeros(0, np.float32)], self.network.begin(0)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, self.autocast):
            for windows in self.source.validation():
                inputs, targets = (x[:, part :: self.parts].to(self.device) for x in windows[:2])
                if not inputs.shape[1]:
                    break
                states = self.network.begin(inputs.shape[1]) if windows.fresh[0] else states
                outputs, *after = self.network(inputs, *states)
                states = tuple(after)
                each = self.task.scores(outputs, targets).float().cpu().numpy()
                found.append(each[np.isfinite(each)])
        return np.concatenate(found)


class _Known(torch.autograd.Function):
    """A loss whose gradients are known already."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: Sequence[Tensor], *parameters: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, ()  # held by no one else, they are taken over, not copied
        return None, None, *(gradients if float(outer[0]) == 1.0 else [outer[0] * g for g in gradients])
