"""The client: pictures in, answers out, wherever they come from."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from ssl import SSLContext
from types import TracebackType
from typing import Literal, Self

from cutpoint.sdk.bundle import Bundle, Point
from cutpoint.sdk.channel import ChannelEstimator
from cutpoint.sdk.counters import Counters
from cutpoint.sdk.device import Device, Input
from cutpoint.sdk.download import download_bundle
from cutpoint.sdk.edge import Asked, Edge, References
from cutpoint.sdk.energy import NETWORK_RADIOS, EnergyModel, Radio
from cutpoint.sdk.errors import CutpointError, DeadlineExceeded, InputError, LinkError, Refused
from cutpoint.sdk.head import DeviceOutput
from cutpoint.sdk.hedge import first_answer
from cutpoint.sdk.learned import POLICY_FILE, LearnedPolicy
from cutpoint.sdk.link import Link
from cutpoint.sdk.monitor import LinkMonitor
from cutpoint.sdk.objective import Objective
from cutpoint.sdk.policy import AdaptivePolicy, Plan, Policy, StaticPolicy, admissible
from cutpoint.sdk.predictor import Conditions
from cutpoint.sdk.protocol import IDLE
from cutpoint.sdk.result import InferenceResult, Timing
from cutpoint.sdk.runtimes import Runtime
from cutpoint.sdk.stream import Keep, Window, answer_stream
from cutpoint.sdk.times import LinkTimes

__all__ = ["Client", "Mode"]

Mode = Literal["auto", "device", "edge"]
#: Bytes that a result has beside its tensors; generous.
_RESULT_OVERHEAD = 1 << 16
#: Seconds below which hedging is not worth a thought: the event loop's own jitter.
_LEAST_PATIENCE = 0.02
#: The device's own work may take this much longer than predicted when a deadline depends on it: a share, and seconds.
_MARGIN, _MARGIN_S = 1.1, 0.003
#: Share of a deadline by which the device may be late and still start at once.
_HOPELESS = 0.1
#: Seconds between looks at the device's state.
_LOOK = 5.0


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
        policy: decides, see `cutpoint.sdk.policy.Policy`; or the path of a trained policy's file, see `LearnedPolicy`;
            None for the bundle's own, where it has one, and otherwise `AdaptivePolicy`.
        energy: of the device, for objectives in which energy has a price; None for a phone on LTE.
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
        policy: Policy | str | os.PathLike[str] | None = None,
        energy: EnergyModel | None = None,
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
        self._energy = energy
        self._device = Device(runtime, threads, slowdown, clock)
        self._monitor = LinkMonitor(ChannelEstimator(), self._times.probe * self.objective.thrift)
        self._link: Link | None = None
        self._looking: asyncio.Task[None] | None = None
        self._edge: Edge | None = None
        self._radio: Radio | None = None
        self.counters = Counters()

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
        uncut = self.bundle.manifest.task.uncut
        chosen = admissible(points, self.objective.floor(uncut))
        local = [point for point in chosen if point.local]
        self._fallback = min(local, key=lambda point: point.measured.device_ms)
        if self.mode == "edge":
            chosen = tuple(point for point in chosen if not point.local)
            if not chosen:
                raise InputError("mode 'edge', but no point of the bundle that uses the server meets the objective")
        elif self.mode == "device":
            chosen = tuple(local)
        last = self.bundle.manifest.boundaries[-1]
        given_policy = self._given_policy
        analytic = AdaptivePolicy(chosen, self.objective, uncut=uncut, energy=self._energy, answer_bytes=last.nbytes)
        self.policy: Policy
        if isinstance(given_policy, str | os.PathLike):
            self.policy = await asyncio.to_thread(LearnedPolicy.open, given_policy, analytic, self.bundle)
        elif given_policy is None and self.mode == "auto" and POLICY_FILE in self.bundle:
            data = await asyncio.to_thread(self.bundle.read, POLICY_FILE)
            self.policy = await asyncio.to_thread(LearnedPolicy, data, analytic, self.bundle)
        else:
            self.policy = given_policy or analytic
        # A policy that says what it chooses from spares the device loading the rest.
        await self._device.warm_up(getattr(self.policy, "points", chosen), self._fallback)
        self._looking = asyncio.create_task(self._look(), name="cutpoint-device")
        if self._url is not None and self.mode != "device":
            self._link = Link(
                self._url,
                self.bundle.hash,
                self._monitor,
                # A batch axis may have grown; text of an error comes on top.
                2 * last.nbytes + _RESULT_OVERHEAD,
                token=self._token,
                ssl=self._ssl,
                times=self._times,
                clock=self._clock,
                rng=self._rng,
            )
            self._edge = Edge(self._link, self.bundle, self._device, self._clock)
            await self._link.start()
            if self.mode == "edge":
                await self._wait_for_link(self._times.connect)

    async def close(self) -> None:
        """Closes the connection. Requests that still wait for the server are answered by the device, or fail."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
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
        channel = self._monitor.channel(self._clock()) if self.connected else None
        return Conditions(
            channel,
            self._link.server if self._link is not None else IDLE,
            self._device.scale,
            self._edge.scale if self._edge is not None else 1.0,
            self._device.queue_ms,
            self._monitor.unanswered,
            self._device.state,
            self._radio,
        )

    def network_changed(self, kind: str) -> None:
        """Tells the client that the device is on another network now.

        What was learned of the old one is forgotten, and a new connection is made at once: its address is gone.

        Args:
            kind: one of ``ethernet``, ``wifi``, ``5g``, ``lte``, ``3g``.

        Raises:
            InputError: if there is no such kind.
        """
        self._monitor.estimator.network_changed(kind)
        self._radio = NETWORK_RADIOS[kind]
        if self._link is not None:
            self._link.reconnect()

    async def _look(self) -> None:
        while True:
            await self._device.look()
            await asyncio.sleep(_LOOK)

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

    async def stream(
        self,
        frames: Iterable[Input] | AsyncIterable[Input],
        *,
        in_flight: int = 4,
        keep: Keep = "all",
        rate: float | None = None,
    ) -> AsyncIterator[InferenceResult]:
        """Answers a sequence of inputs, in their order; `InferenceResult.frame` says which.

        Args:
            frames: pictures or tensors, as for `infer`. An ordinary iterable is advanced in a thread. At points whose
                codec is for streams, what the last answered frame had already is not sent again.
            in_flight: how many may be under way at a time, at most; fewer where more would only wait.
            keep: ``all`` holds the source up while that many are under way; ``latest`` lets it run, as a camera does,
                and leaves out frames that were overtaken by newer ones.
            rate: frames a second that are begun at most; None for no limit.

        Raises:
            InputError: for arguments that make no sense; otherwise as `infer`.
        """
        references: References = {}
        window = Window(in_flight)

        async def answer(number: int, frame: Input) -> InferenceResult:
            result = await self._infer(frame, None, references)
            timing, rtt_ms = result.timing, 1e3 * self._monitor.channel(self._clock()).rtt
            on_way = min(timing.network, rtt_ms)
            device_ms, server_ms = timing.head + timing.encode, timing.decode + timing.tail
            window.answered(device_ms, timing.network - on_way, server_ms, on_way)
            return replace(result, frame=number)

        async for result in answer_stream(answer, frames, window, keep, rate, self._clock):
            yield result

    # -- the steps of a request ----------------------------------------------------------------------------------

    async def _infer(self, data: Input, point: str | None, references: References | None) -> InferenceResult:
        started = self._clock()
        self._monitor.asked(started)
        if self._link is not None:
            self._link.wake()
        if self.mode == "edge" and not self.connected:
            await self._wait_for_link(self.objective.deadline or self._times.connect)
        plan = self._plan(point)
        result = await self._answer(data, plan, started, references)
        self.counters.count(result)
        return result

    async def _answer(self, data: Input, plan: Plan, started: float, references: References | None) -> InferenceResult:
        reference = references.get((plan.point.codec, plan.point.level)) if references else None
        output, tensors, prepare_ms = await self._device.compute(plan.point, data, reference)
        if plan.point.local:
            return self._device_result(started, plan, plan.point, output, prepare_ms)
        sent: list[int] = []
        assert self._edge is not None
        asking = self._edge.ask(plan.point, tensors, output, self.objective.deadline, started, sent, references)
        if self.mode == "edge":
            asked = await self._within_deadline(asking, started)
            return self._edge_result(started, plan, output, prepare_ms, asked, hedged=False)

        async def on_device() -> DeviceOutput:
            return (await self._device.compute(self._fallback, tensors))[0]

        answer = await first_answer(asking, on_device, self._patience(plan, started))
        if answer.edge is not None:
            return self._edge_result(started, plan, output, prepare_ms, answer.edge, answer.hedged)
        assert answer.device is not None
        return self._device_result(
            started,
            plan,
            self._fallback,
            answer.device,
            prepare_ms,
            bytes_sent=sum(sent),
            fallback=answer.failure,
            hedged=answer.hedged,
        )

    def _plan(self, point_id: str | None) -> Plan:
        conditions = self.conditions
        if point_id is None:
            return self.policy.choose(conditions)
        point = self.bundle.points[self.bundle.point_number(point_id)]
        if self.mode != "auto" and point.local != (self.mode == "device"):
            raise InputError(f"point {point_id!r} does not go with mode {self.mode!r}")
        return StaticPolicy(point, point if self.mode == "edge" else self._fallback).choose(conditions)

    def _patience(self, plan: Plan, started: float) -> float:
        """Seconds from now after which the device starts on its own answer."""
        elapsed = self._clock() - started
        if plan.hedge_ms is None:
            wait = max(_LEAST_PATIENCE, self.objective.patience * plan.predicted_ms / 1e3 - elapsed)
        else:
            wait = plan.hedge_ms / 1e3 - elapsed
        if self.objective.deadline is not None:
            alone = self._fallback.measured.device_ms * self._device.scale / 1e3
            latest = self.objective.deadline - _MARGIN * (alone + self._device.queue_ms / 1e3) - _MARGIN_S - elapsed
            # Where the device could not be in time either, hurrying it helps nobody.
            if latest > -_HOPELESS * self.objective.deadline:
                wait = min(wait, latest)
        return max(0.0, wait)

    async def _within_deadline(self, asking: Awaitable[Asked], started: float) -> Asked:
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
        self, started: float, plan: Plan, output: DeviceOutput, prepare_ms: float, asked: Asked, hedged: bool
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
        plan: Plan,
        done: Point,
        output: DeviceOutput,
        prepare_ms: float,
        *,
        bytes_sent: int = 0,
        fallback: CutpointError | None = None,
        hedged: bool = False,
    ) -> InferenceResult:
        assert output.outputs is not None
        total = (self._clock() - started) * 1e3
        timing = Timing(total=total, prepare=prepare_ms, head=output.head_ms)
        return InferenceResult(output.outputs, done, "device", timing, bytes_sent, plan, fallback, hedged)
