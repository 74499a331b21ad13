"""torchvision's SSDLite on the same backbone, embedded weights, pictures and time: its own loss, boxes and suppression,
its augmentation for SSD, AdamW with a cosine; scored by the same code."""

import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteHead
from torchvision.transforms import v2

from bench.boxes import box_scores
from fieldmark.data import SplitRule, open_data, split
from fieldmark.field.tasks.detect import truth_rows
from fieldmark.types import Sample
from fieldmark.workshop.models import create_backbone
from fieldmark.workshop.models.levels import Levels, plan_levels

SIZE, BATCH, RATE = 384, 8, 5e-4


class Features(nn.Module):
    """The backbone's levels, and two coarser ones, as torchvision takes them."""

    def __init__(self) -> None:
        super().__init__()
        backbone = create_backbone("tf_efficientnet_lite0", "auto", SIZE)
        plan = plan_levels(backbone, (8, 16, 32))
        self.levels = Levels(backbone.body, plan.indices)
        self.more = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, 128, 3, 2, 1), nn.BatchNorm2d(128), nn.ReLU6()) for c in (plan.channels[-1], 128)
        )
        self.channels = [*plan.channels, 128, 128]

    def forward(self, x: Tensor) -> "OrderedDict[str, Tensor]":
        found = self.levels(x)
        for layer in self.more:
            found.append(layer(found[-1]))
        return OrderedDict((str(i), f) for i, f in enumerate(found))


def model(classes: int) -> SSD:
    """SSDLite as torchvision puts it together for MobileNet, with levels from stride 8 on."""
    features = Features()
    boxes = DefaultBoxGenerator([[2, 3]] * len(features.channels), min_ratio=0.1, max_ratio=0.95)
    head = SSDLiteHead(features.channels, boxes.num_anchors_per_location(), classes + 1, nn.BatchNorm2d)
    half = [0.5] * 3
    return SSD(features, boxes, (SIZE, SIZE), classes + 1, image_mean=half, image_std=half, head=head)


AUGMENT = v2.Compose(
    [
        v2.RandomZoomOut(fill=127, side_range=(1.0, 2.0), p=0.3),
        v2.RandomIoUCrop(),
        v2.RandomHorizontalFlip(),
        v2.SanitizeBoundingBoxes(),
        v2.ToDtype(torch.float32, scale=True),
    ]
)


def example(sample: Sample, number: dict[str, int], augment: bool) -> tuple[Tensor, dict[str, Tensor]]:
    """A picture in 0..1 and its boxes, augmented, the classes from 1 on."""
    image = tv_tensors.Image(torch.from_numpy(np.array(Image.open(sample.path).convert("RGB"))).permute(2, 0, 1))
    rows = torch.from_numpy(truth_rows(sample, number)).float()
    boxes = tv_tensors.BoundingBoxes(rows[:, :4], format="XYXY", canvas_size=image.shape[1:])
    target = {"boxes": boxes, "labels": rows[:, 4].long() + 1}
    if not augment:
        return image.float() / 255, target
    return AUGMENT(image, target)


def run(data: Path, seconds: float) -> dict[str, Any]:
    """Train for so long, without scoring on the way, and score on the test part."""
    torch.manual_seed(0)
    begun = time.monotonic()
    index = split(open_data(data), SplitRule(0))
    train, test = index.part("train"), index.part("test")
    classes = sorted({label for s in train for label in s.labels})
    number = {name: i for i, name in enumerate(classes)}
    network = model(len(classes)).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=0.05)
    rng, steps, done = np.random.default_rng(0), 0, 0.0
    network.train()
    while done < 1:
        for group in optimiser.param_groups:
            group["lr"] = RATE * 0.5 * (1 + np.cos(np.pi * done)) * min(1.0, steps / 50)
        chosen = [example(train[i], number, True) for i in rng.choice(len(train), BATCH, replace=False)]
        with torch.autocast("cpu", torch.bfloat16):
            losses = network([c[0] for c in chosen], [c[1] for c in chosen])
        optimiser.zero_grad()
        sum(losses.values()).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        steps, done = steps + 1, (time.monotonic() - begun) / seconds
    network.eval()
    found, truth = [], [truth_rows(s, number) for s in test]
    with torch.inference_mode():
        for sample in test:
            said = network([example(sample, number, False)[0]])[0]
            columns = [said["boxes"], said["scores"][:, None], said["labels"][:, None] - 1]
            found.append(torch.cat([c.float() for c in columns], 1).numpy())
    return {"seconds": round(time.monotonic() - begun, 1), "steps": steps, **box_scores(found, truth, classes)}
