"""All spans of a bundle as files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import onnx

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.graphs.litert_shared import share_heads
from cutpoint.calibration.graphs.spans import extract_span
from cutpoint.calibration.graphs.weights import SharedSpans, share_weights
from cutpoint.calibration.slices.shared import CutSlice
from cutpoint.sdk.bundle import Boundary, GraphFile, Part, Slice, Span

__all__ = ["ExportedSpans", "export_spans"]


@dataclass(frozen=True)
class ExportedSpans:
    """The spans of a bundle.

    Attributes:
        spans: for the manifest.
        slices: for the manifest.
        files: path in the bundle → (which machine needs it, content).
        lacking: boundary and precision of heads that could not be cut, with the reason.
    """

    spans: tuple[Span, ...]
    slices: tuple[Slice, ...]
    files: Mapping[str, tuple[Part, bytes]]
    lacking: Mapping[tuple[int, str], str]


def export_spans(
    graph: ModelGraph,
    variants: Mapping[str, onnx.ModelProto],
    boundaries: Sequence[Boundary],
    only: frozenset[tuple[int, int, str]] | None = None,
    middle: frozenset[tuple[int, int]] = frozenset(),
    around: Mapping[tuple[int, int, str], Part] | None = None,
    convert: Callable[[Boundary, str], bytes | None] | None = None,
    advance: Callable[[], None] = lambda: None,
    slices: Sequence[CutSlice] = (),
) -> ExportedSpans:
    """Heads of every precision up to every boundary, fp32 tails from every boundary but the last, fp32 spans between.

    Args:
        graph: the fp32 model.
        variants: precision → model; ``fp32`` among them.
        boundaries: 0 … n.
        only: start, end and precision of the heads and tails to write; None: all.
        middle: start and end of spans that servers with a next tier run.
        around: of further spans, up to an exit and from there on: which machine runs them.
        convert: makes a ``.tflite`` file of the head that ends at a boundary, at a precision, or None to leave it out;
            None: heads are ONNX only.
        advance: called for each span.
        slices: of fp32 spans, for servers.

    Raises:
        CalibrationError: if an fp32 span cannot be cut out.
    """
    last = len(boundaries) - 1
    spans: list[Span] = []
    pieces: list[Slice] = []
    files: dict[str, tuple[Part, bytes]] = {}
    lacking: dict[tuple[int, str], str] = {}
    for precision, model in variants.items():
        cut: dict[str, tuple[Part, onnx.ModelProto]] = {}
        keys: dict[str, tuple[int, int]] = {}
        # The whole model comes first and lays the weights out: a head's file is the same whatever else there is.
        wanted: list[tuple[int, int, Part]] = [(0, last, "both" if precision == "fp32" else "device")]
        wanted += [(0, end, "device") for end in range(1, last)]
        if precision == "fp32":
            wanted = [(start, end, "both" if (start, end) in middle else part) for start, end, part in wanted]
            wanted += [(start, end, "server") for start, end in sorted(middle) if start > 0]
            wanted += [(start, last, "server") for start in range(1, last)]
        chosen = {
            (start, end): part
            for start, end, part in wanted
            if only is None or (start, end, precision) in only or (start, end) in middle
        }
        for (start, end, of), part in sorted((around or {}).items()):
            if of == precision:
                chosen[start, end] = part if chosen.get((start, end), part) == part else "both"
        for (start, end), part in chosen.items():
            try:
                span = extract_span(model, boundaries[start].tensors, boundaries[end].tensors, graph.batch)
            except CalibrationError as error:
                if precision == "fp32":
                    raise
                lacking[end, precision] = str(error)
                continue
            name = f"{start}-{end}.{precision}"
            cut[name], keys[name] = (part, span), (start, end)
            advance()
        of_nodes = {} if precision != "fp32" else {piece.name: piece for piece in slices}
        cut |= {name: ("server", piece.model) for name, piece in of_nodes.items()}
        shared = share_weights(cut, f"weights.{precision}")
        files |= {f"spans/{name}": entry for name, entry in shared.weights.items()}
        for name, piece in of_nodes.items():
            path = f"slices/{name}.onnx"
            files[path] = "server", shared.graphs[name]
            uses = tuple(f"spans/{weights}" for weights in shared.uses[name])
            pieces.append(piece.entry(GraphFile("onnx", path, uses)))
        graphs = {name: [_place(files, shared, name, "onnx", cut[name][0])] for name in keys}
        if convert is not None:
            heads: dict[str, bytes] = {}
            for name, (start, end) in sorted(keys.items(), key=lambda item: item[1]):
                if start == 0:
                    if (converted := convert(boundaries[end], precision)) is not None:
                        heads[name] = converted
                    advance()
            for name, placed in _place_heads(files, heads).items():
                graphs[name].append(placed)
        spans += [Span(start, end, precision, tuple(graphs[name])) for name, (start, end) in keys.items()]
    spans.sort(key=lambda span: (span.precision, span.start, span.end))
    return ExportedSpans(tuple(spans), tuple(pieces), files, lacking)


def _place(
    files: dict[str, tuple[Part, bytes]], shared: SharedSpans, name: str, format: Literal["onnx", "tflite"], part: Part
) -> GraphFile:
    """Adds the graph file of a span."""
    path = f"spans/{name}.{format}"
    files[path] = part, shared.graphs[name]
    return GraphFile(format, path, tuple(f"spans/{weights}" for weights in shared.uses[name]))


def _place_heads(files: dict[str, tuple[Part, bytes]], heads: Mapping[str, bytes]) -> dict[str, GraphFile]:
    """Adds `.tflite` heads of one precision, the deepest last, and the weights that they share."""
    if not heads:
        return {}
    shared = share_heads(heads)
    files |= {f"spans/{name}": entry for name, entry in shared.weights.items()}
    return {name: _place(files, shared, name, "tflite", "device") for name in heads}
