"""Keeps the device part small where files cannot share weights."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import onnx

from cutpoint.calibration.codecs.entries import FittedCodec
from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.graphs.spans import extract_span
from cutpoint.sdk.bundle import Boundary

__all__ = ["MOST", "heads_that_fit", "only_to", "small_heads"]

#: Size of a device part for one runtime, in sizes of the uncut model's file.
MOST = 2.5
#: Bytes of a device part that is small enough, whatever the model.
_SMALL = 1 << 20


def heads_that_fit(
    heads: Mapping[int, int], encoders: Mapping[int, int], last: int, most: float = MOST
) -> frozenset[int]:
    """The boundaries whose heads get a file for a runtime in which every file carries its own weights.

    Deep heads repeat nearly the whole model. The uncut model always gets one; of the others those that cost least come
    first, with their encoders, until all of it is `most` times the uncut model's file (or a megabyte).

    Args:
        heads: boundary → size of the head, bytes.
        encoders: boundary → size of the encoders there, bytes.
        last: the output boundary; one of `heads`.
        most: sizes of the uncut model.
    """
    cost = {end: size + encoders.get(end, 0) for end, size in heads.items() if end != last}
    left = max(most * heads[last], _SMALL) - heads[last] - encoders.get(0, 0)
    kept = {last}
    for end in sorted(cost, key=lambda end: (cost[end], end)):
        left -= cost[end]
        if left < 0:
            break
        kept.add(end)
    return frozenset(kept)


def small_heads(
    graph: ModelGraph,
    boundaries: Sequence[Boundary],
    wanted: Collection[tuple[int, int, str]],
    codecs: Sequence[FittedCodec],
) -> frozenset[int]:
    """`heads_that_fit` for the fp32 heads of a bundle, by the sizes of their ONNX files with weights.

    Args:
        graph: the fp32 model.
        boundaries: 0 … n.
        wanted: start, end and precision of the spans of the bundle.
        codecs: of the bundle.
    """
    last = len(boundaries) - 1
    ends = {end for start, end, precision in wanted if start == 0 and precision == "fp32"} | {last}
    heads = {
        end: extract_span(graph.model, boundaries[0].tensors, boundaries[end].tensors, graph.batch).ByteSize()
        for end in ends
    }
    encoders: dict[int, int] = {}
    for codec in codecs:
        size = sum(len(codec.files[file.file][1]) for file in codec.entry.encoder)
        encoders[codec.entry.start] = encoders.get(codec.entry.start, 0) + size
    return heads_that_fit(heads, encoders, last)


def only_to(
    ends: frozenset[int], convert: Callable[[onnx.ModelProto, Boundary], bytes | None]
) -> Callable[[onnx.ModelProto, Boundary], bytes | None]:
    """`convert` for the heads that end at one of `ends`; no file for the others."""
    return lambda span, end: convert(span, end) if end.index in ends else None
