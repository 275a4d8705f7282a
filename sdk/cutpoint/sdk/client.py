"""The client: pictures in, answers out, wherever they come from."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ssl import SSLContext
from types import TracebackType
from typing import Literal, Self, TypeVar

from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Bundle, Point
from cutpoint.sdk.channel import Channel, ChannelEstimator
from cutpoint.sdk.device import SCALE_WEIGHT, Device, Input
from cutpoint.sdk.download import download_bundle
from cutpoint.sdk.errors import CutpointError, DeadlineExceeded, InputError, LinkError, ReferenceGone, Refused
from cutpoint.sdk.head import DeviceOutput
from cutpoint.sdk.hedge import first_answer
from cutpoint.sdk.link import Link, LinkTimes
from cutpoint.sdk.objective import Objective
from cutpoint.sdk.policy import Conditions, LatencyPolicy, Plan, Policy, StaticPolicy, admissible
from cutpoint.sdk.protocol import IDLE, Result
from cutpoint.sdk.result import InferenceResult, Timing
from cutpoint.sdk.runtimes import Runtime

__all__ = ["Client", "Mode"]

Mode = Literal["auto", "device", "edge"]
T = TypeVar("T")
#: Of a stream: by codec and level, the symbols of the last frame that the server answered.
_References = dict[tuple[str | None, int], tuple[Array, ...]]

#: Bytes that a result has beside its tensors; generous.
_RESULT_OVERHEAD = 1 << 16
#: Seconds below which hedging is not worth a thought: the event loop's own jitter.
_LEAST_PATIENCE = 0.02


@dataclass(frozen=True, slots=True)
class _Asked:
    """The edge's answer with what it took."""

    result: Result
    bytes_sent: int
    elapsed_ms: float


