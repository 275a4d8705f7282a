"""Photographs as tensors of boundary 0."""

from __future__ import annotations

from tests.support.torch_models import shared_root

from cutpoint.calibration.data import load_samples, open_dataset, shuffled
from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Bundle

__all__ = ["photographs"]


def photographs(bundle: Bundle, count: int) -> list[Array]:
    """The first `count` of the evaluation set, ready for `bundle`; each of shape (1, height, width, 3)."""
    manifest = bundle.manifest
    sources = shuffled(open_dataset(shared_root() / "images" / "imagenet-evaluation").sources)
    samples = load_samples(sources, count, manifest.boundaries[0].tensors, manifest.preprocessing)
    return [sample[0] for sample in samples.tensors]
