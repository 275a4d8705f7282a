"""Keeps the device part small: as many encoders and `.tflite` heads as fit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from cutpoint.calibration.codecs.entries import FittedCodec
from cutpoint.calibration.graphs.litert_shared import HeadWeights
from cutpoint.calibration.search.trials import Trial
from cutpoint.calibration.settings import TRAINED
from cutpoint.sdk.bundle import Boundary, Bundle, CodecEntry

__all__ = ["MOST", "drop_large_encoders", "encoders_that_fit", "heads_that_fit", "only_to", "small_heads"]

#: Size of a device part for one runtime, in sizes of the uncut model's file.
MOST = 2.5
#: Bytes of a device part that is small enough, whatever the model.
_SMALL = 1 << 20


def encoders_that_fit(sizes: Mapping[str, int], left: int, always: Collection[str] = ()) -> frozenset[str]:
    """As many encoders as fit, the smallest first, so that as many cuts as can be have one.

    Args:
        sizes: codec → bytes of its encoder and tables.
        left: bytes for all of them.
        always: codecs that are kept, whatever their size.
    """
    kept = set(always)
    left -= sum(sizes[codec] for codec in kept)
    for codec in sorted(sizes.keys() - kept, key=lambda codec: (sizes[codec], codec)):
        left -= sizes[codec]
        if left < 0:
            break
        kept.add(codec)
    return frozenset(kept)


def drop_large_encoders(trials: Sequence[Trial], bundle: Bundle) -> None:
    """Gives up kept trials whose encoder would make the device part too large, for onnxruntime and one precision.

    Heads share their weights there, so it is the encoders that make it large. Trained ones stay: somebody waited for
    them.

    Args:
        trials: all that were tried.
        bundle: with every head and codec.
    """
    manifest = bundle.manifest
    sizes = {entry.path: entry.size for entry in manifest.files}
    used = {trial.point.codec for trial in trials if trial.kept}
    every = {codec.id: sum(sizes[path] for path in _on_device(codec)) for codec in manifest.codecs}
    encoders = {codec: size for codec, size in every.items() if codec in used}
    free = []
    for precision in {span.precision for span in manifest.spans if (span.start, span.end) == (0, manifest.last)}:
        part = bundle.part("device", runtime="onnx", precision=precision)
        (whole,) = (g for g in bundle.span(0, manifest.last, precision).graphs if g.format == "onnx")
        most = max(MOST * sum(sizes[path] for path in whole.paths()), _SMALL)
        free.append(most - sum(size for path, size in sizes.items() if path in part) + sum(every.values()))
    trained = [codec.id for codec in manifest.codecs if codec.id in encoders and codec.codec in TRAINED]
    fitting = encoders_that_fit(encoders, int(min(free)), trained)
    for trial in trials:
        codec = trial.point.codec
        if trial.kept and codec in encoders and codec not in fitting:
            trial.kept = False
            trial.reason = (
                f"size: with encoder and tables of {encoders[codec] / 1e3:.0f} kB what a device downloads would be "
                f"more than {MOST} times the uncut model"
            )


def _on_device(codec: CodecEntry) -> Iterator[str]:
    """Paths of what a device holds of a codec."""
    for graph in codec.encoder:
        yield from graph.paths()
    if codec.tables:
        yield codec.tables


def heads_that_fit(
    ends: Collection[int], encoders: Mapping[int, int], last: int, size: Callable[[int], int], most: float = MOST
) -> frozenset[int]:
    """The boundaries whose heads get a `.tflite` file.

    The uncut model always gets one; of the others those with the smallest encoders come first, until all of it is
    `most` times the uncut model's file (or a megabyte).

    Args:
        ends: boundaries of the heads that are wanted.
        encoders: boundary → size of the encoders there, bytes; what is there anyway belongs to boundary 0.
        last: the output boundary.
        size: boundary → bytes that its head needs beside the uncut model, for which it may have to be made; of `last`,
            the uncut model's. Asked for no more heads than it takes.
        most: sizes of the uncut model.
    """
    whole = size(last)
    left = max(most * whole, _SMALL) - whole - encoders.get(0, 0)
    kept = {last}
    for end in sorted(set(ends) - kept, key=lambda end: (encoders.get(end, 0), end)):
        left -= size(end) + encoders.get(end, 0)
        if left < 0:
            break
        kept.add(end)
    return frozenset(kept)


def small_heads(
    precisions: Collection[str],
    boundaries: Sequence[Boundary],
    wanted: Collection[tuple[int, int, str]],
    codecs: Sequence[FittedCodec],
    convert: Callable[[Boundary, str], bytes | None],
) -> frozenset[int]:
    """The boundaries whose `.tflite` heads and encoders fit at every precision.

    Args:
        precisions: of the heads.
        boundaries: 0 … n.
        wanted: start, end and precision of the spans of the bundle.
        codecs: of the bundle, with `.tflite` encoders where they can be had.
        convert: makes a head's file.
    """
    last = len(boundaries) - 1
    encoders = {0: 0}
    for codec in codecs:
        size = sum(len(codec.files[graph.file][1]) for graph in codec.entry.encoder if graph.format == "tflite")
        encoders[codec.entry.start] = encoders.get(codec.entry.start, 0) + size
        if codec.entry.tables:  # Every device gets all of them.
            encoders[0] += len(codec.files[codec.entry.tables][1])
    fitting = frozenset(end for start, end, _ in wanted if start == 0) | {last}
    for precision in precisions:
        there = {end for end in fitting if end == last or (0, end, precision) in wanted}
        fitting &= heads_that_fit(fitting, encoders, last, _sizes(boundaries, precision, there, convert))
    return fitting


def _sizes(
    boundaries: Sequence[Boundary],
    precision: str,
    there: Collection[int],
    convert: Callable[[Boundary, str], bytes | None],
) -> Callable[[int], int]:
    """What heads need beside the uncut model; see `heads_that_fit`."""
    whole = convert(boundaries[-1], precision)
    weights = None if whole is None else HeadWeights(whole)

    def size(end: int) -> int:
        head = convert(boundaries[end], precision) if end in there else None
        if head is None:
            return 0
        if weights is None:
            return len(head)
        graph, used = weights.refer(head)
        return len(graph) + used if end == len(boundaries) - 1 else len(graph)

    return size


def only_to(ends: frozenset[int], convert: Callable[[Boundary, str], bytes | None]) -> Callable[..., bytes | None]:
    """`convert` for the heads that end at one of `ends`; no file for the others."""
    return lambda end, precision: convert(end, precision) if end.index in ends else None
