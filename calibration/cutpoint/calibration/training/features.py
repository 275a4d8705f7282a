"""What training learns from: what a span gives for files, and for other views of the pictures in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from cutpoint.calibration.data import Source, load_samples
from cutpoint.calibration.errors import CalibrationError
from cutpoint.codecs import Array, TensorSpec
from cutpoint.sdk.bundle import Preprocessing
from cutpoint.sdk.runtimes import Graph

__all__ = ["View", "collect_features", "mirrored"]

#: A picture's file, and all of it for boundary 0 → another view of it for boundary 0; uint8 (1, height, width, 3) both.
View = Callable[[Path, Array], Array]


def mirrored(path: Path, whole: Array) -> Array:
    """`whole` with left and right exchanged; see `View`."""
    return np.ascontiguousarray(whole[:, :, ::-1])


def collect_features(
    span: Graph,
    sources: Sequence[Source],
    specs: Sequence[TensorSpec],
    preprocessing: Preprocessing | None,
    most: int,
    view: View = mirrored,
    views: int = 2,
    advance: Callable[[], None] = lambda: None,
) -> list[Array]:
    """What a span gives (samples, …), floats as float16: of all files as they are, then of other views of them.

    Args:
        span: from boundary 0 on.
        sources: files, the first ones first.
        specs: of boundary 0.
        preprocessing: of boundary 0; None: the files hold tensors, and there are no other views.
        most: samples.
        view: makes the other views.
        views: of each file, itself among them, as long as there is room.
        advance: called for each file.

    Raises:
        CalibrationError: if no file can be read.
    """
    sources = sources[:most]
    plain: list[tuple[Array, ...]] = []
    others: list[tuple[Array, ...]] = []
    for number, source in enumerate(sources, start=1):
        for sample in load_samples([source], 1, specs, preprocessing, advance).tensors:
            plain.append(_halved(span.run(sample)))
            if preprocessing is not None:
                # Each of the files left comes before another view of this one.
                room = most - len(plain) - len(others) - (len(sources) - number)
                others += (_halved(span.run([view(source.path, sample[0])])) for _ in range(min(views - 1, room)))
    if not plain:
        raise CalibrationError("none of the files to train on could be read")
    return [np.concatenate(values) for values in zip(*plain, *others, strict=True)]


def _halved(tensors: Sequence[Array]) -> tuple[Array, ...]:
    """Floats as float16; what is smaller stays."""
    limit = float(np.finfo(np.float16).max)
    return tuple(
        tensor if tensor.dtype.itemsize <= 2 else np.clip(tensor, -limit, limit).astype(np.float16)
        for tensor in tensors
    )
