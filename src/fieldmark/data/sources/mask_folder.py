"""Folders `images` and `masks` with files of equal names, within each train, val and test where there are splits."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from fieldmark.data.frame import has_shape, read_frame
from fieldmark.data.index import Index, Skipped
from fieldmark.data.masks import BACKGROUND, FOREGROUND, mask_values
from fieldmark.data.split import ALIASES
from fieldmark.errors import DataError, PictureError
from fieldmark.files import is_folder
from fieldmark.pictures import FORMATS, find_pictures, list_folder
from fieldmark.types import MaskFile, Sample

from .annotated import Progress, mask_names_in, ticking

PICTURES = "images"
MASKS = ("masks", "labels", "annotations")
LOOKED_AT = 3  # pairs
SHADES = 64  # a drawn mask has fewer grey values than a photograph,
EXTREME = 0.95  # or, where it was saved as JPEG, nearly all at the ends of the range


def is_mask_folder(root: Path) -> bool:
    """Whether a folder holds pictures beside masks: equal names for most, equal shapes, and few values in the masks.

    Two class folders that happen to have these names hold photographs in both.
    """
    for images, masks, _ in _pairs(root):
        found, drawn = _below(images), _below(masks)
        both = sorted(found.keys() & drawn.keys())
        if both and 2 * len(both) >= len(found):
            return all(_belong(found[name], drawn[name]) for name in both[:LOOKED_AT])
    return False


def open_mask_folder(root: Path, progress: Progress | None = None) -> Index:
    """The Index of pictures and masks: class numbers as classes.txt, there or beside the masks, names them, else two
    values, background and foreground.

    Pictures without a mask are left out. Raises DataError when masks hold more than two values and nothing names them.
    """
    pairs = list(_pairs(root))
    named = (mask_names_in(folder) for folder in (root, *(masks for _, masks, _ in pairs)))
    names = next((found for found in named if found is not None), None)
    samples: list[Sample] = []
    skipped: list[Skipped] = []
    for images, masks, part in pairs:
        drawn = _below(masks)
        for stem, picture in ticking(sorted(_below(images).items()), progress):
            name = picture.relative_to(root).as_posix()
            split = part or ALIASES.get(stem.split("/")[0].lower() if "/" in stem else "")
            if stem not in drawn:
                skipped.append(Skipped(name, f"there is no mask {masks.relative_to(root).as_posix()}/{stem}"))
            elif names is None:
                mask = MaskFile(drawn[stem], (BACKGROUND, FOREGROUND), binary=True)
                samples.append(Sample(picture, name, split=split, mask=mask))
            else:
                samples.append(Sample(picture, name, split=split, mask=MaskFile(drawn[stem], names)))
    _check_values(root, samples)
    return Index(str(root), tuple(samples), tuple(skipped), kind="mask")


def _pairs(root: Path) -> Iterator[tuple[Path, Path, str | None]]:
    """The folders of pictures and of masks, and the split they are in."""
    inside = [p for p in list_folder(root) if is_folder(p)]
    homes = [(root, None), *((p, ALIASES[p.name.lower()]) for p in inside if p.name.lower() in ALIASES)]
    for home, part in homes:
        masks = next((home / name for name in MASKS if is_folder(home / name)), None)
        if masks is not None and is_folder(home / PICTURES):
            yield home / PICTURES, masks, part


def _below(folder: Path) -> dict[str, Path]:
    """The pictures below a folder by their names in it, without suffix."""
    return {p.relative_to(folder).with_suffix("").as_posix(): p for p in find_pictures(folder)}


def _belong(picture: Path, mask: Path) -> bool:
    """Whether the second picture can be a mask of the first."""
    try:
        frame = read_frame(picture)
        with Image.open(mask, formats=FORMATS) as image:
            if not (has_shape(image.size, frame.size_wh) or has_shape(image.size, frame.stored_wh)):
                return False
            values = np.asarray(image if image.mode in ("1", "L", "P") else image.convert("RGB"))
    except (PictureError, OSError, ValueError, SyntaxError):
        return False
    if values.ndim == 3:
        return len(np.unique(values.reshape(-1, 3), axis=0)) <= SHADES
    return len(np.unique(values)) <= SHADES or bool(np.mean((values <= 16) | (values >= 239)) >= EXTREME)


def _check_values(root: Path, samples: list[Sample]) -> None:
    """DataError, before anything is learned, when the first masks cannot be what they are taken for."""
    looked_at, wrong = [s.mask for s in samples[:LOOKED_AT] if s.mask is not None], []
    for mask in looked_at:
        try:
            mask_values(mask)
        except PictureError as error:
            wrong.append(error)
    if wrong and len(wrong) == len(looked_at):
        raise DataError(f"{root}: {wrong[0]}")
