"""What the device computes: the head and the encoder, or the whole model, and the exits on the way."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from math import inf

import numpy as np

from cutpoint.codecs import Array, DeltaCodec
from cutpoint.sdk.bundle import Point
from cutpoint.sdk.device_output import DeviceOutput
from cutpoint.sdk.errors import InputError
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.laps import Laps, Stretch
from cutpoint.sdk.pictures import Picture, to_boundary0
from cutpoint.sdk.runtimes import Stop
from cutpoint.sdk.sliced_head import run_slices

__all__ = ["DeviceOutput", "Head"]


class Head:
    """Runs the device's share of any point of a bundle. Blocking: call it from a worker thread.

    Args:
        graphs: of the device part.
        stretch: see `Laps`; None: nothing.
    """

    def __init__(self, graphs: BundleGraphs, stretch: Stretch | None = None) -> None:
        self._graphs = graphs
        self._manifest = graphs.bundle.manifest
        self._stretch = stretch

    def prepare(self, data: Picture | tuple[Array, ...]) -> tuple[Array, ...]:
        """The tensors of boundary 0.

        Args:
            data: a picture where the bundle takes pictures; otherwise the input tensor, or a tuple of them.

        Raises:
            InputError: if it is not what the bundle takes.
        """
        specs = self._manifest.boundaries[0].tensors
        if self._manifest.preprocessing is not None and not isinstance(data, tuple):
            return (to_boundary0(data, self._manifest.preprocessing),)
        if isinstance(data, np.ndarray):
            data = (data,)
        if not isinstance(data, tuple) or not all(isinstance(tensor, np.ndarray) for tensor in data):
            raise InputError(f"{type(data).__name__} given, but the bundle takes arrays: {_describe(specs)}")
        if len(data) != len(specs) or not all(s.accepts(t) for s, t in zip(specs, data, strict=True)):
            given = ", ".join(f"{t.dtype}{list(t.shape)}" for t in data)
            raise InputError(f"{given} given, but the bundle takes {_describe(specs)}")
        return data

    def run(
        self,
        point: Point,
        tensors: tuple[Array, ...],
        reference: tuple[Array, ...] | None = None,
        stop: Stop | None = None,
    ) -> DeviceOutput:
        """The device's share of `point`.

        Args:
            point: any point of the bundle.
            tensors: of boundary 0, as `prepare` gives them.
            reference: symbols of an earlier frame that the server has; of use to codecs for streams only.
            stop: ends it early, with a `GraphError`.

        Raises:
            GraphError, CodecError, BundleError: if the bundle's files do not work here.
        """
        needed = inf
        if point.exit is not None:
            needed = self._graphs.bundle.exit(point.exit).thresholds[point.threshold].confidence
        return self._run(point, tensors, reference, Stop() if stop is None else stop, needed)

    def _run(
        self, point: Point, tensors: tuple[Array, ...], reference: tuple[Array, ...] | None, stop: Stop, needed: float
    ) -> DeviceOutput:
        """`run`, with the confidence that is needed to end at the exit."""
        laps = Laps(stop, self._stretch)
        head_ms = 0.0
        for number, (start, end) in enumerate(self._graphs.bundle.steps(point)):
            assert point.precision is not None, "the manifest was checked"
            tensors = self._graphs.span(start, end, point.precision).run(tensors, stop)
            told: tuple[Array, ...] = ()
            if point.exit is not None and number == 0:
                told = self._graphs.exit(point.exit).run(tensors, stop)
            head_ms += laps.lap((start, end, point.precision, bool(told)))
            if told and told[-1].item() >= needed:
                return DeviceOutput(None, told[:-1], head_ms, 0.0, exit=point.exit)
        if point.codec is None:
            return DeviceOutput(None, tensors, head_ms, 0.0)
        codec = self._graphs.codec(point.codec)
        symbols = None
        if isinstance(codec, DeltaCodec):
            payload, symbols = codec.encode_frame(tensors, point.level, reference)
        else:
            payload = codec.encode(tensors, point.level)
        return DeviceOutput(payload, None, head_ms, laps.lap((point.codec, point.level)), symbols)

    def run_parts(self, point: Point, tensors: tuple[Array, ...], stop: Stop | None = None) -> Iterator[DeviceOutput]:
        """The device's share of a sliced point: the parts of its payload, each computed when it is asked for.

        Args:
            point: sliced; see `Slicing`.
            tensors: of boundary 0, as `prepare` gives them.
            stop: ends it early, with a `GraphError`.

        Raises:
            GraphError, CodecError, BundleError: if the bundle's files do not work here.
        """
        stop = Stop() if stop is None else stop
        return run_slices(self._graphs, point, tensors, stop, Laps(stop, self._stretch))

    def warm_up(self, points: tuple[Point, ...]) -> None:
        """Loads and runs every graph and codec that `points` need once, on zeros, at this machine's own speed."""
        plain = Head(self._graphs)
        for point in {(p.start, p.precision, p.codec, p.exit): p for p in points if p.slicing is None}.values():
            plain._run(point, self.zeros(), None, Stop(), inf)
        for point in points:
            if point.slicing is not None:
                deque(plain.run_parts(point, self.zeros()), maxlen=0)

    def zeros(self) -> tuple[Array, ...]:
        """Tensors of boundary 0 full of zeros: something to run when any input will do."""
        return tuple(np.zeros(spec.shape, spec.dtype) for spec in self._manifest.boundaries[0].tensors)


def _describe(specs: tuple[object, ...]) -> str:
    return ", ".join(f"{s.name}: {s.dtype}{list(s.shape)}" for s in specs)  # type: ignore[attr-defined]
