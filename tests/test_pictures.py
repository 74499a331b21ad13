import io
import os
import random
import resource
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image, features

from fieldmark import pictures
from fieldmark.errors import PictureError, UsageError
from fieldmark.types import Preprocess
from tests.making import encoded, huge_png, smooth, write_picture

TRUTH = smooth(40, 24)
QUIET = pytest.mark.filterwarnings("ignore:::PIL")  # as pictures.py does for everyone; pytest sets its own for a test
AVIF = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
SEED_FILES = [
    encoded(TRUTH, "JPEG"),
    encoded(TRUTH, "JPEG", progressive=True, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"),
    encoded(TRUTH, "PNG"),
    encoded(Image.fromarray(TRUTH).convert("P"), "PNG", transparency=3),
    encoded(Image.fromarray(TRUTH).convert("P"), "GIF"),
    encoded(TRUTH, "TIFF"),
    encoded(TRUTH, "TIFF", compression="tiff_lzw"),
    encoded(TRUTH, "BMP"),
    encoded(TRUTH, "WEBP"),
]


def decoded(data: bytes) -> np.ndarray:
    image = pictures.decode(data)
    assert image.mode == "RGB"
    return np.asarray(image)


def near(a: np.ndarray, b: np.ndarray, mean: float = 4.0) -> bool:
    return a.shape == b.shape and np.abs(a.astype(float) - b.astype(float)).mean() < mean


TURNED_WRONG = {  # what a camera with this EXIF orientation stores, for the upright picture
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", pytest.param("AVIF", marks=AVIF)])
@pytest.mark.parametrize("orientation", TURNED_WRONG)
def test_a_picture_is_turned_upright_as_its_exif_says(orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(TURNED_WRONG[orientation](TRUTH))
    options = {"lossless": True} if kind == "WEBP" else {"subsampling": 0} if kind == "JPEG" else {}
    assert near(decoded(encoded(stored, kind, exif=exif, **options)), TRUTH)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_leaves_the_picture_as_it_is(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(decoded(encoded(TRUTH, "PNG", exif=exif)), TRUTH)


@QUIET
def test_broken_exif_never_makes_a_good_picture_unusable():
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    exif[0x8769] = {0x9003: "2020:01:01 00:00:00", 0x829A: (1, 30)}
    exif[0x8825] = {1: "N", 2: (1.0, 2.0, 3.0)}
    rng = random.Random(0)
    for _ in range(300):
        raw = bytearray(exif.tobytes())
        for _ in range(rng.randint(1, 6)):
            raw[rng.randrange(6, len(raw))] = rng.randrange(256)
        image = pictures.decode(encoded(TRUTH, "JPEG", exif=bytes(raw)))
        assert sorted(image.size) == [24, 40]


def test_grey_pictures_become_rgb():
    grey = TRUTH[:, :, 0]
    assert np.array_equal(decoded(encoded(grey)), np.dstack([grey] * 3))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_alpha_lies_over_white(kind):
    rgba = np.dstack([TRUTH, np.full((24, 40), 255, np.uint8)])
    rgba[:12, :, 3] = 0
    rgba[12:, :20, 3] = 128
    options = {"lossless": True} if kind == "WEBP" else {}
    found = decoded(encoded(rgba, kind, **options))
    assert (found[:12] == 255).all()
    assert np.array_equal(found[12:, 20:], TRUTH[12:, 20:])
    blended = TRUTH[12:, :20] * (128 / 255) + 255 * (1 - 128 / 255)
    assert np.abs(found[12:, :20] - blended).max() <= 1.5


def test_grey_with_alpha_lies_over_white():
    la = np.dstack([TRUTH[:, :, 0], np.zeros((24, 40), np.uint8)])
    la[:, 20:, 1] = 255
    found = decoded(encoded(Image.merge("LA", _planes(la))))
    assert (found[:, :20] == 255).all()
    assert np.array_equal(found[:, 20:, 1], TRUTH[:, 20:, 0])


def _planes(array: np.ndarray) -> list[Image.Image]:
    return [Image.fromarray(np.ascontiguousarray(array[:, :, k])) for k in range(array.shape[2])]


def test_a_palette_picture_shows_its_colours():
    palette = Image.fromarray(TRUTH).quantize(16)
    assert np.array_equal(decoded(encoded(palette)), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize("transparency", [0, bytes([0, 128, 255, 255])])
def test_transparent_colours_of_a_palette_lie_over_white(transparency):
    palette = Image.new("P", (4, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 1, 2, 3])
    for x in range(4):
        palette.putpixel((x, 0), x)
    found = decoded(encoded(palette, transparency=transparency))
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[0, 2].tolist() == [70, 80, 90]


def test_the_transparent_colour_of_an_rgb_png_lies_over_white():
    two = np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)
    found = decoded(encoded(two, transparency=(255, 0, 0)))
    assert found.tolist() == [[[255, 255, 255], [0, 0, 255]]]


def test_a_cmyk_jpeg_has_its_colours():
    assert near(decoded(encoded(Image.fromarray(TRUTH).convert("CMYK"), "JPEG", quality=95)), TRUTH, mean=8)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_to_eight(kind):
    deep = np.array([[0, 257, 32896, 65535]], np.uint16)
    assert decoded(encoded(deep, kind))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_a_dark_sixteen_bit_picture_stays_dark():
    assert decoded(encoded(np.full((2, 2), 200, np.uint16), "TIFF")).max() <= 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 100, 255]], np.int32), [0, 100, 255]),
        (np.array([[-5, 32896, 65535]], np.int32), [0, 128, 255]),
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[0, 100, 255]], np.float32), [0, 100, 255]),
        (np.array([[np.nan, -3e38, 1]], np.float32), [0, 0, 255]),
        (np.array([[0, np.inf, np.inf]], np.float32), [0, 255, 255]),
    ],
)
def test_deep_tiffs_are_scaled_by_their_range(values, expected):
    assert decoded(encoded(values, "TIFF"))[0, :, 2].tolist() == expected


