import builtins
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from fieldmark.data import IGNORE, load_mask, mask_classes
from fieldmark.data.masks import MAX_CLASSES, UNKNOWN, mask_values, palette
from fieldmark.data.sources.voc import CLASSES
from fieldmark.errors import DataError, MissingExtraError, PictureError
from fieldmark.types import MaskFile, Outlines, Region, Sample
from tests.making import encoded, turned, write_picture

coco = pytest.importorskip("faster_coco_eval.core.mask")
VALUES = np.array([[0, 1, 2], [3, 255, 0]], np.uint8)
NAMES = ("background", "ash", "oak")


def mask_of(tmp_path: Path, image: Image.Image | np.ndarray, names=NAMES, binary=False, kind="PNG") -> Sample:
    """A sample whose picture is as large as its mask."""
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture = write_picture(tmp_path / "picture.png", size_wh=image.size)
    (tmp_path / "mask").write_bytes(encoded(image, kind))
    return Sample(picture, "picture.png", mask=MaskFile(tmp_path / "mask", names, binary))


def outlined(tmp_path: Path, size_wh: tuple[int, int], *regions: Region) -> Sample:
    return Sample(write_picture(tmp_path / "p.png", size_wh=size_wh), "p.png", mask=Outlines(size_wh, regions))


def runs_of(mask: np.ndarray) -> tuple[int, ...]:
    """Run lengths down the columns, beginning with what is off; recomputed here value by value."""
    runs, current = [0], False
    for value in mask.T.ravel():
        if value != current:
            runs.append(0)
            current = not current
        runs[-1] += 1
    return tuple(runs)


def test_values_become_numbers_of_the_classes_asked_for(tmp_path):
    sample = mask_of(tmp_path, VALUES)
    expected = [[1, 0, UNKNOWN], [IGNORE, IGNORE, 1]]
    assert load_mask(sample, ("ash", "background")).tolist() == expected


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA", "I;16", "I"])
def test_numbers_are_read_from_every_kind_of_picture(tmp_path, mode):
    if mode == "P":
        image = Image.frombytes("P", (3, 2), VALUES.tobytes())
        image.putpalette(palette().ravel().tolist())
    elif mode.startswith("I"):
        image = Image.fromarray(VALUES.astype(np.uint16 if mode == "I;16" else np.int32))
    else:
        image = Image.fromarray(VALUES).convert(mode)
    sample = mask_of(tmp_path, image, kind="TIFF" if mode == "I" else "PNG")
    np.testing.assert_array_equal(mask_values(sample.mask), VALUES)


def test_colours_of_the_voc_palette_are_numbers_and_others_are_refused(tmp_path):
    known = {
        0: (0, 0, 0),
        1: (128, 0, 0),
        2: (0, 128, 0),
        7: (128, 128, 128),
        15: (192, 128, 128),
        255: (224, 224, 192),
    }
    numbers = np.array([list(known)], np.uint8)
    colours = np.array([list(known.values())], np.uint8)
    np.testing.assert_array_equal(palette()[numbers], colours)
    np.testing.assert_array_equal(mask_values(mask_of(tmp_path, colours, CLASSES).mask), numbers)
    with pytest.raises(PictureError, match="colours beyond the VOC palette; save class numbers"):
        mask_values(mask_of(tmp_path, colours + 1, CLASSES).mask)


@pytest.mark.parametrize("on", [1, 255])
def test_a_binary_mask_marks_its_own_class(tmp_path, on):
    sample = mask_of(tmp_path, np.array([[0, on], [on, 0]], np.uint8), ("background", "crack"), binary=True)
    assert load_mask(sample, ("background", "crack", "oak")).tolist() == [[0, 1], [1, 0]]
    assert mask_classes([sample]) == ("background", "crack")


def test_a_binary_mask_saved_as_jpeg_is_cut_in_the_middle(tmp_path):
    values = np.kron([[0, 255], [255, 0]], np.ones((13, 13))).astype(np.uint8)
    sample = mask_of(tmp_path, values, ("background", "crack"), binary=True, kind="JPEG")
    with Image.open(tmp_path / "mask") as image:
        assert len(np.unique(np.array(image))) > 2
    np.testing.assert_array_equal(mask_values(sample.mask), values > 0)


def test_more_than_two_values_without_names_say_what_to_write(tmp_path):
    sample = mask_of(tmp_path, VALUES % 4, ("background", "foreground"), binary=True)
    with pytest.raises(PictureError, match=r"holds values up to 3, .*name the classes of 0, 1, \.\.\. in classes\.txt"):
        load_mask(sample, NAMES)


