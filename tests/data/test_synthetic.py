"""The synthetic field guide: deterministic, told apart by its marks alone, and written whole or not at all."""

import csv
import json
import os
import time
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fieldmark.data import synthetic
from fieldmark.data.synthetic import (
    MARK_KINDS,
    MARK_WORDS,
    SEED,
    SIZE,
    SPECIES,
    Species,
    cached_field_guide,
    differing_marks,
    plate,
    render_field_guide,
    render_picture,
    species_named,
    telling_marks,
    twins,
)
from fieldmark.data.synthetic.guide import entries
from fieldmark.errors import DataError

PER_CLASS = (2, 1, 1)
some_species = st.sampled_from(SPECIES)
some_index = st.integers(0, 10_000)


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_field_guide(tmp_path_factory.mktemp("guide") / "set", per_class=PER_CLASS)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def near(boxes: list[tuple[int, int, int, int]], margin: int) -> np.ndarray:
    allowed = np.zeros((SIZE, SIZE), bool)
    for x0, y0, x1, y1 in boxes:
        allowed[max(y0 - margin, 0) : y1 + margin, max(x0 - margin, 0) : x1 + margin] = True
    return allowed


# The species


def test_species_differ_pairwise_and_have_a_near_twin() -> None:
    assert len(SPECIES) >= 8
    assert len({one.name for one in SPECIES}) == len(SPECIES)
    for one, other in combinations(SPECIES, 2):
        assert differing_marks(one, other), (one.name, other.name)
    for one in SPECIES:
        assert all(len(differing_marks(one, twin)) == 1 for twin in twins(one))
        assert all(one in twins(twin) for twin in twins(one))


def test_no_mark_alone_names_a_species() -> None:
    for kind, value in MARK_WORDS:
        holders = [one for one in SPECIES if one.marks.as_dict()[kind] == value]
        assert len(holders) >= 2, (kind, value)


def test_every_value_of_a_mark_has_words_and_every_species_something_to_tell_it_by() -> None:
    for one in SPECIES:
        assert tuple(one.marks.as_dict()) == MARK_KINDS
        assert all(value == "none" or (kind, value) in MARK_WORDS for kind, value in one.marks.as_dict().items())
        assert telling_marks(one)
        assert one.name.isascii()
        assert one.description.endswith(".")
        assert any(twin.name.removesuffix("-warbler") in one.description for twin in twins(one))
        assert species_named(one.name) is one


# One picture


@settings(max_examples=6, deadline=None)
@given(some_species, st.integers(0, 2**31), some_index)
def test_a_picture_is_the_same_whenever_it_is_drawn(species: Species, seed: int, index: int) -> None:
    first, again = render_picture(species, seed, index), render_picture(species, seed, index)
    assert first.picture.tobytes() == again.picture.tobytes()
    assert (first.mask == again.mask).all()
    assert first.marks == again.marks
    for other in (render_picture(species, seed + 1, index), render_picture(species, seed, index + 1)):
        assert (first.picture != other.picture).mean() > 0.5


@settings(max_examples=30, deadline=None)
@given(some_species, some_index)
def test_marks_are_small_whole_and_on_the_bird(species: Species, index: int) -> None:
    drawn = render_picture(species, SEED, index)
    assert drawn.picture.shape == (SIZE, SIZE, 3)
    assert drawn.picture.dtype == np.uint8
    rows, columns = np.nonzero(drawn.mask)
    assert drawn.box_xyxy == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    left, top, right, bottom = drawn.box_xyxy
    assert min(left, top) > 2
    assert max(right, bottom) < SIZE - 2
    values = species.marks.as_dict()
    assert set(drawn.marks) == {kind for kind in MARK_KINDS if values[kind] != "none"}
    assert drawn.telling == telling_marks(species) <= set(drawn.marks)
    for kind, (x0, y0, x1, y1) in drawn.marks.items():
        assert 12 <= max(x1 - x0, y1 - y0) <= 40, kind
        assert min(x1 - x0, y1 - y0) >= 3, kind
        assert left <= x0 < x1 <= right, kind
        assert top <= y0 < y1 <= bottom, kind
        assert drawn.mask[y0:y1, x0:x1].mean() > 0.2, kind


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(list(combinations(SPECIES, 2))), some_index)
def test_two_species_in_the_same_scene_differ_around_their_marks_only(
    pair: tuple[Species, Species], index: int
) -> None:
    one, other = (render_picture(species, SEED, index) for species in pair)
    kinds = differing_marks(*pair)
    boxes = [box for drawn in (one, other) for kind, box in drawn.marks.items() if kind in kinds]
    change = np.abs(one.picture.astype(int) - other.picture).max(axis=2)
    assert change.any()
    assert change[~near(boxes, 6)].max() <= 1  # what is left of soft edges
    assert not change[~near(boxes, 8)].any()
    assert not ((one.mask != other.mask) & ~near(boxes, 6)).any()