def test_a_one_bit_picture_is_black_and_white():
    bits = Image.fromarray(TRUTH).convert("1")
    assert np.array_equal(decoded(encoded(bits))[:, :, 0], np.asarray(bits) * np.uint8(255))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", pytest.param("AVIF", marks=AVIF), "PNG", "TIFF"])
def test_the_first_frame_of_an_animation_is_taken(kind):
    frames = [Image.fromarray(smooth(40, 24, seed)) for seed in (0, 1, 2)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert near(decoded(data), TRUTH, mean=12)


def test_a_progressive_jpeg_decodes():
    assert near(decoded(encoded(TRUTH, "JPEG", progressive=True, quality=95)), TRUTH)


def test_an_mpo_gives_its_first_picture():
    frames = [Image.fromarray(smooth(40, 24, seed)) for seed in (0, 1)]
    data = encoded(frames[0], "MPO", save_all=True, append_images=frames[1:])
    assert near(decoded(data), TRUTH)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", pytest.param("AVIF", marks=AVIF)])
@QUIET
def test_a_truncated_picture_is_reported(kind):
    data = encoded(smooth(200, 200), kind)
    with pytest.raises(PictureError):
        pictures.decode(data[: len(data) // 2])


@pytest.mark.parametrize(
    "data", [b"hello, I am a text file\n" * 50, b"%PDF-1.7", b"\xff\xd8\xff", b"<svg/>", b"\0" * 500]
)
@QUIET
def test_what_is_no_picture_is_reported(data):
    with pytest.raises(PictureError, match=r"not a picture in a known format|broken or truncated"):
        pictures.decode(data)


@pytest.mark.parametrize("size", [(30_000, 30_000), (60_000, 60_000), (100_000_001, 1), (10_001, 10_000)])
@QUIET
def test_a_picture_that_claims_enormous_size_is_refused_before_it_is_decoded(size):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PictureError, match="million pixels; make it smaller"):
        pictures.decode(huge_png(*size))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_reading_takes_what_the_file_holds_and_no_more(tmp_path):
    assert pictures.read_bytes(write_picture(tmp_path / "a.png"))[:4] == b"\x89PNG"


def test_a_file_over_the_limit_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "MAX_BYTES", 2_000_000)
    with (tmp_path / "a.jpg").open("wb") as stream:
        stream.truncate(2_000_001)
    with pytest.raises(PictureError, match="larger than 2 MB"):
        pictures.read_bytes(tmp_path / "a.jpg")


@pytest.mark.parametrize("name", ["missing.jpg", "a\0b.jpg", "missing/x.jpg"])
def test_a_missing_file_is_reported(tmp_path, name):
    with pytest.raises(PictureError, match="no such file"):
        pictures.read_bytes(tmp_path / name)


def test_an_empty_file_is_reported(tmp_path):
    (tmp_path / "a.jpg").touch()
    with pytest.raises(PictureError, match="empty"):
        pictures.read_bytes(tmp_path / "a.jpg")


def test_a_folder_named_as_a_picture_is_reported(tmp_path):
    (tmp_path / "a.jpg").mkdir()
    with pytest.raises(PictureError, match="not a file"):
        pictures.read_bytes(tmp_path / "a.jpg")


def test_a_pipe_named_as_a_picture_is_reported_and_not_waited_for(fifo):
    with pytest.raises(PictureError, match="not a file"):
        pictures.read_bytes(fifo("a.jpg"))


def test_a_device_is_reported():
    with pytest.raises(PictureError, match="not a file"):
        pictures.read_bytes(Path("/dev/zero"))


def test_a_name_too_long_is_reported(tmp_path):
    with pytest.raises(PictureError, match="too long"):
        pictures.read_bytes(tmp_path / ("x" * 5000))


def test_a_dangling_link_is_reported(tmp_path):
    (tmp_path / "a.jpg").symlink_to(tmp_path / "nowhere")
    with pytest.raises(PictureError, match="no such file"):
        pictures.read_bytes(tmp_path / "a.jpg")


def test_a_link_to_itself_is_reported(tmp_path):
    (tmp_path / "a.jpg").symlink_to(tmp_path / "a.jpg")
    with pytest.raises(PictureError, match="cannot be read"):
        pictures.read_bytes(tmp_path / "a.jpg")


def test_an_unreadable_file_is_reported(tmp_path, monkeypatch):
    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    path = write_picture(tmp_path / "a.jpg")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(PictureError, match="cannot be read: Permission denied"):
        pictures.read_bytes(path)


@given(st.binary(max_size=300))
@settings(deadline=None, max_examples=150)
@QUIET
def test_random_bytes_give_a_picture_or_a_picture_error(data):
    _picture_or_error(data)


@given(st.sampled_from(SEED_FILES), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=12), st.data())
@settings(deadline=None, max_examples=250, suppress_health_check=[HealthCheck.too_slow])
@QUIET
def test_damaged_files_give_a_picture_or_a_picture_error(data, changes, draw):
    damaged = bytearray(data)
    for place, value in changes:
        damaged[int(place * (len(damaged) - 1))] = value
    if draw.draw(st.booleans()):
        damaged = damaged[: draw.draw(st.integers(0, len(damaged)))]
    _picture_or_error(bytes(damaged))