def test_the_background_comes_first_and_a_class_without_a_pixel_is_none(tmp_path):
    samples = []
    for label, top in (("zinc", 255), ("free", 0), ("ash", 255)):
        (tmp_path / label).mkdir()
        samples.append(mask_of(tmp_path / label, np.full((2, 2), top, np.uint8), ("background", label), binary=True))
    assert mask_classes(samples) == ("background", "ash", "zinc")
    assert load_mask(samples[1], ("background", "ash", "zinc")).max() == 0


def test_classes_that_differ_in_case_or_are_too_many_are_refused(tmp_path):
    def sample(*names: str) -> Sample:
        return Sample(tmp_path, "a", mask=MaskFile(tmp_path, names))

    with pytest.raises(DataError, match="differ only in case"):
        mask_classes([sample("Ash"), sample("ash")])
    with pytest.raises(DataError, match="the masks have 255 classes; at most 254"):
        mask_classes([sample(*map(str, range(MAX_CLASSES + 1)))])
    assert mask_classes([sample("b", "a", "background")]) == ("background", "a", "b")


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_mask_fits_the_upright_picture_whichever_grid_it_is_in(tmp_path, orientation):
    picture = tmp_path / "a.jpg"
    picture.write_bytes(turned(Image.new("RGB", (6, 4)), orientation))
    in_stored = np.arange(24, dtype=np.uint8).reshape(4, 6)
    upright = {1: in_stored, 3: in_stored, 6: np.rot90(in_stored, -1), 8: np.rot90(in_stored)}[orientation]
    names = tuple(map(str, range(24)))
    for values in (in_stored, upright):
        (tmp_path / "m.png").write_bytes(encoded(np.ascontiguousarray(values)))
        found = load_mask(Sample(picture, "a.jpg", mask=MaskFile(tmp_path / "m.png", names)), names)
        np.testing.assert_array_equal(found, upright)


def test_a_mask_that_cannot_be_used_is_said_of_its_picture(tmp_path):
    sample = mask_of(tmp_path, VALUES)
    (tmp_path / "mask").write_bytes(b"no picture")
    with pytest.raises(PictureError, match="the mask mask is not a picture in a known format"):
        load_mask(sample, NAMES)
    (tmp_path / "mask").unlink()
    with pytest.raises(PictureError, match="the mask mask: no such file"):
        load_mask(sample, NAMES)
    with pytest.raises(PictureError, match="there is no mask"):
        load_mask(Sample(sample.path, "a"), NAMES)
    assert mask_classes([mask_of(tmp_path, VALUES), Sample(sample.path, "a")]) == NAMES


def test_without_regions_all_is_background(tmp_path):
    sample = Sample(write_picture(tmp_path / "p.png", size_wh=(5, 3)), "p", mask=Outlines())
    assert load_mask(sample, NAMES).tolist() == [[0] * 5] * 3
    assert load_mask(sample, NAMES[1:]).tolist() == [[UNKNOWN] * 5] * 3


def test_later_regions_lie_over_earlier_ones(tmp_path):
    def square(label: str, low: float, high: float) -> Region:
        return Region(label, (np.array([[low, low], [high, low], [high, high], [low, high]], np.float32),))

    sample = outlined(tmp_path, (6, 6), square("oak", 0, 4), square("ash", 2, 6))
    expected = np.zeros((6, 6), int)
    expected[:4, :4], expected[2:, 2:] = 2, 1
    assert load_mask(sample, NAMES).tolist() == expected.tolist()
    assert mask_classes([sample]) == NAMES


def test_a_region_of_several_polygons_is_all_of_them(tmp_path):
    parts = [np.array([[x, 0], [x + 2, 0], [x + 2, 2], [x, 2]], np.float32) for x in (0, 4)]
    sample = outlined(tmp_path, (6, 2), Region("ash", tuple(parts)))
    assert load_mask(sample, NAMES).tolist() == [[1, 1, 0, 0, 1, 1]] * 2


