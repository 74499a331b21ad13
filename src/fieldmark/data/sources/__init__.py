"""DATA in any of its forms becomes an Index: a folder, a table, an annotation file, a known name."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from fieldmark.data.index import Index
from fieldmark.data.names import with_plain_names
from fieldmark.errors import DataError, unknown_name
from fieldmark.files import is_file, is_folder

from .annotated import Progress
from .coco import is_coco, open_coco
from .folder import TABLE, open_folder
from .mask_folder import is_mask_folder, open_mask_folder
from .named import OPENERS, open_named
from .table import TABLE_SUFFIXES, open_table
from .voc import is_voc, open_voc
from .yolo import is_yolo, open_yolo

Open = Callable[[Path, Progress | None], Index]


def _open_field_guide(progress: Progress | None) -> Index:
    from fieldmark.data.synthetic import cached_field_guide, telling_boxes

    folder = cached_field_guide(
        None if progress is None else lambda done, n: progress("drawing the field guide", done, n)
    )
    index, boxes = open_table(folder / "labels.csv", source="field-guide"), telling_boxes(folder)
    return replace(index, samples=tuple(replace(s, boxes=boxes[s.name]) for s in index.samples))


FOLDERS: dict[str, tuple[Callable[[Path], bool], Open]] = {
    "voc": (is_voc, open_voc),
    "coco": (is_coco, open_coco),
    "yolo": (is_yolo, open_yolo),
    "masks": (is_mask_folder, open_mask_folder),
}
FILES: dict[str, Open] = {
    **dict.fromkeys(TABLE_SUFFIXES, lambda path, progress: open_table(path, progress=progress)),
    ".json": open_coco,
    ".yaml": open_yolo,
    ".yml": open_yolo,
}
NAMED: dict[str, Callable[[Progress | None], Index]] = {
    "field-guide": _open_field_guide,
    **{name: partial(open_named, name) for name in OPENERS},
}


def open_data(data: str | Path, progress: Progress | None = None) -> Index:
    """The Index of DATA: a folder, a CSV, TSV or Parquet table, a COCO JSON, the YAML of a YOLO set, or a known name.

    A folder is taken for VOC, COCO, YOLO or pictures with masks when it is laid out so; otherwise for class
    folders. Class names become one line of text (`with_plain_names`). Raises DataError, in one sentence that says what
    to do, when DATA is none of these or holds no labelled picture.
    """
    if not str(data):
        raise DataError("DATA is empty; give a folder, a table or a known name (. is the current folder)")
    path = Path(data)
    if is_folder(path):
        index = _opener(path)(path, progress)
    elif is_file(path):
        if path.suffix.lower() not in FILES:
            raise DataError(
                f"{path} is no table; give a folder of class folders or a .csv, .tsv or .parquet table, or a COCO .json"
            )
        index = FILES[path.suffix.lower()](path, progress)
    elif str(data) in NAMED:
        index = NAMED[str(data)](progress)
    elif path.suffix or len(path.parts) > 1:
        raise DataError(
            f"{data}: no such file or folder; give a folder of class folders or a table with path and label"
        )
    else:
        raise DataError(f"{data}: no such file or folder, and {unknown_name('data set', str(data), NAMED)}")
    if not index.samples:
        raise DataError(f"{data} holds no usable labelled picture" + _first_reason(index))
    return with_plain_names(index)


def _opener(folder: Path) -> Open:
    """How a folder is opened: by its table, by its layout, or as class folders."""
    if not is_file(folder / TABLE):
        for fits, opened in FOLDERS.values():
            if fits(folder):
                return opened
    return open_folder


def _first_reason(index: Index) -> str:
    if not index.skipped:
        return "; give a folder of class folders or a table with path and label"
    return f" (the first of {len(index.skipped)} left out: {index.skipped[0].name}: {index.skipped[0].reason})"