def _picture_or_error(data: bytes) -> None:
    sentence, found = "", np.zeros((12, 16, 3), np.uint8)
    try:
        found = pictures.load(data, Preprocess((16, 12)))
    except PictureError as error:
        sentence = str(error)
    assert "\n" not in sentence
    assert found.shape == (12, 16, 3)
    assert found.dtype == np.uint8


def test_no_warning_of_a_strange_picture_reaches_the_user(tmp_path):
    tiff = bytearray(encoded(TRUTH, "TIFF"))
    strange = [
        bytes(tiff[:-60]),
        encoded(TRUTH, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"),
        encoded(np.zeros((2, 2), np.float32) - 3e38, "TIFF"),
        huge_png(9_500, 9_500),
        huge_png(60_000, 60_000),
        b"nothing",
    ]
    names = []
    for number, data in enumerate(strange):
        names.append(str(tmp_path / f"{number}.bin"))
        Path(names[-1]).write_bytes(data)
    code = (
        "import sys\nfrom pathlib import Path\nfrom fieldmark import errors, pictures\n"
        "for name in sys.argv[1:]:\n"
        "    try: pictures.decode(Path(name).read_bytes())\n"
        "    except errors.PictureError: pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code, *names], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_only_pillows_own_warnings_are_silenced():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        warnings.warn("mine", UserWarning, stacklevel=1)
    assert [str(w.message) for w in seen] == ["mine"]


@pytest.mark.parametrize("size_wh", [(2400, 1600), (1601, 2399), (900, 901)])
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_a_large_jpeg_decoded_small_is_nearly_the_same_input(size_wh, orientation, fit):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(smooth(*size_wh), "JPEG", exif=exif, quality=90)
    preprocess = Preprocess((96, 64), fit, "bicubic")
    quick = pictures.load(data, preprocess)
    full = pictures.resize(pictures.decode(data), preprocess)
    assert pictures.decode(data, preprocess.size_wh).width < pictures.decode(data).width
    difference = np.abs(quick.astype(int) - full.astype(int))
    assert difference.mean() < 1
    assert np.quantile(difference, 0.99) <= 6


@given(st.integers(1, 700), st.integers(1, 700), st.integers(1, 80), st.integers(1, 80))
@settings(deadline=None, max_examples=40)
def test_a_jpeg_is_never_decoded_below_twice_the_size_asked_for(width, height, w, h):
    image = pictures.decode(encoded(np.zeros((height, width, 3), np.uint8), "JPEG"), (w, h))
    assert image.width >= min(width, 2 * w)
    assert image.height >= min(height, 2 * h)


@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(1, 64),
    st.integers(1, 64),
    st.sampled_from(["squash", "crop", "pad"]),
    st.sampled_from(["bilinear", "bicubic", "lanczos", "box"]),
)
@example(10_000, 1, 224, 224, "pad", "bilinear")
@example(1, 10_000, 224, 224, "crop", "bilinear")
@settings(deadline=None, max_examples=80)
def test_every_shape_becomes_the_networks_input(width, height, w, h, fit, resample):
    found = pictures.from_array(np.full((height, width), 90, np.uint8), Preprocess((w, h), fit, resample))
    assert found.shape == (h, w, 3)
    assert found.dtype == np.uint8
    assert set(np.unique(found)) <= {90, 127}
    assert fit == "pad" or (found == 90).all()


def test_squash_keeps_everything():
    picture = np.zeros((20, 40, 3), np.uint8)
    picture[:, 20:] = 200
    found = pictures.from_array(picture, Preprocess((10, 10), "squash", "box"))
    assert (found[:, :5] == 0).all()
    assert (found[:, 5:] == 200).all()


def test_crop_keeps_the_centre_and_the_aspect_ratio():
    picture = np.zeros((20, 40, 3), np.uint8)
    picture[:, 10:30] = 200
    assert (pictures.from_array(picture, Preprocess((10, 10), "crop", "box")) == 200).all()


def test_pad_keeps_everything_between_grey_borders():
    picture = np.full((20, 40, 3), 200, np.uint8)
    found = pictures.from_array(picture, Preprocess((20, 20), "pad"))
    assert (found[5:15] == 200).all()
    assert (found[:5] == pictures.GREY[0]).all()
    assert (found[15:] == pictures.GREY[0]).all()


def test_a_box_is_cut_and_resized():
    picture = np.zeros((20, 40, 3), np.uint8)
    picture[5:10, 10:20] = 77
    found = pictures.resize(Image.fromarray(picture), Preprocess((8, 8), "crop", "box"), box=(10, 5, 20, 10))
    assert (found == 77).all()


def test_a_file_its_bytes_and_its_array_are_the_same_input(tmp_path):
    path = write_picture(tmp_path / "a.png")
    preprocess = Preprocess((16, 16))
    whole = np.asarray(Image.open(io.BytesIO(path.read_bytes())))
    for found in (pictures.load(path.read_bytes(), preprocess), pictures.from_array(whole, preprocess)):
        assert np.array_equal(found, pictures.load(path, preprocess))


def test_an_array_may_be_any_view():
    preprocess = Preprocess((12, 12))
    assert np.array_equal(
        pictures.from_array(TRUTH[::-1, ::-2], preprocess), pictures.from_array(TRUTH[::-1, ::-2].copy(), preprocess)
    )


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3)),
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
    ],
)
def test_arrays_of_other_kinds_are_refused(array):
    with pytest.raises(PictureError, match="an array must be uint8"):
        pictures.from_array(array, Preprocess((8, 8)))


