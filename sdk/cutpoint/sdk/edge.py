"""The server's share of a request, as the client sees it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Bundle, Point
from cutpoint.sdk.device import SCALE_WEIGHT, Device
from cutpoint.sdk.device_output import DeviceOutput
from cutpoint.sdk.errors import DeadlineExceeded, ReferenceGone
from cutpoint.sdk.link import Link
from cutpoint.sdk.parts import Parts
from cutpoint.sdk.protocol import Result
from cutpoint.sdk.tracing import Tracing

__all__ = ["Asked", "Edge", "References"]

#: Of a stream: by codec and level, the symbols of the last frame that the server answered.
References = dict[tuple[str | None, int], tuple[Array, ...]]
#: Milliseconds below which a time says more about the call than about the work.
_MEASURABLE_MS = 0.1
#: Share of what was concluded from unfinished requests that each request without the server takes back.
_FORGET = 0.02
#: A floor that is just kept is kept.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Asked:
    """The edge's answer with what it took.

    Attributes:
        result: of the server.
        output: of the device.
        bytes_sent: on the wire.
        elapsed_ms: from when all of the payload was there to the answer.
    """

    result: Result
    output: DeviceOutput
    bytes_sent: int
    elapsed_ms: float


class Edge:
    """Asks the server, and learns how fast it is.

    Args:
        link: to the server.
        bundle: that both ends hold.
        device: encodes a frame anew where the server has lost what it refers to.
        clock: monotonic seconds.
        floor: task metric below which exits of the server must not take any point.
        tracing: requests carry the context of its current span; None: they carry none.

    """

    def __init__(
        self,
        link: Link,
        bundle: Bundle,
        device: Device,
        clock: Callable[[], float],
        floor: float = 1.0,
        tracing: Tracing | None = None,
    ) -> None:
        self._link = link
        self._bundle = bundle
        self._device = device
        self._clock = clock
        self._floor = floor
        self._tracing = tracing
        #: From answers, and from those and what was only concluded; None: nothing yet.
        self._answered_scale: float | None = None
        self._scale: float | None = None

    @property
    def scale(self) -> float:
        """How many times slower than in calibration the server computes: what it said of itself until one can tell."""
        return self._link.scale if self._scale is None else self._scale

    def unused(self) -> None:
        """A request was left to the device. Without news of the server, what was only concluded grows old."""
        if self._scale is not None:
            answered = self._link.scale if self._answered_scale is None else self._answered_scale
            self._scale += _FORGET * (answered - self._scale)

    async def ask(
        self,
        point: Point,
        tensors: tuple[Array, ...],
        output: DeviceOutput,
        deadline: float | None,
        started: float,
        sent: list[int],
        references: References | None,
    ) -> Asked:
        """Sends what the device made, and waits for the answer. Cancelling this frees the server's work.

        Args:
            point: of the request.
            tensors: of boundary 0.
            output: of the device, for `point`.
            deadline: seconds from `started` to the answer; None for none.
            started: when the request began.
            sent: the size of each frame is added here as it is sent.
            references: of the stream; None outside streams.

        Raises:
            DeadlineExceeded: if there is no time left.
            LinkError: if there is no connection or it goes away.
            Refused: if the server answers with an error.
        """
        asked_at = self._clock()
        try:
            result = await self._send(point, _payload(output), deadline, started, sent)
        except ReferenceGone:
            # The server keeps a few frames, and none beyond a connection: start the stream anew.
            output, *_ = await self._device.compute(point, tensors)
            result = await self._send(point, _payload(output), deadline, started, sent)
        if references is not None and output.symbols is not None:
            references[point.codec, point.level] = output.symbols
        timings = result.timings
        expected = point.measured.tail_ms + point.measured.decode_ms
        if result.exit:
            _, use = self._bundle.server_exits(point)[result.exit - 1]
            expected = use.ms
        self._learn(timings.tail_ms + timings.decode_ms, expected)
        return Asked(result, output, sum(sent), (self._clock() - asked_at) * 1e3)

    async def ask_in_parts(
        self, point: Point, tensors: tuple[Array, ...], deadline: float | None, started: float, sent: list[int]
    ) -> Asked:
        """Asks at a sliced point: the device computes while what it has is sent. Cancelling this ends both.

        Arguments and exceptions are those of `ask`, and those of `Device.parts`.
        """
        assert point.slicing is not None
        head_ms = encode_ms = 0.0
        made_at = self._clock()
        async with aclosing(self._device.parts(point, tensors)) as outputs:

            async def payloads() -> AsyncGenerator[bytes]:
                nonlocal head_ms, encode_ms, made_at
                async for output in outputs:
                    head_ms, encode_ms = head_ms + output.head_ms, encode_ms + output.encode_ms
                    made_at = self._clock()
                    yield _payload(output)

            async with aclosing(payloads()) as made:
                parts = Parts(len(point.slicing.steps), await anext(made), made)
                result = await self._send(point, parts, deadline, started, sent)
        # What the server did before the last part was there is not told.
        self._learn(result.timings.tail_ms, point.measured.tail_ms)
        output = DeviceOutput(None, None, head_ms, encode_ms)
        return Asked(result, output, sum(sent), (self._clock() - made_at) * 1e3)

    def _learn(self, took_ms: float, expected_ms: float) -> None:
        if expected_ms > _MEASURABLE_MS:
            self._scale = self._answered_scale = self.scale + SCALE_WEIGHT * (took_ms / expected_ms - self.scale)

    async def _send(
        self, point: Point, payload: bytes | Parts, deadline: float | None, started: float, sent: list[int]
    ) -> Result:
        budget = 0.0
        if deadline is not None:
            budget = deadline - (self._clock() - started)
            if budget <= 0:
                raise DeadlineExceeded(f"the deadline passed on the device, before anything was sent for {point.id}")
        expected = point.measured.decode_ms + point.measured.tail_ms

        def unfinished(seconds: float) -> None:
            # The device was first. Where it always is, there is never an answer to say how slow the server is.
            # A server that waited for parts had nothing to do.
            if expected > _MEASURABLE_MS and isinstance(payload, bytes):
                self._scale = self.scale + SCALE_WEIGHT * max(0.0, seconds * 1e3 / expected - self.scale)

        number = self._bundle.point_number(point.id)
        server_s = expected * self.scale / 1e3
        if isinstance(payload, Parts):
            server_s += (point.measured.device_ms + point.measured.encode_ms) * self._device.scale / 1e3
        trace = None if self._tracing is None else self._tracing.current()
        asked = number, payload, budget, server_s, sent, unfinished
        return await self._link.request(*asked, trace=trace, exits=self._exits(point))

    def _exits(self, point: Point) -> int:
        """How many of the exits for servers keep to the floor: what they may spoil comes on top of the point's loss."""
        spare = point.measured.metric - self._floor + _ROUNDING
        return sum(use.threshold.drop <= spare for _, use in self._bundle.server_exits(point))


def _payload(output: DeviceOutput) -> bytes:
    assert output.payload is not None, "what is sent is not an answer"
    return output.payload
