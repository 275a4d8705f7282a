"""Bundles with slices for servers that share one request, without a calibration: raw points at every cut."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import msgspec
import numpy as np
import onnx
from tests.support.networks import Network

from cutpoint.calibration.graphs.cuts import Cut, pick_cuts
from cutpoint.calibration.graphs.exports import export_spans
from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.graphs.normalise import prepend_normalisation
from cutpoint.calibration.search.points import middle_spans
from cutpoint.calibration.slices.shared import cut_slices, with_row_axes
from cutpoint.codecs import TensorSpec
from cutpoint.sdk.bundle import Boundary, Bundle, CodecEntry, Manifest, Measurement, Point, Preprocessing, Task
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.runtimes import create_runtime

__all__ = ["WORK_SIDE", "picture_graph", "sharing_bundle", "work_bundle"]

#: Of the pictures that `work_bundle` takes.
WORK_SIDE = 96
#: Runs of a tail that tell how long it takes; the fastest counts.
_TIMED = 3


def picture_graph(model: onnx.ModelProto, side: int) -> ModelGraph:
    """A network that takes normalised planes, behind the pixels of a square picture."""
    how = Preprocessing(height=side, width=side, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    model, _ = prepend_normalisation(model, (1, 3, side, side), how, batch=True)
    return ModelGraph.inspect(model, [TensorSpec("picture", (1, side, side, 3), "uint8")])


def sharing_bundle(name: str, graph: ModelGraph, cuts: Sequence[Cut], ways: Sequence[Sequence[float]]) -> Bundle:
    """The bundle of a network that takes pictures; its times are those of this machine.

    Args:
        name: of the model.
        graph: from `picture_graph`.
        cuts: where nodes may hand over.
        ways: for which speeds spans are cut in slices.
    """
    last = len(cuts) + 1
    boundaries = (
        Boundary(0, tuple(graph.inputs), "input"),
        *(
            Boundary(index, tuple(graph.specs[name] for name in cut.tensors), cut.label, cut.macs)
            for index, cut in enumerate(cuts, 1)
        ),
        Boundary(last, tuple(graph.outputs), "output", sum(graph.macs)),
    )
    pieces = cut_slices(graph, boundaries, range(1, last), ways) if ways else []
    codecs = [CodecEntry(f"{index}-raw", "raw", index, index, ("exact",)) for index in range(last)]
    codecs.append(CodecEntry("0-webp", "webp", 0, 0, ("q85",), config={"quality": [85]}))
    points = [Point(f"cut{last}-fp32", last, last, Measurement(1.0, 0, 0, device_ms=1.0), "fp32")]
    for codec in codecs:
        size = boundaries[codec.start].nbytes
        start, head = codec.start, "fp32" if codec.start else None
        kind = f"{codec.codec}-{codec.levels[0]}"
        measured = Measurement(1.0, size, size, device_ms=1.0)
        points.append(Point(f"cut{start}-{kind}", start, start, measured, head, codec.id, 0, "fp32"))
    middle = middle_spans(points)
    exported = export_spans(graph, {"fp32": graph.model}, boundaries, None, middle, slices=pieces)
    _, side, width, _ = graph.inputs[0].shape
    manifest = Manifest(
        schema=1,
        name=name,
        created_by="tests",
        task=Task("classification", "top1", 1.0, 1),
        boundaries=with_row_axes(graph, boundaries, pieces),
        spans=exported.spans,
        codecs=tuple(codecs),
        points=tuple(points),
        preprocessing=Preprocessing(height=side, width=width),
        slices=exported.slices,
    )
    return _timed(Bundle.create(manifest, exported.files))


def _timed(bundle: Bundle) -> Bundle:
    """The bundle with the times of its tails."""
    manifest = bundle.manifest
    graphs = BundleGraphs(bundle, [create_runtime("onnx")])
    tails = {}
    for boundary in manifest.boundaries[:-1]:
        zeros = [np.zeros(spec.shape, spec.dtype) for spec in boundary.tensors]
        graph = graphs.span(boundary.index, manifest.last, "fp32")
        times = []
        for _ in range(1 + _TIMED):
            began = perf_counter()
            graph.run(zeros)
            times.append(perf_counter() - began)
        tails[boundary.index] = min(times) * 1e3
    points = tuple(
        point
        if point.local
        else msgspec.structs.replace(point, measured=msgspec.structs.replace(point.measured, tail_ms=tails[point.end]))
        for point in manifest.points
    )
    files = {entry.path: (entry.part, bundle.read(entry.path)) for entry in manifest.files}
    return Bundle.create(msgspec.structs.replace(manifest, points=points, files=()), files)


def work_bundle(cuts: Sequence[str] = ("r5",), ways: Sequence[int] = (2, 3)) -> Bundle:
    """A network of two billion multiply-accumulates, most of them local, of which little comes out.

    Args:
        cuts: of ``r1``, ``a4``, ``r5``.
        ways: in how many slices of equal cost spans are cut.
    """
    net = Network()
    net.add("Relu", [net.conv("x", "c1", 3, 192, stride=2)], "r1")
    net.add("Relu", [net.conv("r1", "c2", 192, 192)], "r2")
    net.add("Relu", [net.conv("r2", "c3", 192, 192)], "r3")
    net.add("Add", [net.conv("r3", "c4", 192, 192), "r1"], "a4")
    net.add("Relu", [net.conv("a4", "c5", 192, 16, stride=2)], "r5")
    net.add("ReduceMean", ["r5"], "m", axes=[2, 3], keepdims=0)
    net.add("MatMul", ["m", net.weight("dense", 16, 5)], "scores")
    graph = picture_graph(net.model((1, 3, WORK_SIDE, WORK_SIDE), ["scores"]), WORK_SIDE)
    return sharing_bundle("work", graph, pick_cuts(graph, cuts), [(1.0,) * count for count in ways])
