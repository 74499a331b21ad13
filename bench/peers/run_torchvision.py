"""The loop of torchvision's transfer-learning tutorial: SGD 0.001, momentum 0.9, a tenth after 7 epochs, 10 epochs,
batches of 4, random resized crops and flips at 224; with timm's network and its own statistics.

python run_torchvision.py FOLDER WEIGHTS OUT     FOLDER: train, val, test, each with a folder for each class
"""

import sys
from pathlib import Path

import timm
import torch
from clock import Clock
from torch import nn, optim
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

NAME = "tf_efficientnet_lite0"
EPOCHS = 10


def loader(folder: Path, part: str) -> DataLoader:
    tail = [transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
    if part == "train":
        head = [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()]
    else:
        head = [transforms.Resize(256), transforms.CenterCrop(224)]
    data = datasets.ImageFolder(str(folder / part), transforms.Compose(head + tail), allow_empty=True)
    return DataLoader(data, batch_size=4, shuffle=part == "train", num_workers=2)


def share_right(model: nn.Module, batches: DataLoader) -> float:
    model.eval()
    right = seen = 0
    with torch.no_grad():
        for pictures, truth in batches:
            right += int((model(pictures).argmax(1) == truth).sum())
            seen += len(truth)
    return right / seen


def main(folder: Path, weights: Path, out: Path) -> None:
    clock = Clock(out)
    train, val = loader(folder, "train"), loader(folder, "val")
    classes = len(train.dataset.classes)
    model = timm.create_model(NAME, pretrained=True, num_classes=classes, pretrained_cfg_overlay={"file": str(weights)})
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
    scheduler = lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)
    for _ in range(EPOCHS):
        model.train()
        for pictures, truth in train:
            optimizer.zero_grad()
            criterion(model(pictures), truth).backward()
            optimizer.step()
        scheduler.step()
        share_right(model, val)
        clock.aside(model)
    test = loader(folder, "test")
    clock.scored(model, lambda m: share_right(m, test))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
