"""Pictures into boundary 0: the geometry of `Preprocessing`, with Pillow."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Preprocessing
from cutpoint.sdk.errors import InputError

__all__ = ["Picture", "open_picture", "to_boundary0"]

#: What the client takes as a picture: PIL, an array uint8 (height, width, 3), encoded (JPEG, PNG, WebP …), or a path.
Picture = Image.Image | Array | bytes | bytearray | memoryview | str | os.PathLike[str]

#: A picture of more pixels is refused before it is decoded: it could not come from a camera.
MAX_PIXELS = 200_000_000

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def open_picture(picture: Picture) -> Image.Image:
    """A decoded RGB picture, upright.

    Args:
        picture: see `Picture`. Grey arrays (height, width) are taken too.

    Raises:
        InputError: if it cannot be read, or is no picture.
    """
    if isinstance(picture, Image.Image):
        return picture.convert("RGB")
    if isinstance(picture, np.ndarray):
        if (
            picture.dtype != np.uint8
            or picture.ndim not in (2, 3)
            or (picture.ndim == 3 and picture.shape[2] not in (3, 4))
        ):
            raise InputError(
                f"an array {picture.dtype}{list(picture.shape)} is not a picture: give uint8 (height, width, 3)"
            )
        return Image.fromarray(picture).convert("RGB")
    if isinstance(picture, str | os.PathLike):
        path = Path(picture)
        try:
            return _decode(path.read_bytes(), str(path))
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    if isinstance(picture, bytes | bytearray | memoryview):
        return _decode(bytes(picture), "the picture")
    raise InputError(f"{type(picture).__name__} is not a picture: give an array, a PIL image, encoded bytes or a path")


def _decode(data: bytes, name: str) -> Image.Image:
    try:
        with Image.open(io.BytesIO(data)) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise InputError(f"{name}: {picture.width}×{picture.height} pixels is more than a picture may have")
            upright = ImageOps.exif_transpose(picture)
            return upright.convert("RGB")
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"{name}: not a picture in any format known here") from error
    except Exception as error:  # Pillow's decoders raise many types on damaged files.
        raise InputError(f"{name}: not a readable picture: {error}") from error


def to_boundary0(picture: Picture, how: Preprocessing) -> Array:
    """The tensor of boundary 0.

    An array that already has the size of boundary 0 is taken as it is.

    Args:
        picture: see `Picture`.
        how: of the bundle; only its geometry is applied here.

    Returns:
        uint8 of shape (1, height, width, 3), RGB.

    Raises:
        InputError: as `open_picture`.
    """
    size = (how.height, how.width, 3)
    if isinstance(picture, np.ndarray) and picture.dtype == np.uint8:
        if picture.shape == size:
            return picture[np.newaxis]
        if picture.shape == (1, *size):
            return picture
    image = open_picture(picture)
    if how.letterbox:
        image = _letterbox(image, how)
    elif how.resize is not None:
        image = _resize_and_crop(image, how, how.resize)
    elif image.size != (how.width, how.height):
        image = image.resize((how.width, how.height), _FILTERS[how.interpolation])
    return np.asarray(image)[np.newaxis]


def _resize_and_crop(image: Image.Image, how: Preprocessing, short_side: int) -> Image.Image:
    scale = short_side / min(image.size)
    width, height = (max(short_side, round(side * scale)) for side in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), _FILTERS[how.interpolation])
    left, top = (width - how.width) // 2, (height - how.height) // 2
    return image.crop((left, top, left + how.width, top + how.height))


def _letterbox(image: Image.Image, how: Preprocessing) -> Image.Image:
    scale = min(how.width / image.width, how.height / image.height)
    width, height = (max(1, int(side * scale)) for side in image.size)
    canvas = Image.new("RGB", (how.width, how.height), (how.pad,) * 3)
    canvas.paste(image.resize((width, height), _FILTERS[how.interpolation]), (0, 0))
    return canvas