class Client:
    """Answers inference requests with an edge server's help, or without.

    Use it as an asynchronous context manager. Several `infer` calls may run at a time; they share one connection, and
    take turns in the device's one worker thread.

    Args:
        url: the server, ``ws://host:port`` or ``wss://…``; None to compute on the device only.
        bundle: a `Bundle`, or the path of one; None to fetch the device part from the server.
        objective: what is wanted of an answer.
        mode: ``auto`` decides for each request and falls back on the device; ``device`` never uses the server; ``edge``
            always does, and raises where `auto` would fall back.
        policy: decides; None for `LatencyPolicy`. See `cutpoint.sdk.policy.Policy`.
        token: bearer token for the server.
        ssl: context for ``wss``; None for the system's certificates.
        runtime: name for `create_runtime`, or runtimes, best first. onnxruntime stands behind any named one.
        threads: of the runtime, within one call.
        slowdown: emulates a device this many times slower by waiting; 1 for no emulation.
        times: of the link.
        clock: monotonic seconds.
        rng: for the jitter of reconnecting.

    Raises:
        InputError: for arguments that do not go together.
    """

    def __init__(
        self,
        url: str | None = None,
        bundle: Bundle | str | os.PathLike[str] | None = None,
        *,
        objective: Objective | None = None,
        mode: Mode = "auto",
        policy: Policy | None = None,
        token: str | None = None,
        ssl: SSLContext | None = None,
        runtime: str | Sequence[Runtime] = "onnx",
        threads: int = 1,
        slowdown: float = 1.0,
        times: LinkTimes | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        if mode not in ("auto", "device", "edge"):
            raise InputError(f"mode {mode!r} is not one of auto, device, edge")
        if url is None and (mode == "edge" or bundle is None):
            raise InputError("without a server's url, a bundle is needed and the mode cannot be 'edge'")
        if slowdown < 1:
            raise InputError(f"slowdown {slowdown} is below 1: a device can only be emulated slower than it is")
        self._url = url
        self._given_bundle = bundle
        self.objective = objective or Objective()
        self.mode: Mode = mode
        self._given_policy = policy
        self._token = token
        self._ssl = ssl
        self._times = times or LinkTimes()
        self._clock = clock
        self._rng = rng or random.Random()
        self._device = Device(runtime, threads, slowdown)
        self._estimator = ChannelEstimator()
        self._link: Link | None = None
        self._server_scale = 1.0

    # -- life ----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _open(self) -> None:
        given = self._given_bundle
        if isinstance(given, Bundle):
            self.bundle = given
        elif given is not None:
            self.bundle = await asyncio.to_thread(Bundle.open, given)
        else:
            assert self._url is not None
            self.bundle = await download_bundle(self._url, token=self._token, ssl=self._ssl)
        points = await self._device.open(self.bundle)
        if not any(point.local for point in points):
            raise InputError(f"{self.bundle.origin}: no runtime here can run the whole model")
        chosen = admissible(points, self.objective.floor(self.bundle.manifest.task.uncut))
        self._fallback = LatencyPolicy([point for point in chosen if point.local])
        if self.mode == "edge":
            chosen = tuple(point for point in chosen if not point.local)
            if not chosen:
                raise InputError("mode 'edge', but no point of the bundle that uses the server meets the objective")
        elif self.mode == "device":
            chosen = self._fallback.points
        self.policy: Policy = self._given_policy or LatencyPolicy(chosen)
        # A policy that says what it chooses from spares the device loading the rest.
        await self._device.warm_up(getattr(self.policy, "points", chosen), self._fallback.points[0])
        if self._url is not None and self.mode != "device":
            last = self.bundle.manifest.boundaries[-1]
            self._link = Link(
                self._url,
                self.bundle.hash,
                self._estimator,
                # A batch axis may have grown; text of an error comes on top.
                2 * last.nbytes + _RESULT_OVERHEAD,
                token=self._token,
                ssl=self._ssl,
                times=self._times,
                clock=self._clock,
                rng=self._rng,
            )
            await self._link.start()
            if self.mode == "edge":
                await self._wait_for_link(self._times.connect)

    async def close(self) -> None:
        """Closes the connection. Requests that still wait for the server are answered by the device, or fail."""
        if self._link is not None:
            await self._link.close()
        await self._device.close()

    # -- state ---------------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether requests can be sent to the server now."""
        return self._link is not None and self._link.up

    @property
    def refusal(self) -> Refused | None:
        """Why the server last refused the connection; None if it did not."""
        return self._link.refusal if self._link is not None else None

    @property
    def conditions(self) -> Conditions:
        """What a decision made now would depend on."""
        channel: Channel | None = self._estimator.channel if self.connected else None
        server = self._link.server if self._link is not None else IDLE
        return Conditions(channel, server, self._device.scale, self._server_scale)

    # -- inference -----------------------------------------------------------------------------------------------

    async def infer(self, data: Input, *, point: str | None = None) -> InferenceResult:
        """Answers one request. Cancelling it frees the server's work, too.

        Args:
            data: a picture (array uint8 (height, width, 3), PIL image, encoded bytes, or path); for a bundle that takes
                no pictures its input tensor, or a tuple of them.
            point: id of a point to use, instead of the policy's choice. In mode `auto` the device still steps in.

        Raises:
            InputError: if `data` is not what the bundle takes.
            BundleError: if there is no point of that id.
            LinkError, Refused: in mode `edge` only.
            GraphError, CodecError: if the bundle's files do not work here.
        """
        return await self._infer(data, point, None)

    async def _infer(self, data: Input, point: str | None, references: _References | None) -> InferenceResult:
        started = self._clock()
        if self.mode == "edge" and not self.connected:
            await self._wait_for_link(self.objective.deadline or self._times.connect)
        plan = self._plan(point)
        reference = references.get((plan.point.codec, plan.point.level)) if references else None
        output, tensors, prepare_ms = await self._device.compute(plan.point, data, reference)
        if plan.point.local:
            return self._device_result(started, plan, output, prepare_ms)
        sent: list[int] = []
        asking = self._ask(plan.point, tensors, output, started, sent, references)
        if self.mode == "edge":
            asked = await self._within_deadline(asking, started)
            return self._edge_result(started, plan, output, prepare_ms, asked, hedged=False)

        fallback = self._fallback.choose(self.conditions)
        asked_at = self._clock()

        async def on_device() -> DeviceOutput:
            # Told at once, not when the race is over: the next request must not run into the same silence.
            self._estimator.observe_late(sum(sent), self._clock() - asked_at)
            return (await self._device.compute(fallback.point, tensors))[0]

        answer = await first_answer(asking, on_device, self._patience(plan, fallback, started))
        if answer.edge is not None:
            return self._edge_result(started, plan, output, prepare_ms, answer.edge, answer.hedged)
        assert answer.device is not None
        return self._device_result(
            started,
            fallback,
            answer.device,
            prepare_ms,
            plan=plan,
            bytes_sent=sum(sent),
            fallback=answer.failure,
            hedged=answer.hedged,
        )

    async def stream(
        self, frames: Iterable[Input] | AsyncIterable[Input], *, in_flight: int = 4
    ) -> AsyncIterator[InferenceResult]:
        """Answers a sequence of inputs, in their order.

        Args:
            frames: pictures or tensors, as for `infer`. An ordinary iterable is advanced in a thread. At points whose
                codec is for streams, what the last answered frame had already is not sent again.
            in_flight: how many may be under way at a time.

        Raises:
            InputError: if `in_flight` is below 1; otherwise as `infer`.
        """
        if in_flight < 1:
            raise InputError(f"in_flight must be at least 1, not {in_flight}")
        source = frames if isinstance(frames, AsyncIterable) else _in_thread(iter(frames))
        references: _References = {}
        tasks: deque[asyncio.Task[InferenceResult]] = deque()
        try:
            async for frame in source:
                tasks.append(asyncio.create_task(self._infer(frame, None, references)))
                while len(tasks) >= in_flight or (tasks and tasks[0].done()):
                    yield await tasks[0]
                    tasks.popleft()
            while tasks:
                yield await tasks[0]
                tasks.popleft()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # -- the steps of a request ----------------------------------------------------------------------------------

    def _plan(self, point_id: str | None) -> Plan:
        conditions = self.conditions
        if point_id is None:
            return self.policy.choose(conditions)
        point = self.bundle.points[self.bundle.point_number(point_id)]
        if self.mode != "auto" and point.local != (self.mode == "device"):
            raise InputError(f"point {point_id!r} does not go with mode {self.mode!r}")
        fallback = self._fallback.choose(conditions).point
        return StaticPolicy(point, point if self.mode == "edge" else fallback).choose(conditions)

    async def _ask(
        self,
        point: Point,
        tensors: tuple[Array, ...],
        output: DeviceOutput,
        started: float,
        sent: list[int],
        references: _References | None,
    ) -> _Asked:
        asked_at = self._clock()
        try:
            result = await self._send(point, output, started, sent)
        except ReferenceGone:
            # The server keeps a few frames, and none beyond a connection: start the stream anew.
            output, *_ = await self._device.compute(point, tensors)
            result = await self._send(point, output, started, sent)
        if references is not None and output.symbols is not None:
            references[point.codec, point.level] = output.symbols
        timings = result.timings
        expected = point.measured.tail_ms + point.measured.decode_ms
        if expected > 0.1:
            ratio = (timings.tail_ms + timings.decode_ms) / expected
            self._server_scale += SCALE_WEIGHT * (ratio - self._server_scale)
        return _Asked(result, sum(sent), (self._clock() - asked_at) * 1e3)

    async def _send(self, point: Point, output: DeviceOutput, started: float, sent: list[int]) -> Result:
        assert self._link is not None
        assert output.payload is not None
        budget = 0.0
        if self.objective.deadline is not None:
            budget = self.objective.deadline - (self._clock() - started)
            if budget <= 0:
                raise DeadlineExceeded(f"the deadline passed on the device, before anything was sent for {point.id}")
        return await self._link.request(self.bundle.point_number(point.id), output.payload, budget, sent)

    def _patience(self, plan: Plan, fallback: Plan, started: float) -> float:
        """Seconds from now after which the device starts on its own answer."""
        elapsed = self._clock() - started
        if self.objective.deadline is not None:
            latest = self.objective.deadline - fallback.predicted_ms / 1e3 - elapsed
            if latest > 0:
                return latest
        return max(_LEAST_PATIENCE, self.objective.patience * plan.predicted_ms / 1e3 - elapsed)

    async def _within_deadline(self, asking: Awaitable[_Asked], started: float) -> _Asked:
        if self.objective.deadline is None:
            return await asking
        left = self.objective.deadline - (self._clock() - started)
        try:
            return await asyncio.wait_for(asking, max(0.0, left))
        except TimeoutError:
            raise DeadlineExceeded(f"no answer within {self.objective.deadline} s") from None

    async def _wait_for_link(self, timeout: float) -> None:
        assert self._link is not None
        try:
            await asyncio.wait_for(self._link.wait_up(), timeout)
        except TimeoutError:
            raise LinkError(f"no connection to {self._url} within {timeout} s") from self._link.refusal

    def _edge_result(
        self, started: float, plan: Plan, output: DeviceOutput, prepare_ms: float, asked: _Asked, hedged: bool
    ) -> InferenceResult:
        on_server = asked.result.timings
        network = asked.elapsed_ms - on_server.queue_ms - on_server.decode_ms - on_server.tail_ms
        timing = Timing(
            total=(self._clock() - started) * 1e3,
            prepare=prepare_ms,
            head=output.head_ms,
            encode=output.encode_ms,
            network=network,
            queue=on_server.queue_ms,
            decode=on_server.decode_ms,
            tail=on_server.tail_ms,
        )
        return InferenceResult(asked.result.outputs, plan.point, "edge", timing, asked.bytes_sent, plan, hedged=hedged)

    def _device_result(
        self,
        started: float,
        done: Plan,
        output: DeviceOutput,
        prepare_ms: float,
        *,
        plan: Plan | None = None,
        bytes_sent: int = 0,
        fallback: CutpointError | None = None,
        hedged: bool = False,
    ) -> InferenceResult:
        assert output.outputs is not None
        total = (self._clock() - started) * 1e3
        timing = Timing(total=total, prepare=prepare_ms, head=output.head_ms)
        return InferenceResult(output.outputs, done.point, "device", timing, bytes_sent, plan or done, fallback, hedged)


async def _in_thread(iterator: Iterator[T]) -> AsyncIterator[T]:
    end = object()
    while (item := await asyncio.to_thread(next, iterator, end)) is not end:
        yield item  # type: ignore[misc]  # next() gives a T or `end`
