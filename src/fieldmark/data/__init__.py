"""Labelled pictures: where they come from, how they are split, and what identifies them."""

from .index import Index, Note, Skipped, fingerprint, numbered
from .masks import IGNORE, load_mask, mask_classes
from .sources import open_data
from .split import SPLITS, SplitRule, named, split

__all__ = [
    "IGNORE",
    "SPLITS",
    "Index",
    "Note",
    "Skipped",
    "SplitRule",
    "fingerprint",
    "load_mask",
    "mask_classes",
    "named",
    "numbered",
    "open_data",
    "split",
]
