"""Labelled pictures: where they come from, how they are split, and what identifies them."""

from .index import Index, Skipped, fingerprint, numbered
from .sources import open_data
from .split import SPLITS, SplitRule, named, split

__all__ = ["SPLITS", "Index", "Skipped", "SplitRule", "fingerprint", "named", "numbered", "open_data", "split"]
