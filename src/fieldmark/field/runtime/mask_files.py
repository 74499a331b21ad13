"""Masks as files: a PNG of class numbers for each picture."""

from dataclasses import replace
from pathlib import Path

from fieldmark.data.masks import picture_of
from fieldmark.errors import UsageError
from fieldmark.files import atomic_file, write_text
from fieldmark.types import Prediction

from .recogniser import Recogniser

NAMES_FILE = "classes.txt"  # as a folder of masks has them
STEM = 60  # characters of a picture's name


class MaskFiles:
    """Masks in a new folder, each named as its picture, and there before its prediction is told; a number tells those
    of one name apart."""

    def __init__(self, folder: Path, classes: tuple[str, ...]) -> None:
        self.folder, self._taken, self._numbers = folder, set[str](), dict[str, int]()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot make {folder}: {error.strerror}; choose another --out") from error
        write_text(folder / NAMES_FILE, "".join(" ".join(name.split("\n")) + "\n" for name in classes))

    def write(self, prediction: Prediction) -> Prediction:
        """The prediction with `mask`, the file that was written for it; itself where there is none."""
        numbers = prediction.mask
        if numbers is None:
            return prediction
        stem = Path(prediction.path).stem[:STEM]
        name, number = stem, self._numbers.get(stem.casefold(), 1)
        while name.casefold() in self._taken:
            number += 1
            name = f"{stem}-{number}"
        self._numbers[stem.casefold()] = number
        self._taken.add(name.casefold())
        place = self.folder / f"{name}.png"
        with atomic_file(place) as partial, partial.open("wb") as out:
            picture_of(numbers).save(out, "PNG")
        return replace(prediction, extra={**prediction.extra, "mask": str(place)})


def mask_files(recogniser: Recogniser, out: Path | None) -> MaskFiles | None:
    """Where masks go; None where none are asked for. UsageError where there are none."""
    if out is None:
        return None
    if recogniser.task.name != "segment":
        raise UsageError(f"--out is for masks, which a recogniser of --task {recogniser.task.name} does not give")
    return MaskFiles(out, recogniser.classes)
