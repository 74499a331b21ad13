"""Windows of sequences, as batches that are functions of their number.

S steps, N sequences, T rows, C columns, F inputs.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fieldmark.data.alphabet import Array

OFFSET, PLACES, RESTARTS = 5, 6, 7  # what a generator is for
FEWEST_WINDOWS = 4  # in a stream of text, before there are fewer streams
RESTART = 1 / 32  # of a stream, at each window
VALIDATION_STREAMS, VALIDATION_STEPS = 32, 256
VALIDATION_CODES = 65_536
FEWEST_BATCHES = 50  # an epoch of rows: of a short table each is seen several times
CONTEXT_WINDOWS = 4  # of rows before those that are scored


class Windows(NamedTuple):
    """Inputs [S, N, ...] and targets [S, N, ...] of a batch; `fresh`, bool [N]: nothing is carried into these."""

    inputs: Tensor
    targets: Tensor
    fresh: Tensor


class Source(Protocol):
    """Where a lesson's windows come from."""

    window: int  # steps
    batch: int  # sequences
    an_epoch: int  # batches
    validated: int  # positions that are scored at a look at validation

    def windows(self, number: int) -> Windows:
        """Batch `number`; the same whenever it is asked for."""
        ...

    def validation(self) -> Iterator[Windows]:
        """The validation part, windows in their order."""
        ...


class TextWindows:
    """A text in `batch` streams side by side; each batch goes on where the last one ended, from epoch to epoch with
    another offset. Now and then a stream begins anew there, with nothing carried: a network that seldom reads a first
    character may never learn to leave the state it begins in. A short text has fewer streams."""

    def __init__(self, train: Array, val: Array, window: int, batch: int, seed: int) -> None:
        self.train, self.seed = train, seed
        self.batch = max(1, min(batch, (len(train) - 1) // (FEWEST_WINDOWS * window)))
        self.length = (len(train) - 1) // self.batch
        self.window = max(1, min(window, self.length))
        self.an_epoch = self.length // self.window
        self.val = val[: VALIDATION_CODES + 1]
        self.validated = max(0, len(self.val) - 1)

    def windows(self, number: int) -> Windows:
        epoch, place = divmod(number, self.an_epoch)
        spare = self.length - self.an_epoch * self.window
        offset = int(np.random.default_rng([self.seed, OFFSET, epoch]).integers(spare + 1))
        starts = offset + place * self.window + self.length * np.arange(self.batch)
        rows = np.stack([self.train[s : s + self.window + 1] for s in starts], 1).astype(np.int64)
        fresh = np.random.default_rng([self.seed, RESTARTS, number]).random(self.batch) < (RESTART if place else 1)
        return Windows(torch.from_numpy(rows[:-1]), torch.from_numpy(rows[1:]), torch.from_numpy(fresh))

    def validation(self) -> Iterator[Windows]:
        streams = max(1, min(VALIDATION_STREAMS, self.validated // VALIDATION_STEPS))
        length = self.validated // streams
        starts = length * np.arange(streams)
        for begin in range(0, length, VALIDATION_STEPS):
            steps = min(VALIDATION_STEPS, length - begin)
            rows = np.stack([self.val[s + begin : s + begin + steps + 1] for s in starts], 1).astype(np.int64)
            fresh = torch.full((streams,), begin == 0)
            yield Windows(torch.from_numpy(rows[:-1]), torch.from_numpy(rows[1:]), fresh)


class SeriesWindows:
    """Windows of rows drawn from the training part, each begun afresh.

    `inputs` [T, F] and `targets` [T, C], NaN where there are none, are of the whole table; training sees rows before
    `train`, validation those from there to `val`.
    """

    def __init__(
        self,
        inputs: NDArray[np.float32],
        targets: NDArray[np.float32],
        train: int,
        val: int,
        window: int,
        batch: int,
        seed: int,
    ) -> None:
        self.inputs, self.targets, self.seed = inputs, targets, seed
        self.train, self.val = train, val
        self.window, self.batch = min(window, train), batch
        self.an_epoch = max(FEWEST_BATCHES, train // (self.window * batch))
        self.validated = val - train

    def windows(self, number: int) -> Windows:
        rng = np.random.default_rng([self.seed, PLACES, number])
        starts = rng.integers(0, self.train - self.window + 1, self.batch)
        rows = starts + np.arange(self.window)[:, None]
        fresh = torch.ones(self.batch, dtype=torch.bool)
        return Windows(torch.from_numpy(self.inputs[rows]), torch.from_numpy(self.targets[rows]), fresh)

    def validation(self) -> Iterator[Windows]:
        begin = max(0, self.train - CONTEXT_WINDOWS * self.window)
        targets = self.targets[begin : self.val].copy()
        targets[: self.train - begin] = np.nan
        inputs = self.inputs[begin : self.val]
        for at in range(0, len(inputs), VALIDATION_STEPS):
            some = slice(at, at + VALIDATION_STEPS)
            fresh = torch.tensor([at == 0])
            yield Windows(torch.from_numpy(inputs[some, None]), torch.from_numpy(targets[some, None]), fresh)
