import numpy as np
import pytest
from PIL import Image

from fieldmark import pictures
from fieldmark.data.frame import Frame, has_shape, read_frame, settle, turn_upright
from fieldmark.errors import PictureError
from tests.making import encoded, huge_png, turned, write_picture

BOX = (3, 2, 9, 5)  # xyxy, in a stored picture of 16 x 8


def stored(orientation: int, kind: str = "PNG") -> bytes:
    """A black picture of 16 x 8 stored pixels with a white box, and an EXIF orientation."""
    values = np.zeros((8, 16, 3), np.uint8)
    values[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 255
    return turned(Image.fromarray(values), orientation, kind)


def boxes(*corners: float) -> np.ndarray:
    return np.array([corners], np.float64)


def around_white(values: np.ndarray) -> list[int]:
    rows, columns = np.nonzero(values > 127)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_frame_is_that_of_the_decoded_picture(tmp_path, orientation, kind):
    path = tmp_path / "a"
    path.write_bytes(stored(orientation, kind))
    assert read_frame(path).size_wh == pictures.decode(path.read_bytes()).size


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_box_of_stored_pixels_moves_with_the_picture(tmp_path, orientation):
    path = tmp_path / "a.png"
    path.write_bytes(stored(orientation))
    upright = np.array(pictures.decode(path.read_bytes()))[..., 0]
    xyxy, grid_wh, said = settle(boxes(*BOX), (16, 8), read_frame(path))
    assert xyxy.tolist() == [around_white(upright)]
    assert (grid_wh, said) == ((16, 8), "")
    in_stored = np.zeros((8, 16), np.uint8)
    in_stored[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 255
    np.testing.assert_array_equal(turn_upright(in_stored, read_frame(path)), upright)


@pytest.mark.parametrize("given_wh", [None, (8, 16)])
def test_a_box_of_upright_pixels_or_without_a_size_stays(given_wh):
    xyxy, grid_wh, said = settle(boxes(1, 2, 3, 4), given_wh, Frame((8, 16), 6))
    assert (xyxy.tolist(), grid_wh, said) == ([[1, 2, 3, 4]], (8, 16), "")


def test_an_annotation_of_a_larger_copy_is_scaled_and_said():
    xyxy, grid_wh, said = settle(boxes(10, 20, 30, 40), (200, 100), Frame((100, 50)))
    assert (xyxy.tolist(), grid_wh) == ([[5, 10, 15, 20]], (200, 100))
    assert "the annotation is of 200 x 100 pixels, the picture has 100 x 50; scaled to it" in said


def test_a_size_that_its_own_boxes_contradict_does_not_count():
    xyxy, grid_wh, said = settle(boxes(10, 20, 90, 40), (50, 25), Frame((100, 50)))
    assert (xyxy.tolist(), grid_wh) == ([[10, 20, 90, 40]], (100, 50))
    assert "in which the boxes lie" in said


def test_an_annotation_of_another_picture_is_refused():
    with pytest.raises(
        PictureError, match="the annotation is of 50 x 50 pixels, the picture has 100 x 50; annotate this picture"
    ):
        settle(boxes(10, 20, 30, 40), (50, 50), Frame((100, 50)))


def test_shapes_may_differ_by_rounding():
    assert has_shape((640, 427), (320, 213))
    assert not has_shape((640, 427), (320, 220))


def test_a_smaller_mask_of_the_same_shape_is_enlarged_without_new_values():
    values = np.array([[0, 7], [255, 3]], np.uint8)
    np.testing.assert_array_equal(turn_upright(values, Frame((4, 4))), np.kron(values, np.ones((2, 2), np.uint8)))


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(PictureError, match="the mask has 2 x 2 pixels, the picture 4 x 9"):
        turn_upright(np.zeros((2, 2), np.uint8), Frame((4, 9)))


def test_what_is_no_picture_has_no_frame(tmp_path, fifo):
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "huge.png").write_bytes(huge_png(60_000, 60_000))
    for path, said in (
        (tmp_path / "a.jpg", "not a picture in a known format, or broken"),
        (tmp_path / "none.jpg", "no such file"),
        (fifo("b.jpg"), "no such file"),
        (tmp_path / "huge.png", "million pixels"),
    ):
        with pytest.raises(PictureError, match=said):
            read_frame(path)


def test_a_tiff_opened_by_the_caller_is_turned_once(tmp_path):
    write_picture(tmp_path / "x.png")
    path = tmp_path / "a.tiff"
    path.write_bytes(stored(6, "TIFF"))
    fit = pictures.Preprocess((8, 16))
    with Image.open(path) as image:
        np.testing.assert_array_equal(pictures.from_image(image, fit), pictures.load(path, fit))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_leaves_the_picture_as_it_is(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encoded(Image.new("RGB", (6, 4)), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"))
    assert read_frame(tmp_path / "a.jpg") == Frame((6, 4), 1)
