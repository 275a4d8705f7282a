"""Heads in slices against the device alone, the whole picture to the server, and the best cut, at about 88 Mbit/s.

Every time is the processor time of one thread of this machine: whole models, heads, tails, and each slice of a finalist
by itself. Device and server are that machine times a scale, and `cutpoint.sdk.overlap` simulates who waits for whom.
(Device and server on two cores that other work shares would measure the other work.) The device is as slow as makes
VGG-19 take the 87 ms of Intra-DP's device (arXiv 2507.05829, published logs), the server faster than it by a stated
factor; 2.5 is what the 89 ms there for a picture sent as floats say. Networks have random weights; VGG-19 has one dense
layer behind global pooling. Takes about ten minutes on two cores.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image
from rich.table import Table
from tests.bench._architectures import architecture

from cutpoint.calibration.graphs.cuts import Cut, choose_cuts, find_cuts
from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.graphs.normalise import prepend_normalisation
from cutpoint.calibration.graphs.spans import extract_span
from cutpoint.calibration.importers.torch import export_module
from cutpoint.calibration.slices import LocalPrefix, Rows, find_local_prefix, slice_span, trace_halo
from cutpoint.calibration.slices.search import Cutting, cuttings, search_schedule
from cutpoint.codecs import Array, TensorSpec
from cutpoint.demo.scenes import render
from cutpoint.sdk import create_runtime
from cutpoint.sdk.bundle import Preprocessing
from cutpoint.sdk.overlap import ChannelState, Schedule, SliceCost, SlicedHead, best_schedule

TITLE = "Slices: computing and sending at once"

_SIDE = 224
_UPLINK = 88e6
_RTT_MS = 2.0
#: The published device's time for VGG-19, and how many times faster the server is.
_DEVICE_VGG_MS = 87.0
_FACTORS = (2.5, 5.0)
#: Boundaries of a network that are looked at, and the seconds that one measurement may take.
_CUTS, _SECONDS = 7, 0.3
_NETWORKS = ("vgg19", "resnet50", "densenet121", "mobilenet_v2")


@dataclass(frozen=True)
class Wire:
    """What a picture and features are on the link. Times on this machine.

    Attributes:
        name: for the table.
        row_bytes: of a row of the picture.
        row_encode_ms: the same row on the device.
        row_decode_ms: and on the server.
        value_bytes: of a feature.
        value_encode_ms: of a feature on the device.
        value_decode_ms: and on the server.
    """

    name: str
    row_bytes: float
    row_encode_ms: float = 0.0
    row_decode_ms: float = 0.0
    value_bytes: float = 4.0
    value_encode_ms: float = 0.0
    value_decode_ms: float = 0.0


def best_ms(work: Callable[[], object], seconds: float = _SECONDS) -> float:
    """Processor time of the shortest of several runs, in milliseconds: the one that other work disturbed least."""
    work()
    times: list[float] = []
    while sum(times) < seconds or len(times) < 3:
        began = time.thread_time()
        work()
        times.append(time.thread_time() - began)
    return min(times) * 1e3


def _wires() -> tuple[Wire, ...]:
    pixels = np.asarray(Image.fromarray(render(1).image).resize((_SIDE, _SIDE)))
    buffer = io.BytesIO()

    def encode() -> None:
        buffer.seek(0)
        buffer.truncate()
        Image.fromarray(pixels).save(buffer, "WEBP", quality=85, method=4)

    encode_ms = best_ms(encode)
    decode_ms = best_ms(lambda: np.asarray(Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")))
    features = np.random.default_rng(0).normal(size=(256, 28, 28)).astype(np.float32)
    symbols = np.clip(np.rint(features * 40 + 128), 0, 255).astype(np.uint8)
    quantise_ms = best_ms(lambda: np.clip(np.rint(features * 40 + 128), 0, 255).astype(np.uint8))
    restore_ms = best_ms(lambda: (symbols.astype(np.float32) - 128) * 0.025)
    return (
        Wire("floats, as published", _SIDE * 3 * 4),
        Wire("exact: pixels, floats", _SIDE * 3),
        Wire(
            "lossy: WebP q85, 8 bits",
            len(buffer.getvalue()) / _SIDE,
            encode_ms / _SIDE,
            decode_ms / _SIDE,
            1.0,
            quantise_ms / features.size,
            restore_ms / features.size,
        ),
    )


@dataclass
class Network:
    """A model that takes pictures, with measured times of its parts."""

    graph: ModelGraph
    prefix: LocalPrefix
    cuts: tuple[Cut, ...]
    whole_ms: float = 0.0
    heads_ms: dict[int, float] = field(default_factory=dict)
    tails_ms: dict[int, float] = field(default_factory=dict)
    _slices: dict[tuple[int, Rows], float] = field(default_factory=dict)
    _halos: dict[tuple[int, Rows], tuple[Rows, int]] = field(default_factory=dict)

    @classmethod
    def build(cls, name: str, count: int = _CUTS, floats: bool = False) -> Network:
        """Exports and measures a torchvision architecture; with `floats` one that takes normalised pictures."""
        graph = cls.graph_of(name, floats)
        cuts = choose_cuts(find_cuts(graph), sum(graph.macs), count, 3 * _SIDE * _SIDE)
        network = cls(graph, find_local_prefix(graph), cuts)
        network.whole_ms = network._ms(graph.model, graph.inputs)
        for number in range(len(network.cuts)):
            specs = network.specs(number)
            network.heads_ms[number] = network._ms(
                extract_span(graph.model, graph.inputs, specs, graph.batch), graph.inputs
            )
            network.tails_ms[number] = network._ms(extract_span(graph.model, specs, graph.outputs, graph.batch), specs)
        return network

    @classmethod
    def whole(cls, name: str) -> float:
        """Milliseconds of an architecture in one piece."""
        graph = cls.graph_of(name)
        return cls._ms(graph.model, graph.inputs)

    @staticmethod
    def graph_of(name: str, floats: bool = False) -> ModelGraph:
        """A torchvision architecture that takes pictures, or with `floats` normalised ones."""
        module = architecture(name)
        model = export_module(module, (1, 3, _SIDE, _SIDE), name, name).model
        if floats:
            return ModelGraph.inspect(model, [TensorSpec(model.graph.input[0].name, (1, 3, _SIDE, _SIDE), "float32")])
        how = Preprocessing(height=_SIDE, width=_SIDE, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
        model, _ = prepend_normalisation(model, (1, 3, _SIDE, _SIDE), how, batch=True)
        return ModelGraph.inspect(model, [TensorSpec("picture", (1, _SIDE, _SIDE, 3), "uint8")])

    def specs(self, boundary: int) -> list[TensorSpec]:
        """The tensors that cross a cut."""
        return [self.graph.specs[name] for name in self.cuts[boundary].tensors]

    def local(self) -> list[int]:
        """The cuts whose heads can be sliced."""
        axes = self.prefix.axes
        ends = [number for number, cut in enumerate(self.cuts) if all(name in axes for name in cut.tensors)]
        return [number for number in ends if len({spec.shape[2] for spec in self.specs(number)}) == 1]

    def height(self, boundary: int) -> int:
        """Rows of what crosses a cut."""
        return self.prefix.height(self.graph, self.cuts[boundary].tensors[0])

    def halo(self, boundary: int, rows: Rows) -> tuple[Rows, int]:
        """The rows of the picture that some rows of a cut need, and their multiply-accumulates."""
        key = boundary, rows
        if key not in self._halos:
            halo = trace_halo(self.graph, self.prefix, ["picture"], self.cuts[boundary].tensors, rows)
            self._halos[key] = halo.rows["picture"], halo.macs
        return self._halos[key]

    def estimated_ms(self, boundary: int, rows: Rows) -> float:
        """Of a slice: in proportion to its multiply-accumulates."""
        return self.heads_ms[boundary] * self.halo(boundary, rows)[1] / self.cuts[boundary].macs

    def measured_ms(self, boundary: int, rows: Rows) -> float:
        """Of a slice, run by itself."""
        key = boundary, rows
        if key not in self._slices:
            piece = slice_span(self.graph, self.graph.inputs, self.specs(boundary), rows, self.prefix)
            (needs,) = piece.needs
            self._slices[key] = self._ms(piece.model, [TensorSpec("picture", (1, len(needs), _SIDE, 3), "uint8")])
        return self._slices[key]

    @staticmethod
    def _ms(model: Any, inputs: Sequence[TensorSpec]) -> float:
        graph = create_runtime("onnx").load(model.SerializeToString(), {})
        rng = np.random.default_rng(0)
        values: list[Array] = [rng.integers(0, 255, spec.shape).astype(spec.dtype) for spec in inputs]
        return best_ms(lambda: graph.run(values))


def sliced(network: Network, way: Cutting, wire: Wire, slice_ms: Callable[[int, Rows], float]) -> SlicedHead:
    """What the slices of a way take."""
    values = sum(spec.size for spec in network.specs(way.boundary)) / network.height(way.boundary)
    costs, above = [], 0
    for rows in way.slices:
        needs, _ = network.halo(way.boundary, rows)
        fresh, above = max(0, needs.stop - above), max(above, needs.stop)
        head_ms, count = slice_ms(way.boundary, rows), values * len(rows)
        costs.append(
            SliceCost(
                head_ms + count * wire.value_encode_ms,
                count * wire.value_bytes,
                count * wire.value_decode_ms,
                fresh * wire.row_encode_ms,
                fresh * wire.row_bytes,
                fresh * wire.row_decode_ms + head_ms,
            )
        )
    return SlicedHead(way.boundary, tuple(costs), network.tails_ms[way.boundary])


def cut(network: Network, boundary: int, wire: Wire) -> SlicedHead:
    """A cut as usual."""
    count = sum(spec.size for spec in network.specs(boundary))
    encode_ms, decode_ms = count * wire.value_encode_ms, count * wire.value_decode_ms
    head_ms = network.heads_ms[boundary]
    cost = SliceCost(head_ms + encode_ms, count * wire.value_bytes, decode_ms, np.inf, 0, 0)
    return SlicedHead(boundary, (cost,), network.tails_ms[boundary])


def offload(network: Network, wire: Wire) -> SlicedHead:
    """The whole picture to the server."""
    encode_ms, decode_ms = _SIDE * wire.row_encode_ms, _SIDE * wire.row_decode_ms
    cost = SliceCost(encode_ms, _SIDE * wire.row_bytes, decode_ms, np.inf, 0, 0)
    return SlicedHead(-1, (cost,), network.whole_ms)


def _describe(network: Network, best: Schedule, way: Cutting | None) -> dict[str, Any]:
    if way is None:
        where = "device alone" if best.head is None else "whole picture" if best.head.boundary < 0 else "one slice"
        return {"schedule": where, "halo": 0.0}
    total = sum(network.halo(way.boundary, rows)[1] for rows in way.slices)
    halo = total / network.cuts[way.boundary].macs - 1
    rows = [len(rows) for rows in way.slices]
    at = "×".join(map(str, network.specs(way.boundary)[0].shape[1:]))
    text = f"{at}: server {rows[: best.raw]}, device {rows[best.raw :]}"
    return {"schedule": text, "halo": round(halo, 3)}


def compare(network: Network, wire: Wire, webp: Wire, device_scale: float, factor: float) -> dict[str, Any]:
    """One row of the table: all ways at one state of link, device and server."""
    state = ChannelState(_UPLINK, _RTT_MS, device_scale, device_scale / factor)
    alone = network.whole_ms * device_scale
    never = float("inf")
    whole = best_schedule([offload(network, wire)], never, state).latency_ms
    picture = best_schedule([offload(network, webp)], never, state).latency_ms
    splits = [cut(network, number, wire) for number in range(len(network.cuts))]
    split = best_schedule(splits, never, state).latency_ms
    ways = [way for number in network.local() for way in cuttings(number, network.height(number))]
    best, way = search_schedule(
        ways,
        [*splits, offload(network, wire)],
        network.whole_ms,
        state,
        lambda way: sliced(network, way, wire, network.estimated_ms),
        lambda way: sliced(network, way, wire, network.measured_ms),
    )
    return {
        "wire": wire.name,
        "factor": factor,
        "device_ms": alone,
        "picture_ms": whole,
        "webp_ms": picture,
        "split_ms": split,
        "sliced_ms": best.latency_ms,
        "ratio": best.latency_ms / min(alone, whole, split),
        **_describe(network, best, way),
    }


def run() -> dict[str, Any]:
    """Measures; see the module's docstring."""
    wires = _wires()
    scale = 0.0
    networks = []
    for name in _NETWORKS:
        network = Network.build(name)
        scale = scale or _DEVICE_VGG_MS / network.whole_ms
        rows = [compare(network, wire, wires[-1], scale, factor) for wire in wires for factor in _FACTORS]
        networks.append({"name": name, "whole_ms": network.whole_ms, "rows": rows})
    return {
        "uplink": _UPLINK,
        "rtt_ms": _RTT_MS,
        "device_scale": scale,
        "webp_bytes": wires[-1].row_bytes * _SIDE,
        "networks": networks,
    }


def table(result: dict[str, Any]) -> Table:
    """A row for each network, kind of bytes and server."""
    title = f"{result['uplink'] / 1e6:.0f} Mbit/s, {result['rtt_ms']:.0f} ms round trip; milliseconds"
    table = Table(title=title)
    for column in (
        "network",
        "link carries",
        "server",
        "device",
        "picture",
        "WebP",
        "split",
        "sliced",
        "/ best",
        "halo",
    ):
        table.add_column(column, justify="left" if column in ("network", "link carries") else "right")
    table.add_column("schedule")
    for network in result["networks"]:
        for row in network["rows"]:
            times = (f"{row[key]:.1f}" for key in ("device_ms", "picture_ms", "webp_ms", "split_ms", "sliced_ms"))
            factor = f"{row['factor']}×"
            table.add_row(
                network["name"],
                row["wire"],
                factor,
                *times,
                f"{row['ratio']:.2f}",
                f"{row['halo']:.0%}",
                row["schedule"],
            )
    return table
