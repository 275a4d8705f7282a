import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cutpoint.sdk import InputError
from cutpoint.sdk.bundle import Preprocessing
from cutpoint.sdk.pictures import open_picture, to_boundary0


def gradient(width: int, height: int) -> Image.Image:
    x = np.linspace(0, 255, width)[None, :, None]
    y = np.linspace(0, 255, height)[:, None, None]
    return Image.fromarray(np.broadcast_to((x + y) / 2, (height, width, 3)).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@settings(max_examples=50, deadline=None)
@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    size=st.tuples(st.integers(1, 64), st.integers(1, 64)),
    way=st.sampled_from(["stretch", "crop", "letterbox"]),
)
def test_any_picture_becomes_boundary_0(width: int, height: int, size: tuple[int, int], way: str) -> None:
    options = {"resize": max(size) + 3} if way == "crop" else {"letterbox": way == "letterbox"}
    how = Preprocessing(height=size[0], width=size[1], **options)  # type: ignore[arg-type]
    tensor = to_boundary0(gradient(width, height), how)
    assert tensor.shape == (1, *size, 3)
    assert tensor.dtype == np.uint8


def test_crop_takes_the_centre() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    image[40:60, 90:110] = 255
    tensor = to_boundary0(image, Preprocessing(height=20, width=20, resize=100))
    assert tensor.min() == 255


def test_letterbox_keeps_the_ratio_top_left_and_pads() -> None:
    tensor = to_boundary0(gradient(100, 50), Preprocessing(height=40, width=40, letterbox=True, pad=114))
    assert (tensor[0, 20:] == 114).all()
    assert tensor[0, :20].std() > 10


def test_the_right_size_is_taken_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3)).astype(np.uint8)
    how = Preprocessing(height=32, width=48, resize=64)
    for given_image in (image, image[None]):
        np.testing.assert_array_equal(to_boundary0(given_image, how)[0], image)


def test_encoded_paths_and_orientation(tmp_path: Path) -> None:
    image = gradient(40, 20)
    exif = image.getexif()
    exif[0x0112] = 6  # rotated by a quarter
    data = encoded(image, "JPEG", exif=exif, quality=95)
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    for form in (data, bytearray(data), memoryview(data), path, str(path)):
        assert open_picture(form).size == (20, 40)
    assert open_picture(encoded(image.convert("RGBA"), "PNG")).mode == "RGB"
    assert open_picture(encoded(image.convert("L"), "PNG")).mode == "RGB"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"", "not a picture"),
        (b"\xff\xd8\xff\xe0 broken", "picture"),
        ("/nowhere/x.jpg", "cannot be read"),
        (np.zeros((4, 4, 2), np.uint8), "not a picture"),
        (np.zeros((4, 4, 3), np.float64), "float64"),
        (None, "NoneType is not a picture"),
    ],
)
def test_what_is_no_picture_is_named(bad: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_picture(bad)  # type: ignore[arg-type]


def test_truncated_jpeg_is_an_error() -> None:
    data = encoded(gradient(64, 64), "JPEG")
    with pytest.raises(InputError, match="not a readable picture"):
        open_picture(data[: len(data) // 2])
