"""The plain training loop that tutorials show: batches of 64, Adam at 1e-3, a DataLoader with ToTensor and Normalize
over pictures in memory, float32, ten epochs, no schedule.

python -m bench.plain_loop FOLDER NETWORK WORKERS SEED     prints one JSON line: seconds, accuracy and
seconds of all looks at the test part after each epoch
"""

import csv
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

BATCH, RATE, EPOCHS = 64, 1e-3, 10


class Pictures(Dataset):
    """Grey pictures and class numbers in memory, as torchvision's MNIST keeps them."""

    def __init__(self, folder: Path, split: str) -> None:
        with (folder / "labels.csv").open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        names = sorted({row["label"] for row in rows})
        rows = [row for row in rows if row["split"] == split]
        self.pictures = [np.asarray(Image.open(folder / row["path"])) for row in rows]
        self.targets = [names.index(row["label"]) for row in rows]
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pictures[place])), self.targets[place]


class MnistNet(nn.Module):
    """The network of torch's first tutorial."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 10, 5), nn.Conv2d(10, 20, 5)
        self.drop = nn.Dropout2d()
        self.dense, self.out = nn.Linear(320, 50), nn.Linear(50, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.drop(self.conv2(x)), 2))
        x = F.dropout(F.relu(self.dense(x.flatten(1))), training=self.training)
        return F.log_softmax(self.out(x), 1)


class LeNet5(nn.Module):
    """LeNet-5 as tutorials have it: tanh and average pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.conv3, self.dense, self.out = nn.Conv2d(16, 120, 5), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(torch.tanh(self.conv1(x)), 2)
        x = F.avg_pool2d(torch.tanh(self.conv2(x)), 2)
        x = torch.tanh(self.dense(torch.tanh(self.conv3(x)).flatten(1)))
        return F.log_softmax(self.out(x), 1)


NETWORKS = {"mnistnet": MnistNet, "lenet5": LeNet5}


def accuracy(network: nn.Module, loader: DataLoader) -> float:
    network.eval()
    with torch.no_grad():
        right = sum(int((network(x).argmax(1) == y).sum()) for x, y in loader)
    return right / len(loader.dataset)  # type: ignore[arg-type]


def run(folder: Path, name: str, workers: int, seed: int) -> list[dict[str, Any]]:
    """A row for each epoch; seconds are those of training alone."""
    torch.manual_seed(seed)
    kept = workers > 0
    train = DataLoader(Pictures(folder, "train"), BATCH, True, num_workers=workers, persistent_workers=kept)
    test = DataLoader(Pictures(folder, "test"), 1000, num_workers=workers, persistent_workers=kept)
    network, rows, seconds, tested = NETWORKS[name](), [], 0.0, 0.0
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE)
    for epoch in range(EPOCHS):
        began = time.perf_counter()
        network.train()
        for x, y in train:
            optimiser.zero_grad()
            loss = F.nll_loss(network(x), y)
            loss.backward()
            optimiser.step()
        ended = time.perf_counter()
        row = {"epoch": epoch + 1, "accuracy": accuracy(network, test)}
        seconds, tested = seconds + ended - began, tested + time.perf_counter() - ended
        rows.append({**row, "seconds": seconds, "tested_s": tested})
    return rows


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
