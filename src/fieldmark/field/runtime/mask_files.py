"""Masks as files: a PNG of class numbers for each picture, and all of them as COCO."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldmark.data.masks import BACKGROUND, picture_of
from fieldmark.errors import UsageError
from fieldmark.field.evaluate.classmap import run_lengths
from fieldmark.files import atomic_file, write_text
from fieldmark.types import Prediction

from .recogniser import Recogniser

COCO_FILE = "coco.json"
NAMES_FILE = "classes.txt"  # as a folder of masks has them
STEM = 60  # characters of a picture's name


class MaskFiles:
    """Masks in a new folder: each is there before its prediction is told. `coco` gathers their run lengths as well."""

    def __init__(self, folder: Path, classes: tuple[str, ...], coco: bool) -> None:
        self.folder, self.classes, self.coco = folder, classes, coco
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot make {folder}: {error.strerror}; choose another --out") from error
        write_text(folder / NAMES_FILE, "".join(f"{name}\n" for name in classes))

    def write(self, prediction: Prediction) -> Prediction:
        """The prediction with `mask`, the file that was written for it; itself where there is none."""
        numbers = prediction.mask
        if numbers is None:
            return prediction
        self._images.append(
            {
                "id": len(self._images) + 1,
                "file_name": prediction.path,
                "width": numbers.shape[1],
                "height": numbers.shape[0],
            }
        )
        place = self.folder / f"{len(self._images):04d}-{Path(prediction.path).stem[:STEM]}.png"
        with atomic_file(place) as partial, partial.open("wb") as out:
            picture_of(numbers).save(out, "PNG")
        if self.coco:
            self._add(numbers)
        return replace(prediction, extra={**prediction.extra, "mask": str(place)})

    def _add(self, numbers: NDArray[np.uint8]) -> None:
        for c in np.unique(numbers).tolist():
            if self.classes[c] == BACKGROUND:
                continue
            there = numbers == c
            rows, columns = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
            left, top = int(columns[0]), int(rows[0])
            self._annotations.append(
                {
                    "id": len(self._annotations) + 1,
                    "image_id": len(self._images),
                    "category_id": c,
                    "segmentation": {"size": list(there.shape), "counts": run_lengths(there)},
                    "area": int(there.sum()),
                    "bbox": [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
                    "iscrowd": 1,
                }
            )

    def finish(self) -> None:
        """Write what was gathered of all pictures."""
        if self.coco:
            names = [{"id": c, "name": name} for c, name in enumerate(self.classes) if name != BACKGROUND]
            found = {"images": self._images, "categories": names, "annotations": self._annotations}
            write_text(self.folder / COCO_FILE, json.dumps(found, ensure_ascii=False) + "\n")


def mask_files(recogniser: Recogniser, out: Path | None, coco: bool) -> MaskFiles | None:
    """Where masks go; None where none are asked for. UsageError where there are none."""
    if out is None:
        if coco:
            raise UsageError("--coco writes into the folder of masks; name one with --out")
        return None
    if recogniser.task.name != "segment":
        raise UsageError(f"--out is for masks, which a recogniser of --task {recogniser.task.name} does not give")
    return MaskFiles(out, recogniser.classes, coco)
