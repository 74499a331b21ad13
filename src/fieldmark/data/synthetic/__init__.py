"""The field guide: a small embedded set of drawn pictures of ten near-twin birds, told apart by field marks only.

Fixed once: 384 x 384 pixels, 10 species x (60 train + 15 val + 25 test) = 1000 pictures, seed 20260101,
JPEG quality 92.
Pose, size, place, plumage colours, light and background vary alike in all species; the marks alone tell them apart.
Each mark's box is 12 to 40 pixels on its longest side (at 384) and nothing ever hides it.
"""

from .guide import (
    GENERATOR,
    JPEG_QUALITY,
    PER_CLASS,
    SEED,
    SPLITS,
    cached_field_guide,
    render_field_guide,
    telling_boxes,
)
from .plate import plate
from .render import SIZE, Rendered, render_picture
from .species import (
    MARK_KINDS,
    MARK_WORDS,
    SPECIES,
    Marks,
    Species,
    differing_marks,
    species_named,
    telling_marks,
    twins,
)

__all__ = [
    "GENERATOR",
    "JPEG_QUALITY",
    "MARK_KINDS",
    "MARK_WORDS",
    "PER_CLASS",
    "SEED",
    "SIZE",
    "SPECIES",
    "SPLITS",
    "Marks",
    "Rendered",
    "Species",
    "cached_field_guide",
    "differing_marks",
    "plate",
    "render_field_guide",
    "render_picture",
    "species_named",
    "telling_boxes",
    "telling_marks",
    "twins",
]