@settings(deadline=None, max_examples=60)
@given(arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_run_lengths_of_any_mask_draw_that_mask(mask):
    size_wh = mask.shape[::-1]
    runs = runs_of(mask)
    text = coco.encode(np.asfortranarray(mask, np.uint8))["counts"]
    for written in (runs, text if isinstance(text, str) else text.decode("ascii")):
        drawn = mask_values(Outlines(size_wh, (Region("ash", runs=written),)))
        np.testing.assert_array_equal(drawn, mask)


@settings(deadline=None, max_examples=40)
@given(st.text(st.characters(codec="ascii"), min_size=1, max_size=30) | st.lists(st.integers(0, 2**31), max_size=9))
def test_run_lengths_that_are_none_are_a_picture_error_at_worst(runs):
    region = Region("ash", runs=runs if isinstance(runs, str) else tuple(runs))
    try:
        assert mask_values(Outlines((7, 5), (region,))).shape == (5, 7)
    except PictureError as error:
        assert "an outline of 'ash' cannot be drawn" in str(error)  # noqa: PT017


FAR = st.floats(-1e9, 1e9, width=32)


@settings(deadline=None, max_examples=40)
@given(arrays(np.float32, st.tuples(st.integers(3, 9), st.just(2)), elements=FAR))
def test_polygons_that_reach_anywhere_are_drawn_within_the_picture(points):
    assert mask_values(Outlines((9, 7), (Region("ash", (points,)),))).shape == (7, 9)


NEAR = st.lists(st.tuples(st.floats(-12, 30, width=32), st.floats(-12, 30, width=32)), min_size=3, max_size=9)


@settings(deadline=None, max_examples=150)
@given(st.lists(NEAR, min_size=1, max_size=3), st.integers(1, 19), st.integers(1, 19))
def test_what_is_drawn_around_a_region_is_what_is_drawn_in_the_whole(polygons, width, height):
    points = [np.array(p, np.float32) for p in polygons]
    limits = [np.clip(p, [-width, -height], [2 * width, 2 * height]) for p in points]
    whole = coco.decode(coco.merge(coco.frPyObjects([p.ravel().tolist() for p in limits], height, width)))
    found = mask_values(Outlines((width, height), (Region("ash", tuple(points)),)))
    np.testing.assert_array_equal(found, whole)
    assert found.flags.c_contiguous


def test_many_small_outlines_in_a_large_picture_are_drawn():
    square = np.array([[0, 0], [9, 0], [9, 9], [0, 9]], np.float32)
    at = [np.array([20 * (i % 50), 20 * (i // 50)], np.float32) for i in range(2500)]
    found = mask_values(Outlines((5000, 5000), tuple(Region("ash", (square + place,)) for place in at)))
    assert found.sum() == 2500 * 81
    assert found[20 * 49 + 8, 20 * 49 + 8] == 1


def test_a_polygon_covers_the_pixels_whose_middle_is_inside(tmp_path):
    rng = np.random.default_rng(0)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 25))
    points = np.array([60, 50]) + rng.uniform(20, 45, (25, 1)) * np.stack([np.cos(angles), np.sin(angles)], 1)
    found = mask_values(Outlines((120, 100), (Region("ash", (points.astype(np.float32),)),))) > 0
    y, x = np.mgrid[0:100, 0:120] + 0.5
    inside = np.zeros((100, 120), bool)
    for (ax, ay), (bx, by) in zip(points, np.roll(points, -1, 0), strict=True):  # even-odd rule
        crosses = (ay > y) != (by > y)
        inside ^= crosses & (x < ax + (y - ay) / (by - ay) * (bx - ax))
    assert (found & inside).sum() / (found | inside).sum() > 0.97


def test_an_endless_outline_is_refused(tmp_path):
    zigzag = np.tile(np.array([[0, 0], [2000, 2000]], np.float32), (3000, 1))
    with pytest.raises(PictureError, match="longer than any outline of a thing"):
        mask_values(Outlines((2000, 2000), (Region("ash", (zigzag,)),)))


def test_what_would_draw_for_hours_is_refused():
    with pytest.raises(PictureError, match="30 outlines in 9000 x 9000 pixels take too long to draw"):
        mask_values(Outlines((9000, 9000), (Region("ash", runs=(81_000_000,)),) * 30))
    square = np.array([[5, 5], [2900, 5], [2900, 2900], [5, 2900]], np.float32)
    with pytest.raises(PictureError, match="2,200 outlines in 3000 x 3000 pixels take too long to draw"):
        mask_values(Outlines((3000, 3000), (Region("ash", (square,)),) * 2200))
    zigzag = np.tile(np.array([[0, 0], [900, 900]], np.float32), (2500, 1))
    with pytest.raises(PictureError, match="20 outlines in 900 x 900 pixels take too long to draw"):
        mask_values(Outlines((900, 900), (Region("ash", (zigzag,)),) * 20))
    with pytest.raises(PictureError, match="outlines in more than 100 million pixels"):
        mask_values(Outlines((90_000, 90_000), (Region("ash", runs=(1,)),)))


def test_without_the_package_that_draws_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def missing(name: str, *more, **named):
        if name.startswith("faster_coco_eval"):
            raise ImportError(name)
        return real(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingExtraError, match=r"drawing outlines needs more packages: .*fieldmark\[detect\]"):
        mask_values(Outlines((2, 2), (Region("ash", runs=(4,)),)))