@settings(max_examples=15, deadline=None)
@given(some_species, some_index)
def test_a_telling_mark_is_plain_to_see(species: Species, index: int) -> None:
    one = render_picture(species, SEED, index)
    for twin in twins(species):
        other = render_picture(twin, SEED, index)
        step = np.abs(one.picture.astype(int) - other.picture).max(axis=2)
        assert (step > 24).sum() >= 16, (species.name, twin.name)


def test_other_sizes() -> None:
    for species in SPECIES:
        small, large = (render_picture(species, 3, 5, size) for size in (128, 512))
        assert small.picture.shape == (128, 128, 3)
        assert set(small.marks) == set(large.marks)
        assert np.allclose(np.array(small.box_xyxy) * 4, large.box_xyxy, atol=14)
    with pytest.raises(ValueError, match="smallest"):
        render_picture(SPECIES[0], 3, 5, 64)


# The set on disk


def test_labels_name_every_picture_and_mask(guide: Path) -> None:
    with (guide / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(PER_CLASS) * len(SPECIES)
    assert {row["path"] for row in rows} == {f"pictures/{p.name}" for p in (guide / "pictures").iterdir()}
    assert {row["mask"] for row in rows} == {f"masks/{p.name}" for p in (guide / "masks").iterdir()}
    for species in SPECIES:
        found = [row["split"] for row in rows if row["label"] == species.name]
        assert tuple(found.count(split) for split in ("train", "val", "test")) == PER_CLASS
    first = rows[7]
    drawn = render_picture(species_named(first["label"]), SEED, 7)
    with Image.open(guide / first["mask"]) as mask:
        assert (np.asarray(mask) == drawn.mask * 255).all()
    with Image.open(guide / first["path"]) as picture:
        assert picture.size == (SIZE, SIZE)
        assert np.abs(np.asarray(picture).astype(int) - drawn.picture).mean() < 5


def test_coco_boxes_agree_with_the_marks_and_the_masks(guide: Path) -> None:
    coco = json.loads((guide / "boxes.json").read_text())
    names = {category["id"]: category["name"] for category in coco["categories"]}
    assert set(names.values()) == {"bird", *MARK_KINDS}
    assert len({one["id"] for one in coco["annotations"]}) == len(coco["annotations"])
    for image in coco["images"]:
        species = species_named(Path(image["file_name"]).stem.split("-", 1)[1].rsplit("-", 1)[0])
        boxes = {names[one["category_id"]]: one for one in coco["annotations"] if one["image_id"] == image["id"]}
        values = species.marks.as_dict()
        assert set(boxes) == {"bird"} | {kind for kind in MARK_KINDS if values[kind] != "none"}
        assert {kind for kind, one in boxes.items() if one["attributes"]["telling"]} == telling_marks(species)
        assert all(one["attributes"]["value"] == values[kind] for kind, one in boxes.items() if kind != "bird")
        with Image.open(guide / image["file_name"].replace("pictures", "masks").replace("jpg", "png")) as mask:
            left, top, right, bottom = mask.getbbox() or (0, 0, 0, 0)
        assert boxes["bird"]["bbox"] == [left, top, right - left, bottom - top]


def test_facts_describe_the_set(guide: Path) -> None:
    facts = json.loads((guide / "field-guide.json").read_text())
    assert facts["seed"] == SEED
    assert facts["size"] == SIZE
    assert facts["counts"] == {"train": 20, "val": 10, "test": 10}
    assert [one["name"] for one in facts["species"]] == [one.name for one in SPECIES]
    assert set(facts["versions"]) == {"numpy", "pillow"}


def test_the_same_bytes_again_and_independent_of_how_many_others_are_drawn(guide: Path, tmp_path: Path) -> None:
    fewer = contents(render_field_guide(tmp_path / "set", per_class=(1, 0, 1)))
    whole = contents(guide)
    pictures = [name for name in fewer if name.endswith((".jpg", ".png"))]
    assert len(pictures) == 2 * 2 * len(SPECIES)
    assert all(fewer[name] == whole[name] for name in pictures)
    again = contents(render_field_guide(tmp_path / "again", per_class=(1, 0, 1)))
    assert again == fewer


def test_no_two_pictures_share_a_scene() -> None:
    numbers = [entry.index for entry in entries()]
    assert len(numbers) == len(set(numbers)) == 1000


def test_a_complete_set_is_returned_at_once(guide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("nothing is to be drawn")

    monkeypatch.setattr(synthetic.guide, "render_picture", refuse)
    assert render_field_guide(guide, per_class=PER_CLASS) == guide


def test_another_folder_is_never_overwritten(guide: Path, tmp_path: Path) -> None:
    before = contents(guide)
    with pytest.raises(DataError, match="other parameters"):
        render_field_guide(guide, per_class=(1, 1, 1))
    with pytest.raises(DataError, match="other parameters"):
        render_field_guide(guide, per_class=PER_CLASS, seed=1)
    assert contents(guide) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(DataError, match="no field guide"):
        render_field_guide(tmp_path / "mine", per_class=PER_CLASS)
    with pytest.raises(DataError, match="no field guide"):
        render_field_guide(tmp_path / "mine" / "letter.txt", per_class=PER_CLASS)
    assert contents(tmp_path) == {"mine/letter.txt": b"dear"}


def test_a_set_that_lost_a_picture_is_not_passed_off_as_whole(tmp_path: Path) -> None:
    folder = render_field_guide(tmp_path / "set", per_class=(1, 0, 0))
    next((folder / "pictures").iterdir()).unlink()
    with pytest.raises(DataError, match="no longer complete"):
        render_field_guide(folder, per_class=(1, 0, 0))


def small_cache(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache in `place` for a set of ten pictures."""
    monkeypatch.setenv("FIELDMARK_CACHE", str(place))
    whole = synthetic.guide.render_field_guide
    monkeypatch.setattr(
        synthetic.guide,
        "render_field_guide",
        lambda out, *, progress=None: whole(out, per_class=(1, 0, 0), progress=progress),
    )


DAMAGE = {
    "half the labels": ("labels.csv", lambda data: data[: len(data) // 2]),
    "other labels": ("labels.csv", lambda data: data.replace(b"train", b"trawn", 1)),
    "half the boxes": ("boxes.json", lambda data: data[: len(data) // 2]),
    "no facts": ("field-guide.json", lambda data: b""),
    "an empty picture": ("pictures", lambda data: b""),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_set_is_not_passed_off_as_whole_and_the_cached_one_is_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    small_cache(tmp_path, monkeypatch)
    folder = cached_field_guide()
    before = contents(folder)
    name, damage = DAMAGE[kind]
    path = sorted((folder / name).iterdir())[0] if name == "pictures" else folder / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"no longer complete|no field guide"):
        synthetic.guide.render_field_guide(folder)
    assert contents(cached_field_guide()) == before


def test_what_killed_drawings_left_is_removed_and_a_drawing_that_goes_on_is_not(tmp_path: Path) -> None:
    parts = {age: tmp_path / f".set.{age:032x}.part" for age in (0, 10_000)}
    mine = tmp_path / ".other.part"
    for age, part in {**parts, 20_000: mine}.items():
        (part / "pictures").mkdir(parents=True)
        for place in (part / "pictures", part):
            os.utime(place, (time.time() - age, time.time() - age))
    render_field_guide(tmp_path / "set", per_class=(1, 0, 0))
    assert {p.name for p in tmp_path.iterdir()} == {"set", parts[0].name, mine.name}


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("FIELDMARK_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"cannot write the field guide to .*; set FIELDMARK_CACHE"):
        cached_field_guide()


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    assert (render_field_guide(tmp_path / "set", per_class=(1, 0, 0)) / "labels.csv").is_file()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_drawing_leaves_nothing(tmp_path: Path, stop: type[BaseException]) -> None:
    def interrupt(_done: int, _total: int) -> None:
        raise stop

    with pytest.raises(stop):
        render_field_guide(tmp_path / "set", per_class=PER_CLASS, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_progress_is_told_and_ends_with_the_total(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    render_field_guide(tmp_path / "set", per_class=(1, 0, 0), progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (10, 10)


def test_the_cached_set_is_drawn_once_and_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_cache(tmp_path, monkeypatch)
    folder = cached_field_guide()
    before = contents(folder)
    (folder / "labels.csv").unlink()
    assert contents(cached_field_guide()) == before


def test_the_plate_shows_every_species(tmp_path: Path) -> None:
    plate(tmp_path / "plate.png")
    with Image.open(tmp_path / "plate.png") as image:
        assert image.size[0] > 2 * image.size[1]
        paper = np.asarray(image.convert("L"))
    assert 0.05 < (paper < 200).mean() < 0.4
