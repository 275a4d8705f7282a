"""Keeps the device part small where files cannot share weights."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import onnx

from cutpoint.calibration.codecs.entries import FittedCodec
from cutpoint.calibration.graphs.spans import extract_span
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
    heads: Mapping[int, int],
    encoders: Mapping[int, int],
    last: int,
    most: float = MOST,
    exact: Callable[[int], int] | None = None,
) -> frozenset[int]:
    """The boundaries whose heads get a file for a runtime in which every file carries its own weights.

    Deep heads repeat nearly the whole model. The uncut model always gets one; of the others those that cost least come
    first, with their encoders, until all of it is `most` times the uncut model's file (or a megabyte).

    Args:
        heads: boundary → size of the head, bytes; where `exact` is given, about.
        encoders: boundary → size of the encoders there, bytes; what is there anyway belongs to boundary 0.
        last: the output boundary; one of `heads`.
        most: sizes of the uncut model.
        exact: boundary → size of the head, for which it may have to be made; asked for no more heads than it takes.
    """
    sized = heads.__getitem__ if exact is None else exact
    cost = {end: size + encoders.get(end, 0) for end, size in heads.items() if end != last}
    whole = sized(last)
    left = max(most * whole, _SMALL) - whole - encoders.get(0, 0)
    kept = {last}
    for end in sorted(cost, key=lambda end: (cost[end], end)):
        left -= sized(end) + encoders.get(end, 0)
        if left < 0:
            break
        kept.add(end)
    return frozenset(kept)


def small_heads(
    models: Mapping[str, onnx.ModelProto],
    boundaries: Sequence[Boundary],
    wanted: Collection[tuple[int, int, str]],
    codecs: Sequence[FittedCodec],
    batch: bool,
    convert: Callable[[Boundary, str], bytes | None],
) -> frozenset[int]:
    """The boundaries whose `.tflite` heads and encoders fit at every precision.

    Args:
        models: precision → model; ``fp32`` among them.
        boundaries: 0 … n.
        wanted: start, end and precision of the spans of the bundle.
        codecs: of the bundle, with `.tflite` encoders where they can be had.
        batch: whether the batch axis of the models is free.
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
    for precision, model in models.items():
        there = {end for end in fitting if end == last or (0, end, precision) in wanted}

        def about(end: int, model: onnx.ModelProto = model, there: Collection[int] = there) -> int:
            span = extract_span(model, boundaries[0].tensors, boundaries[end].tensors, batch) if end in there else None
            return 0 if span is None else span.ByteSize()

        def exact(end: int, precision: str = precision, there: Collection[int] = there) -> int:
            return len(convert(boundaries[end], precision) or b"") if end in there else 0

        fitting &= heads_that_fit({end: about(end) for end in fitting}, encoders, last, exact=exact)
    return fitting


def only_to(ends: frozenset[int], convert: Callable[[Boundary, str], bytes | None]) -> Callable[..., bytes | None]:
    """`convert` for the heads that end at one of `ends`; no file for the others."""
    return lambda end, precision: convert(end, precision) if end.index in ends else None
