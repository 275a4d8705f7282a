"""Sliced points: ways of slicing that pay at some link and device, exported, measured and written into a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import NamedTuple

import msgspec
import numpy as np
import onnx

from cutpoint.calibration.codecs.entries import FittedCodec, fit_affine, picture_codec, raw_codec
from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.graphs.spans import extract_span
from cutpoint.calibration.graphs.weights import share_weights
from cutpoint.calibration.progress import Reporter
from cutpoint.calibration.search.measure import timed
from cutpoint.calibration.slices.costs import SliceCosts, Tensors, Timed, Wire
from cutpoint.calibration.slices.local import LocalPrefix, find_local_prefix
from cutpoint.calibration.slices.rows import Rows
from cutpoint.calibration.slices.search import Cutting, cuttings, search_schedule
from cutpoint.calibration.tasks import Judge
from cutpoint.sdk.bundle import (
    Boundary,
    Bundle,
    CodecEntry,
    GraphFile,
    Manifest,
    Measurement,
    Part,
    Point,
    Slice,
    SliceStep,
    Slicing,
    Span,
)
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.head import Head
from cutpoint.sdk.overlap import ChannelState, Schedule, SlicedHead, best_schedule
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.sdk.tail import Tail

__all__ = ["Draft", "add_slices", "channel_states", "local_boundaries"]

#: How many times slower than the server devices are that ways of slicing are looked for.
_DEVICES = (1.0, 2.5, 5.0)
#: Round trip that they are looked for at: a near server. With a longer one devices answer alone more often.
_RTT_MS = 2.0
#: A way of slicing is kept where it takes by prediction at most this share of any other way to an answer: it is the
#: best of several that were measured, each slice by itself and again and again. On a server, where others come in
#: between, requests took up to 14 % longer than that.
_WORTH = 0.85
#: Samples that slices are timed with, and that a codec which the bundle lacks is fitted to.
_TIMED, _FITTED = 3, 20
#: Levels: floats exactly with pixels exactly, or 8 bits with the picture as an app would send it.
_EXACT, _AFFINE, _QUALITY = "exact", "8bit", "q85"


def channel_states(rates: Sequence[float]) -> tuple[ChannelState, ...]:
    """What ways of slicing are looked for: links of these Mbit/s, each with devices of several speeds."""
    return tuple(ChannelState(rate * 1e6, _RTT_MS, scale) for rate, scale in product(rates, _DEVICES))


class _Chosen(NamedTuple):
    way: Cutting
    pictures: int
    wire: Wire


@dataclass
class Draft:
    """A bundle in the making.

    Attributes:
        graph: the fp32 model.
        manifest: with points, spans and codecs.
        files: path → (which machine needs it, content).
    """

    graph: ModelGraph
    manifest: Manifest
    files: dict[str, tuple[Part, bytes]] = field(default_factory=dict)

    @property
    def bundle(self) -> Bundle:
        """As it is now."""
        return Bundle.create(self.manifest, self.files)

    def add_codec(self, codec: FittedCodec) -> None:
        """Adds a codec, where none of its id is there."""
        if all(entry.id != codec.entry.id for entry in self.manifest.codecs):
            self.manifest = msgspec.structs.replace(self.manifest, codecs=(*self.manifest.codecs, codec.entry))
            self.files |= codec.files

    def codec(self, codec_id: str) -> CodecEntry:
        """The codec of that id."""
        return next(entry for entry in self.manifest.codecs if entry.id == codec_id)


def add_slices(
    draft: Draft,
    states: Sequence[ChannelState],
    codecs: Sequence[str],
    samples: Sequence[Tensors],
    judge: Judge,
    threads: int,
    reporter: Reporter,
    timed: Timed = timed,
) -> Draft:
    """The bundle with points whose head is computed in slices, where that pays at any of `states`.

    Slices are fp32, of heads up to the boundaries of the bundle that lie in the model's local prefix.

    Args:
        draft: the bundle without; not changed.
        states: of link, device and server, that ways of slicing are looked for.
        codecs: that may be used: ``raw``, ``affine`` and ``webp`` of them can be.
        samples: tensors of boundary 0, that the points are measured on.
        judge: of the task.
        threads: of the runtime.
        reporter: hears what is done.
        timed: times computations, as `SliceCosts` takes it.

    Raises:
        CalibrationError: as `local_boundaries`, or if no codec can be used.
    """
    prefix, boundaries, local = local_boundaries(draft.graph, draft.manifest.boundaries)
    wide = Draft(
        draft.graph, msgspec.structs.replace(draft.manifest, boundaries=boundaries, files=()), dict(draft.files)
    )
    wires = _add_codecs(wide, local, codecs, samples)
    runtime = create_runtime("onnx", threads)
    costs = SliceCosts(draft.graph, prefix, BundleGraphs(wide.bundle, [runtime]), runtime, samples[:_TIMED], timed)
    chosen = _choose(costs, boundaries, local, wires, states, reporter)
    if not chosen:
        reporter.note("no way of slicing was faster than the other points at any of the links; see docs/overlap.md")
        return draft
    points = [_point(number, choice, wide, costs) for number, choice in enumerate(chosen)]
    _write(wide, points, costs)
    measured = _measure(wide.bundle, [point.id for point in points], samples, judge, threads, reporter)
    kept = tuple(measured.get(point.id, point) for point in wide.manifest.points)
    wide.manifest = msgspec.structs.replace(wide.manifest, points=kept)
    return wide


def local_boundaries(
    graph: ModelGraph, boundaries: Sequence[Boundary]
) -> tuple[LocalPrefix, tuple[Boundary, ...], list[int]]:
    """The model's local prefix, the boundaries with their axes of rows, and those up to which heads can be sliced.

    Raises:
        CalibrationError: if there are none.
    """
    prefix = find_local_prefix(graph)
    boundaries = _with_rows(boundaries, prefix)
    local = [b.index for b in boundaries[1:-1] if b.row_axis is not None]
    if boundaries[0].row_axis is None or not local:
        why = "; ".join(prefix.obstacles.values()) or "its inputs have no rows"
        raise CalibrationError(f"no cut lies where the model can be computed in slices: {why}; leave out --slices")
    return prefix, boundaries, local


def _with_rows(boundaries: Sequence[Boundary], prefix: LocalPrefix) -> tuple[Boundary, ...]:
    """The boundaries with their axis of rows, where all of their tensors have one height along one axis."""

    def axis_of(boundary: Boundary) -> int | None:
        axes = {prefix.axes.get(tensor.name) for tensor in boundary.tensors}
        axis = axes.pop()
        if axes or axis is None or len({tensor.shape[axis] for tensor in boundary.tensors}) > 1:
            return None
        return axis

    return tuple(msgspec.structs.replace(boundary, row_axis=axis_of(boundary)) for boundary in boundaries)


def _add_codecs(draft: Draft, local: Sequence[int], codecs: Sequence[str], samples: Sequence[Tensors]) -> list[Wire]:
    """Adds what slices may be sent with, and says what that is."""
    boundaries = draft.manifest.boundaries
    wires = []
    draft.add_codec(raw_codec(boundaries[0]))
    pixels = draft.codec("0-raw").levels.index(_EXACT)
    if "raw" in codecs:
        for boundary in local:
            draft.add_codec(raw_codec(boundaries[boundary]))
        levels = draft.codec(f"{local[0]}-raw").levels
        wires.append(Wire("raw", levels.index(_EXACT), "0-raw", pixels))
    if "affine" in codecs:
        for boundary in local:
            name = f"{boundary}-affine"
            if all(entry.id != name for entry in draft.manifest.codecs):
                span = extract_span(
                    draft.graph.model, boundaries[0].tensors, boundaries[boundary].tensors, draft.graph.batch
                )
                head = create_runtime("onnx").load(span.SerializeToString(), {})
                draft.add_codec(fit_affine(boundaries[boundary], [head.run(sample) for sample in samples[:_FITTED]]))
            _free_rows(draft, draft.codec(name))
        picture = "0-raw", pixels
        if "webp" in codecs and draft.manifest.preprocessing is not None:
            draft.add_codec(picture_codec(boundaries[0], "webp"))
            picture = "0-webp", draft.codec("0-webp").levels.index(_QUALITY)
        wires.append(Wire("affine", draft.codec(f"{local[0]}-affine").levels.index(_AFFINE), *picture))
    if not wires:
        raise CalibrationError("slices are sent with the codecs raw or affine: add one of them to --codecs")
    return wires


def _free_rows(draft: Draft, codec: CodecEntry) -> None:
    """Lets the ONNX graphs of a codec take any number of rows: they treat each value by itself."""
    axis = draft.manifest.boundaries[codec.start].row_axis
    assert axis is not None
    for graph in (*codec.encoder, *codec.decoder):
        if graph.format == "onnx":
            part, data = draft.files[graph.file]
            model = onnx.load_from_string(data)
            for value in (*model.graph.input, *model.graph.output):
                if len(value.type.tensor_type.shape.dim) > axis:
                    value.type.tensor_type.shape.dim[axis].dim_param = "rows"
            draft.files[graph.file] = part, model.SerializeToString(deterministic=True)


def _choose(
    costs: SliceCosts,
    boundaries: Sequence[Boundary],
    local: Sequence[int],
    wires: Sequence[Wire],
    states: Sequence[ChannelState],
    reporter: Reporter,
) -> list[_Chosen]:
    """The ways of slicing that are worth it at some state, without repetitions."""
    ways = [way for index in local for way in cuttings(index, boundaries[index].height)]
    whole_ms = costs.tail_ms(0)
    chosen: dict[_Chosen, None] = {}
    with reporter.stage("looking for ways of slicing", len(wires) * len(states)) as advance:
        for wire in wires:
            unsliced = [costs.unsliced(index, wire) for index in (0, *local)]
            estimated = {way: costs.estimate(way, wire) for way in ways}
            measure = partial(costs.measure, wire=wire)
            for state in states:
                schedule, way = search_schedule(ways, unsliced, whole_ms, state, estimated.__getitem__, measure)
                if way is not None and len(way.slices) > 1 and _worth(schedule, unsliced, whole_ms, state):
                    chosen[_Chosen(way, schedule.raw, wire)] = None
                advance()
    return list(chosen)


def _worth(schedule: Schedule, unsliced: Sequence[SlicedHead], whole_ms: float, state: ChannelState) -> bool:
    other = best_schedule(unsliced, whole_ms, state)
    return schedule.latency_ms <= _WORTH * other.latency_ms


def _point(number: int, choice: _Chosen, draft: Draft, costs: SliceCosts) -> Point:
    """The point of a way of slicing; metric and sizes come later."""
    way, pictures, wire = choice
    head = costs.measure(way, wire)
    steps = []
    device_ms = 0.0
    for index, (rows, cost) in enumerate(zip(way.slices, head.slices, strict=True)):
        figures = (
            (cost.picture_ms, cost.picture_bytes, cost.server_ms)
            if index < pictures
            else (cost.device_ms, cost.nbytes, cost.decode_ms)
        )
        device_ms += 0.0 if index < pictures else costs.head(way.boundary, rows)[0]
        steps.append(SliceStep((rows.start, rows.stop), *figures))
    level = draft.codec(f"{way.boundary}-{wire.codec}").levels[wire.level]
    slicing = Slicing(tuple(steps), pictures, *((wire.picture, wire.picture_level) if pictures else (None, 0)))
    encode_ms = max(0.0, sum(step.device_ms for step in steps) - device_ms)
    measured = Measurement(0.0, 0.0, 0.0, device_ms, encode_ms, sum(step.server_ms for step in steps), head.tail_ms)
    return Point(
        f"cut{way.boundary}-fp32-{wire.codec}-{level}-sliced{number}",
        way.boundary,
        way.boundary,
        measured,
        "fp32" if pictures < len(steps) else None,
        f"{way.boundary}-{wire.codec}",
        wire.level,
        "fp32",
        slicing=slicing,
    )


def _write(draft: Draft, points: Sequence[Point], costs: SliceCosts) -> None:
    """Writes slices, and tails that no other point needed; leaves out codecs and axes that nothing uses."""
    manifest = draft.manifest
    of_nodes = {(piece.end, Rows(*piece.rows)) for piece in manifest.slices if piece.start == 0}
    parts: dict[tuple[int, Rows], Part] = {}
    for point in points:
        assert point.slicing is not None
        for number, step in enumerate(point.slicing.steps):
            part: Part = "server" if number < point.slicing.pictures else "device"
            key = point.start, Rows(*step.rows)
            alike = parts.get(key, part) == part and key not in of_nodes
            parts[key] = part if alike else "both"
    there = {span.key for span in manifest.spans}
    tails = sorted({point.end for point in points if (point.end, manifest.last, "fp32") not in there})
    graph, boundaries = draft.graph, manifest.boundaries

    def span(start: int, end: int) -> onnx.ModelProto:
        return extract_span(graph.model, boundaries[start].tensors, boundaries[end].tensors, graph.batch)

    # The whole model comes first and lays the weights out, as in the other spans.
    cut: dict[str, tuple[Part, onnx.ModelProto]] = {"whole": ("both", span(0, manifest.last))}
    cut |= {f"{start}-{manifest.last}.fp32": ("server", span(start, manifest.last)) for start in tails}
    names = {key: f"0-{key[0]}.fp32.{key[1].start}-{key[1].stop}" for key in sorted(parts)}
    cut |= {name: (parts[key], costs.piece(*key).model) for key, name in names.items()}
    shared = share_weights(cut, "weights.fp32")
    if any(draft.files.get(f"spans/{name}") != entry for name, entry in shared.weights.items()):
        shared = share_weights(cut, "weights.slices")
    draft.files |= {f"spans/{name}": entry for name, entry in shared.weights.items()}

    def file(name: str) -> tuple[GraphFile]:
        path = f"spans/{name}.onnx"
        draft.files[path] = cut[name][0], shared.graphs[name]
        return (GraphFile("onnx", path, tuple(f"spans/{weights}" for weights in shared.uses[name])),)

    spans = [Span(start, manifest.last, "fp32", file(f"{start}-{manifest.last}.fp32")) for start in tails]
    slices = []
    for (boundary, rows), name in names.items():
        needs = tuple((part.start, part.stop) for part in costs.piece(boundary, rows).needs)
        slices.append(Slice(0, boundary, "fp32", (rows.start, rows.stop), needs, file(name)))
    used = {point.codec for point in (*manifest.points, *points)}
    used |= {point.slicing.picture_codec for point in points if point.slicing is not None}
    codecs = tuple(codec for codec in manifest.codecs if codec.id in used)
    for codec in manifest.codecs:
        if codec not in codecs:
            gone = [path for graph in (*codec.encoder, *codec.decoder) for path in graph.paths()]
            for path in (*gone, *([codec.tables] if codec.tables else [])):
                draft.files.pop(path, None)
    new = {piece.key for piece in slices}
    for piece in manifest.slices:
        if piece.key in new:
            for path in (graph.file for graph in piece.graphs):
                draft.files.pop(path)
        else:
            slices.append(piece)
    sliced = {index for piece in slices for index in (piece.start, piece.end)}
    draft.manifest = msgspec.structs.replace(
        manifest,
        boundaries=tuple(
            b if b.index in sliced else msgspec.structs.replace(b, row_axis=None) for b in manifest.boundaries
        ),
        spans=tuple(sorted((*manifest.spans, *spans), key=lambda span: (span.precision, span.start, span.end))),
        codecs=codecs,
        slices=tuple(slices),
        points=(*manifest.points, *points),
    )


def _measure(
    bundle: Bundle, points: Sequence[str], samples: Sequence[Tensors], judge: Judge, threads: int, reporter: Reporter
) -> dict[str, Point]:
    """The points with metric and sizes: every sample is answered by the code that runs them later."""
    graphs = BundleGraphs(bundle, [create_runtime("onnx", threads)])
    head, tail = Head(graphs), Tail(graphs)
    measured = {}
    with reporter.stage("measuring sliced points", len(points) * len(samples)) as advance:
        for name in points:
            point = bundle.points[bundle.point_number(name)]
            assert point.slicing is not None
            verdicts, sizes = {}, []
            for number, sample in enumerate(samples):
                payloads = [output.payload or b"" for output in head.run_parts(point, sample)]
                features = tail.slices.assemble(point, payloads)
                verdicts[number] = judge.judge(number, tail.graph(point).run(features))
                sizes.append([len(payload) for payload in payloads])
                advance()
            totals = np.sum(sizes, axis=1)
            means = np.mean(sizes, axis=0)
            figures = msgspec.structs.replace(
                point.measured,
                metric=judge.score(verdicts),
                bytes_mean=float(np.mean(totals)),
                bytes_p95=float(np.percentile(totals, 95)),
            )
            steps = tuple(
                msgspec.structs.replace(step, nbytes=float(mean))
                for step, mean in zip(point.slicing.steps, means, strict=True)
            )
            slicing = msgspec.structs.replace(point.slicing, steps=steps)
            measured[name] = msgspec.structs.replace(point, measured=figures, slicing=slicing)
    return measured
