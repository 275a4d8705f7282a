"""Pictures become the same pixels as with Pillow, which calibration used.

Pillow resizes in two passes and rounds between them. Which one it makes first depends on its version and on the sizes;
the bridge goes across first. So it must equal Pillow that is made to go across first, and come close to it otherwise.
"""

from __future__ import annotations

import struct
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from cutpoint.sdk.bundle import Preprocessing
from cutpoint.sdk.pictures import to_boundary0

from . import jvm

WAYS = (
    Preprocessing(height=24, width=24, resize=28),
    Preprocessing(height=24, width=20, resize=24, interpolation="bicubic"),
    Preprocessing(height=17, width=31),
    Preprocessing(height=64, width=48, interpolation="bicubic"),
    Preprocessing(height=32, width=32, letterbox=True, pad=77),
)


def across_first(image: Image.Image, size: tuple[int, int], resample: int) -> Image.Image:
    """`Image.resize` in two steps."""
    return RESIZE(RESIZE(image, (size[0], image.height), resample), size, resample)


RESIZE = Image.Image.resize


def test_pictures_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    blocks, pictures = [], []
    for number in range(200):
        how = WAYS[number % len(WAYS)]
        height, width = (int(side) for side in rng.integers(3, 120, 2))
        coarse = rng.integers(0, 256, (height // 3 + 1, width // 3 + 1, 3), np.uint8)
        picture = np.kron(coarse, np.ones((3, 3, 1), np.uint8))[:height, :width]
        settings = msgspec.json.encode(how)
        blocks.append(struct.pack(">II", height, width) + jvm.block(settings) + picture.tobytes())
        pictures.append((picture, how))
    found = jvm.transform("client.PictureResults", blocks, tmp_path)

    for (picture, how), pixels in zip(pictures, found, strict=True):
        expected = to_boundary0(picture, how)
        assert np.abs(np.frombuffer(pixels, np.uint8) - expected.ravel().astype(int)).mean() < 0.5
    monkeypatch.setattr(Image.Image, "resize", across_first)
    assert found == [to_boundary0(picture, how).tobytes() for picture, how in pictures]
