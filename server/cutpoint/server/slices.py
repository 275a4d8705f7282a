"""Sliced requests: their parts are computed as they arrive, their rows put together, then the tail runs as usual."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Point
from cutpoint.sdk.errors import DeadlineExceeded, Refused, UnknownPoint, refusal
from cutpoint.sdk.protocol import Hop, Part, Rejected, Request
from cutpoint.sdk.runtimes import Graph, Stop
from cutpoint.sdk.tail import Tail, TailOutput
from cutpoint.server.asked import Answered, Asked, Computing
from cutpoint.server.scheduler import Outcome
from cutpoint.server.shared_slices import Same
from cutpoint.server.slice_keys import slice_key

__all__ = ["DeviceSlice", "Joined", "PictureSlice", "SlicedRequest"]


class _Beside:
    """A graph that gives, behind its outputs, the inputs that it does not take."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.input_names = graph.input_names
        self.output_names = graph.output_names
        self.batches = graph.batches

    def run(self, inputs: Sequence[Array], stop: Stop | None = None) -> tuple[Array, ...]:
        count = len(self.input_names)
        return (*self._graph.run(inputs[:count], stop), *inputs[count:])


@dataclass(frozen=True, slots=True)
class DeviceSlice:
    """A slice that the device computed: it is decoded. A `Sample`; its output are the rows."""

    point: Point
    number: int
    payload: bytes

    @property
    def tail(self) -> tuple[int, int, str]:
        return slice_key(self.point, self.number)

    def decode(self, tail: Tail) -> tuple[Array, ...]:
        return tail.slices.rows(self.point, self.number, self.payload)

    def graph(self, tail: Tail) -> Graph:
        return Same()

    def encode(self, tail: Tail, outputs: tuple[Array, ...]) -> bytes | None:
        return None


@dataclass(frozen=True, slots=True)
class PictureSlice:
    """A slice that came as picture: it is computed. A `Sample`; its output are the rows, and the strip of the picture.

    Attributes:
        above: the strips of the slices above.
    """

    point: Point
    number: int
    payload: bytes
    above: tuple[tuple[Array, ...], ...]

    @property
    def tail(self) -> tuple[int, int, str]:
        return slice_key(self.point, self.number)

    def decode(self, tail: Tail) -> tuple[Array, ...]:
        strip = tail.slices.strip(self.point, self.number, self.payload)
        return (*tail.slices.needed(self.point, self.number, (*self.above, strip)), *strip)

    def graph(self, tail: Tail) -> Graph:
        return _Beside(tail.slices.graph(self.point, self.number))

    def encode(self, tail: Tail, outputs: tuple[Array, ...]) -> bytes | None:
        return None


@dataclass(frozen=True, slots=True)
class Joined:
    """The rows of all slices, for the tail; a `Sample`."""

    point: Point
    rows: tuple[tuple[Array, ...], ...]

    @property
    def tail(self) -> tuple[int, int, str]:
        assert self.point.tail_precision is not None, "the protocol lets no local point through"
        return self.point.end, 0, self.point.tail_precision

    def decode(self, tail: Tail) -> tuple[Array, ...]:
        return tail.slices.join(self.point, self.rows)

    def graph(self, tail: Tail) -> Graph:
        return tail.span(self.point.end, self.tail[2])

    def encode(self, tail: Tail, outputs: tuple[Array, ...]) -> bytes | None:
        return None


class SlicedRequest:
    """A request whose parts come one by one.

    Args:
        point: of the request.
        first: its first part.
        clock: monotonic seconds.

    Attributes:
        nbytes: of the parts that have arrived.
        arrivals: of all frames so far; see `Request`.
    """

    def __init__(self, point: Point, first: Request, clock: Callable[[], float]) -> None:
        self._point = point
        self._clock = clock
        # Not bounded: the protocol lets no part through that the bundle does not have.
        self._parts: asyncio.Queue[bytes | Refused] = asyncio.Queue()
        self._last_at = clock()
        self.nbytes = 0
        self._add(first.payload, first.arrivals)

    def add(self, part: Part) -> None:
        """A further part has arrived."""
        self._add(part.payload, part.arrivals)

    def reject(self, why: Rejected) -> None:
        """There will be no further part."""
        self._parts.put_nowait(refusal(why.code, why.message, None))

    def _add(self, payload: bytes, arrivals: tuple[float, ...]) -> None:
        self.nbytes += len(payload)
        self.arrivals = arrivals
        self._last_at = self._clock()
        self._parts.put_nowait(payload)

    async def answer(self, name: str, computing: Computing, asked: Asked) -> Answered:
        """Computes the parts as they come, in their order, and the tail. Cancelling this frees what has not begun.

        Queue, decoder and tail of the outcome count from the last part: what was done before cost the client no time.

        Args:
            name: of this tier.
            computing: what computes here.
            asked: what the request is about beside its parts.

        Raises:
            UnknownPoint: if it wants to be stopped on the way.
            DeadlineExceeded: if the parts do not come in time.
            Refused, BitstreamError, CodecError, GraphError: as `Scheduler.submit`.
        """
        if asked.sample.stop:
            raise UnknownPoint("a sliced point cannot be stopped on the way")
        slicing = self._point.slicing
        assert slicing is not None, "the protocol was told which points are sliced"
        strips: list[tuple[Array, ...]] = []
        rows: list[tuple[Array, ...]] = []
        done: list[Outcome] = []
        for number in range(len(slicing.steps)):
            payload = await self._next(asked)
            pictured = number < slicing.pictures
            sample = (
                PictureSlice(self._point, number, payload, tuple(strips))
                if pictured
                else DeviceSlice(self._point, number, payload)
            )
            done.append(await computing.submit(sample, asked.left(self._clock()), asked.user, asked.weight))
            outputs = done[-1].output.outputs
            width = len(computing.bundle.manifest.boundaries[self._point.end].tensors)
            rows.append(outputs[:width])
            if pictured:
                strips.append(outputs[width:])
        joined = Joined(self._point, tuple(rows))
        tail = await computing.submit(joined, asked.left(self._clock()), asked.user, asked.weight)
        return self._told(name, asked, done, tail)

    async def _next(self, asked: Asked) -> bytes:
        try:
            async with asyncio.timeout(asked.left(self._clock()) or None):
                part = await self._parts.get()
        except TimeoutError:
            raise DeadlineExceeded(f"the parts did not come within the budget of {asked.budget:.3f} s") from None
        if isinstance(part, Refused):
            raise part
        return part

    def _told(self, name: str, asked: Asked, done: Sequence[Outcome], tail: Outcome) -> Answered:
        now = self._clock()
        after_ms, total_ms = (now - self._last_at) * 1e3, (now - asked.arrived) * 1e3
        output, last = tail.output, done[-1].output
        decode_ms = min(last.decode_ms + last.tail_ms + output.decode_ms, max(0.0, after_ms - output.tail_ms))
        queue_ms = max(0.0, after_ms - decode_ms - output.tail_ms)
        outcome = Outcome(TailOutput(output.outputs, decode_ms, output.tail_ms), queue_ms, tail.batch)
        everything = (*done, tail)
        hop = Hop(
            name,
            sum(one.queue_ms for one in everything),
            sum(one.output.decode_ms for one in everything),
            sum(one.output.tail_ms for one in everything),
            0.0,
            total_ms,
        )
        return Answered(outcome, (hop,))