def test_an_array_too_large_is_refused():
    array = np.broadcast_to(np.uint8(0), (20_000, 20_000, 3))
    with pytest.raises(PictureError, match="million pixels"):
        pictures.from_array(array, Preprocess((8, 8)))


def test_pictures_are_found_below_a_folder_in_order_of_name(tmp_path):
    for name in ("b.JPG", "a/z.png", "a/b/c.webp", "c d.jpeg", "鳥/雀.jpg", "quote'\".gif", "line\nbreak.bmp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in (".hidden.jpg", ".git/x.jpg", "notes.txt", "Thumbs.db"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [p.relative_to(tmp_path).as_posix() for p in pictures.find_pictures(tmp_path)]
    expected = ["a/b/c.webp", "a/z.png", "b.JPG", "c d.jpeg", "line\nbreak.bmp", "quote'\".gif", "鳥/雀.jpg"]
    assert found == expected


def test_folders_that_hold_themselves_are_walked_once(tmp_path):
    write_picture(tmp_path / "a" / "1.png")
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert [p.relative_to(tmp_path).as_posix() for p in pictures.find_pictures(tmp_path)] == ["a/1.png"]


def test_a_folder_that_cannot_be_read_says_so(tmp_path, monkeypatch):
    def refuse(self: Path):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(UsageError, match="cannot be read: Permission denied"):
        list(pictures.find_pictures(tmp_path))


def test_names_that_are_no_utf_8_are_found(tmp_path):
    (tmp_path / os.fsdecode(b"bird\xff.jpg")).write_bytes(encoded(TRUTH, "JPEG"))
    (found,) = pictures.find_pictures(tmp_path)
    assert near(np.asarray(pictures.decode(pictures.read_bytes(found))), TRUTH)


def test_every_suffix_is_of_a_format_that_is_decoded():
    Image.init()
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in (*pictures.FORMATS, "MPO")}
    assert known >= pictures.SUFFIXES - (set() if features.check("avif") else {".avif"})


