"""Real sets of boxes and masks, where they are."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fieldmark.data import fingerprint, load_mask, mask_classes, open_data

PLACES = (Path(os.environ.get("FIELDMARK_DATA", "/nowhere")), Path(__file__).parents[4] / "shared/data")


def real(name: str) -> Path:
    """The folder of a real set; without it the test is skipped."""
    found = next((p / name for p in PLACES if (p / name).is_dir()), None)
    if found is None:
        pytest.skip(f"real pictures: neither $FIELDMARK_DATA nor ../shared/data holds {name}")
    return found


def test_blood_cells_open_with_their_splits_and_boxes():
    index = open_data(real("bccd"))
    assert (index.kind, index.splits, index.skipped) == ("boxes", Counter(train=205, val=87, test=72), ())
    by_part = {part: Counter(label for s in index.part(part) for label in s.boxes.labels) for part in index.splits}
    assert by_part == {  # one RBC of train and one of val are points
        "train": Counter(RBC=2381, WBC=214, Platelets=209),
        "val": Counter(RBC=967, WBC=87, Platelets=83),
        "test": Counter(RBC=805, WBC=71, Platelets=69),
    }
    assert [(n.name, n.text) for n in index.notes] == [
        ("Annotations/BloodImage_00338.xml", "line 158 (RBC): it has no area; left out"),
        ("Annotations/BloodImage_00343.xml", "line 50 (RBC): it has no area; left out"),
    ]
    first = index.samples[0]
    assert first.labels == tuple(sorted(set(first.boxes.labels)))
    assert np.concatenate([s.boxes.xyxy for s in index.samples]).max() <= 640
    assert fingerprint(index.samples) == fingerprint(reversed(open_data(real("bccd")).samples))


def test_magnetic_tiles_have_masks_of_their_defects_and_sound_ones_none():
    index = open_data(real("magnetic_tile"))
    assert (index.kind, len(index.samples), index.notes) == ("label", 492, ())
    classes = mask_classes(index.part("train"))
    assert classes == ("background", "blowhole", "break", "crack", "fray", "uneven")
    marked = Counter()
    for sample in index.part("val"):
        numbers = load_mask(sample, classes)
        assert {classes[i] for i in np.unique(numbers)} <= {"background", sample.label}
        marked[sample.label] += bool(numbers.any())
    assert marked["free"] == 0
    assert sum(marked.values()) >= 36
