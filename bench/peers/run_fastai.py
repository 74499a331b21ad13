"""fastai as its documentation tells: `vision_learner(dls, NAME).fine_tune(5)`.

python run_fastai.py FOLDER WEIGHTS OUT     FOLDER: train, val, test, each with a folder for each class
"""

import sys
from pathlib import Path

from clock import Clock
from fastai.vision.all import (
    Callback,
    CategoryBlock,
    DataBlock,
    FuncSplitter,
    ImageBlock,
    Resize,
    accuracy,
    aug_transforms,
    get_image_files,
    parent_label,
    vision_learner,
)

NAME = "tf_efficientnet_lite0"


class Aside(Callback):
    """Keeps the weights of every epoch."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def after_epoch(self) -> None:
        self.clock.aside(self.learn.model)


def main(folder: Path, weights: Path, out: Path) -> None:
    clock = Clock(out)
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock),
        get_items=lambda place: get_image_files(place, folders=["train", "val"]),
        get_y=parent_label,
        splitter=FuncSplitter(lambda path: path.parent.parent.name == "val"),
        item_tfms=Resize(460),
        batch_tfms=aug_transforms(size=224, min_scale=0.75),
    )
    dls = block.dataloaders(folder, num_workers=2)
    overlay = {"file": str(weights)}
    learn = vision_learner(dls, NAME, metrics=accuracy, pretrained_cfg_overlay=overlay, cbs=Aside(clock))
    learn.fine_tune(5)
    learn.remove_cbs(Aside)
    test = dls.test_dl(get_image_files(folder / "test"), with_labels=True)
    clock.scored(learn.model, lambda model: float(learn.validate(dl=test)[1]))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