STRANGE_TIFF = """
import io, sys
from PIL import Image
from fieldmark import pictures
from fieldmark.errors import PictureError
out = io.BytesIO()
Image.new("RGB", (9, 9)).save(out, "TIFF", tiffinfo={})
data = bytearray(out.getvalue())
place = data.index(bytes((0x15, 1, 3, 0)))  # SamplesPerPixel, 277
data[place + 8] = 200
try:
    pictures.decode(bytes(data))
except PictureError:
    sys.exit(7)
"""


def test_nothing_that_pillow_logs_of_a_strange_picture_reaches_stderr():
    done = subprocess.run([sys.executable, "-c", STRANGE_TIFF], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (7, b"")


@pytest.mark.parametrize(
    ("fit", "expected"),
    [("squash", (0, 0, 60, 30)), ("crop", (15, 0, 45, 30)), ("pad", (0, -15, 60, 45))],
)
def test_what_the_network_sees_of_a_picture(fit, expected):
    assert pictures.seen_box((60, 30), Preprocess((32, 32), fit)) == pytest.approx(expected)


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_the_whole_region_of_an_unpadded_view_is_the_view(fit):
    image = Image.fromarray(smooth(40, 40, 2))
    preprocess = Preprocess((24, 24), fit)
    assert np.array_equal(
        pictures.resize_region(image, preprocess, (0.0, 0.0, 1.0, 1.0)), pictures.resize(image, preprocess)
    )


@given(st.integers(1, 80), st.integers(1, 80), st.sampled_from(["squash", "crop", "pad"]), st.floats(0, 0.9))
def test_any_region_of_any_picture_is_an_input(width, height, fit, corner):
    image = Image.new("RGB", (width, height), (10, 20, 30))
    found = pictures.resize_region(image, Preprocess((8, 8), fit), (corner, 0.9 - corner, corner + 0.1, 1.0 - corner))
    assert found.shape == (8, 8, 3)
    assert (found == (10, 20, 30)).all()


def test_a_region_is_decoded_sharply(tmp_path):
    path = tmp_path / "large.jpg"
    path.write_bytes(encoded(smooth(1600, 1200, 3), "JPEG", quality=95))
    preprocess, region = Preprocess((64, 64)), (0.25, 0.5, 0.5, 0.75)
    exact = pictures.resize(pictures.decode(path.read_bytes()), preprocess, (400, 600, 800, 900))
    assert np.abs(pictures.load(path, preprocess, region).astype(int) - exact).max() <= 6
