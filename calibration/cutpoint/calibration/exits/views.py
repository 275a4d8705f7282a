"""Other views of the pictures that exits are trained on: sections of them, at random, some mirrored.

Exit and uncut model see the same one, so that every view is one more thing to learn from (Beyer et al., Knowledge
distillation: A good teacher is patient and consistent, arXiv 2106.05237).
"""

from __future__ import annotations

from math import exp, log, sqrt

import numpy as np
from numpy.random import Generator
from PIL import Image

from cutpoint.codecs import Array
from cutpoint.sdk.pictures import Picture, open_picture

__all__ = ["random_view"]

#: Least share of a picture that a view shows, and how far from square it may be.
_AREA, _RATIO = 0.25, 4 / 3


def random_view(picture: Picture, whole: Array, rng: Generator) -> Array:
    """A section of a picture for boundary 0, uint8 (1, height, width, 3); every other one is mirrored.

    Args:
        picture: see `Picture`.
        whole: all of it for boundary 0, in the size that the section gets.
        rng: that section and mirroring are drawn from.

    Raises:
        InputError: if the picture cannot be read.
    """
    image = open_picture(picture)
    _, height, width, _ = whole.shape
    area, ratio = rng.uniform(_AREA, 1), exp(rng.uniform(-log(_RATIO), log(_RATIO))) * width / height
    pixels = area * image.width * image.height
    across, down = min(image.width, sqrt(pixels * ratio)), min(image.height, sqrt(pixels / ratio))
    left, top = rng.uniform(0, image.width - across), rng.uniform(0, image.height - down)
    box = left, top, left + across, top + down
    section = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box))
    return np.ascontiguousarray(section[np.newaxis, :, ::-1] if rng.random() < 0.5 else section[np.newaxis])
