"""Other views of the pictures that exits are trained on: sections of them, at random, some mirrored.

Exit and uncut model see the same one, so that every view is one more thing to learn from (Beyer et al., Knowledge
distillation: A good teacher is patient and consistent, arXiv 2106.05237).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, log, sqrt

import numpy as np
from numpy.random import Generator
from PIL import Image

from cutpoint.calibration.data import Source, load_samples
from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.training.codecs import halved
from cutpoint.codecs import Array, TensorSpec
from cutpoint.sdk.bundle import Preprocessing
from cutpoint.sdk.pictures import Picture, open_picture
from cutpoint.sdk.runtimes import Graph

__all__ = ["collect_views", "random_view"]

#: Least share of a picture that a view shows, and how far from square it may be.
_AREA, _RATIO = 0.25, 4 / 3


def random_view(picture: Picture, how: Preprocessing, rng: Generator) -> Array:
    """A section of a picture in the size of boundary 0, uint8 (1, height, width, 3); every other one is mirrored.

    Args:
        picture: see `Picture`.
        how: with the size of boundary 0.
        rng: that section and mirroring are drawn from.

    Raises:
        InputError: if the picture cannot be read.
    """
    image = open_picture(picture)
    area, ratio = rng.uniform(_AREA, 1), exp(rng.uniform(-log(_RATIO), log(_RATIO))) * how.width / how.height
    pixels = area * image.width * image.height
    width, height = min(image.width, sqrt(pixels * ratio)), min(image.height, sqrt(pixels / ratio))
    left, top = rng.uniform(0, image.width - width), rng.uniform(0, image.height - height)
    box = left, top, left + width, top + height
    section = np.asarray(image.resize((how.width, how.height), Image.Resampling.BILINEAR, box))
    return np.ascontiguousarray(section[np.newaxis, :, ::-1] if rng.random() < 0.5 else section[np.newaxis])


def collect_views(
    span: Graph,
    sources: Sequence[Source],
    specs: Sequence[TensorSpec],
    preprocessing: Preprocessing | None,
    views: int,
    most: int,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> list[Array]:
    """What a span gives (samples, …), floats as float16, for files as they are, and for other views of them.

    Args:
        span: from boundary 0 on.
        sources: files, the first ones first.
        specs: of boundary 0.
        preprocessing: of boundary 0; None: the files hold tensors, and there are no other views.
        views: of each file.
        most: samples.
        seed: of the views.
        advance: called for each file.

    Raises:
        CalibrationError: if no file can be read.
    """
    loaded: list[tuple[Array, ...]] = []
    rng = np.random.default_rng(seed)
    for number, source in enumerate(sources[:most]):
        shown = list(load_samples([source], 1, specs, preprocessing, advance).tensors)
        # Of each of the files left there is to be room for one view at least.
        room = most - len(loaded) - (min(most, len(sources)) - number - 1)
        if shown and preprocessing is not None:
            shown += [(random_view(source.path, preprocessing, rng),) for _ in range(min(views, room) - 1)]
        for sample in shown:
            loaded.append(halved(span.run(sample)))
    if not loaded:
        raise CalibrationError("none of the files to train on could be read")
    return [np.concatenate(values) for values in zip(*loaded, strict=True)]
