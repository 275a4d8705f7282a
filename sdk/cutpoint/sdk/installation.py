"""A bundle as a client uses it: what the device computes of it, the link to a server that holds it, and the policy."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from ssl import SSLContext
from typing import Literal

from cutpoint.sdk.bundle import Bundle, DeviceProfile, Point
from cutpoint.sdk.channel import ChannelEstimator
from cutpoint.sdk.device import Device, Input
from cutpoint.sdk.device_output import DeviceOutput
from cutpoint.sdk.edge import Asked, Edge, References
from cutpoint.sdk.energy import EnergyModel, Radio
from cutpoint.sdk.errors import CutpointError, DeadlineExceeded, InputError, LinkError
from cutpoint.sdk.hedge import first_answer
from cutpoint.sdk.learned import POLICY_FILE, LearnedPolicy
from cutpoint.sdk.link import Link
from cutpoint.sdk.monitor import LinkMonitor
from cutpoint.sdk.objective import Objective
from cutpoint.sdk.policy import AdaptivePolicy, Plan, Policy, StaticPolicy, admissible, fastest_alone
from cutpoint.sdk.predictor import Conditions
from cutpoint.sdk.profiles import apply_profile, find_profile
from cutpoint.sdk.protocol import IDLE
from cutpoint.sdk.result import InferenceResult, Timing
from cutpoint.sdk.runtimes import Runtime
from cutpoint.sdk.times import LinkTimes
from cutpoint.sdk.tracing import Tracing

__all__ = ["Installation", "Mode", "Options"]

Mode = Literal["auto", "device", "edge"]
#: Bytes that a result has beside its tensors; generous.
_RESULT_OVERHEAD = 1 << 16
#: Seconds below which hedging is not worth a thought: the event loop's own jitter.
_LEAST_PATIENCE = 0.02
#: The device's own work may take this much longer than predicted when a deadline depends on it: a share, and seconds.
_MARGIN, _MARGIN_S = 1.1, 0.003
#: Share of a deadline by which the device may be late and still start at once.
_HOPELESS = 0.1


@dataclass(frozen=True, slots=True)
class Options:
    """What stays the same when a client goes over to another bundle; see `Client`."""

    url: str | None
    objective: Objective
    mode: Mode
    policy: Policy | str | os.PathLike[str] | None
    energy: EnergyModel | None
    token: str | None
    ssl: SSLContext | None
    runtime: str | Sequence[Runtime]
    threads: int
    profile: str | os.PathLike[str] | DeviceProfile | None
    slowdown: float
    times: LinkTimes
    clock: Callable[[], float]
    rng: random.Random
    estimator: ChannelEstimator
    tracing: Tracing | None

    @property
    def formats(self) -> tuple[str, ...]:
        """Of the graph files that are run, the best first."""
        if isinstance(self.runtime, str):
            return ("onnx",) if self.runtime == "onnx" else ("tflite", "onnx")
        return tuple(dict.fromkeys(each.format for each in self.runtime))


class Installation:
    """A bundle in use. `open` makes one; `close` ends it.

    Args:
        bundle: with its device part.
        options: of the client.

    Attributes:
        bundle: as given.
        device: computes its heads.
        monitor: of its link.
        link: to a server that holds it; None where no server is used.
        edge: asks over the link.
        policy: decides.
    """

    policy: Policy

    def __init__(self, bundle: Bundle, options: Options) -> None:
        self.bundle = bundle
        self.device = Device(options.runtime, options.threads, options.slowdown, options.clock)
        self.monitor = LinkMonitor(options.estimator, options.times.probe, options.objective.thrifty)
        self.link: Link | None = None
        self.edge: Edge | None = None
        self._options = options
        self._clock = options.clock
        self._objective = options.objective
        self._mode = options.mode
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @classmethod
    async def open(cls, bundle: Bundle, options: Options) -> Installation:
        """Loads and warms up what the device needs, and connects.

        Raises:
            InputError: if the bundle does not go with the options.
            BundleError, GraphError, CodecError, RuntimeUnavailable: if it does not work here.
            LinkError, Refused: in mode `edge`, if there is no connection.
        """
        self = cls(bundle, options)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.close)
            await self._open()
            stack.pop_all()
        return self

    async def _open(self) -> None:
        options = self._options
        if options.profile is not None:
            profile = await asyncio.to_thread(find_profile, self.bundle, options.profile)
            self.bundle = apply_profile(self.bundle, profile, options.formats[0])
        points = await self.device.open(self.bundle)
        if not any(point.local and point.exit is None for point in points):
            raise InputError(f"{self.bundle.origin}: no runtime here can run the whole model")
        uncut = self.bundle.manifest.task.uncut
        chosen = admissible(points, self._objective.floor(uncut))
        self._fallback = fastest_alone(chosen)
        if self._mode == "edge":
            chosen = tuple(point for point in chosen if not point.local and point.exit is None)
            if not chosen:
                raise InputError("mode 'edge', but no point of the bundle that uses the server meets the objective")
        elif self._mode == "device":
            chosen = tuple(point for point in chosen if point.local)
        last = self.bundle.manifest.boundaries[-1]
        analytic = AdaptivePolicy(chosen, self._objective, uncut=uncut, energy=options.energy, answer_bytes=last.nbytes)
        self.policy = await asyncio.to_thread(self._choose_policy, analytic)
        # A policy that says what it chooses from spares the device loading the rest.
        await self.device.warm_up(getattr(self.policy, "points", chosen), self._fallback)
        if options.url is not None and self._mode != "device":
            self.link = Link(
                options.url,
                self.bundle.hash,
                self.monitor,
                # A batch axis may have grown; text of an error comes on top.
                2 * last.nbytes + _RESULT_OVERHEAD,
                token=options.token,
                ssl=options.ssl,
                times=options.times,
                clock=self._clock,
                rng=options.rng,
            )
            floor = self._objective.floor(uncut)
            self.edge = Edge(self.link, self.bundle, self.device, self._clock, floor, options.tracing)
            await self.link.start()
            if self._mode == "edge":
                await self._wait_for_link(options.times.connect)

    def _choose_policy(self, analytic: AdaptivePolicy) -> Policy:
        """The one that was given, or the bundle's own, or `analytic`. Blocking."""
        given = self._options.policy
        if isinstance(given, str | os.PathLike):
            return LearnedPolicy.open(given, analytic, self.bundle)
        if given is None and self._mode == "auto" and POLICY_FILE in self.bundle:
            return LearnedPolicy(self.bundle.read(POLICY_FILE), analytic, self.bundle)
        return given or analytic

    async def finish(self) -> None:
        """Closes once every request that is under way is answered."""
        try:
            await self._idle.wait()
        finally:
            await self.close()

    async def close(self) -> None:
        """Closes the connection. Requests that still wait for the server are answered by the device, or fail."""
        if self.link is not None:
            await self.link.close()
        await self.device.close()

    def conditions(self, radio: Radio | None) -> Conditions:
        """What a decision made now would depend on; `radio` is that of the network in use."""
        link, now = self.link, self._clock()
        return Conditions(
            self.monitor.channel(now) if link is not None and link.up else None,
            link.server if link is not None else IDLE,
            self.device.scale,
            self.edge.scale if self.edge is not None else 1.0,
            self.device.queue_ms,
            self.monitor.on_the_way(now),
            self.device.state,
            radio,
            slices=link is not None and link.slices,
        )

    async def infer(
        self, data: Input, point: str | None, references: References | None, radio: Radio | None, started: float
    ) -> InferenceResult:
        """Answers one request that began at `started`; see `Client.infer`."""
        self._under_way += 1
        self._idle.clear()
        try:
            self.monitor.asked(started)
            if self.link is not None:
                self.link.wake()
                if self._mode == "edge" and not self.link.up:
                    await self._wait_for_link(self._objective.deadline or self._options.times.connect)
            plan = self._plan(point, radio)
            return await self._answer(data, plan, started, references)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _answer(self, data: Input, plan: Plan, started: float, references: References | None) -> InferenceResult:
        sent: list[int] = []
        if plan.point.slicing is not None:
            tensors, prepare_ms = await self.device.prepare(data)
            assert self.edge is not None
            asking = self.edge.ask_in_parts(plan.point, tensors, self._objective.deadline, started, sent)
        else:
            reference = references.get((plan.point.codec, plan.point.level)) if references else None
            output, tensors, prepare_ms = await self.device.compute(plan.point, data, reference)
            if plan.point.local and self.edge is not None:
                self.edge.unused()
            if output.outputs is not None:
                return self._device_result(started, plan, plan.point, output, prepare_ms)
            assert self.edge is not None
            asking = self.edge.ask(plan.point, tensors, output, self._objective.deadline, started, sent, references)
        if self._mode == "edge":
            asked = await self._within_deadline(asking, started)
            return self._edge_result(started, plan, prepare_ms, asked, hedged=False)

        async def on_device() -> DeviceOutput:
            return (await self.device.compute(self._fallback, tensors))[0]

        answer = await first_answer(asking, on_device, self._patience(plan, started))
        if answer.edge is not None:
            return self._edge_result(started, plan, prepare_ms, answer.edge, answer.hedged)
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

    def _plan(self, point_id: str | None, radio: Radio | None) -> Plan:
        conditions = self.conditions(radio)
        if point_id is None:
            return self.policy.choose(conditions)
        point = self.bundle.points[self.bundle.point_number(point_id)]
        somewhere = "device" if point.local else "edge" if point.exit is None else "auto"
        if self._mode not in ("auto", somewhere):
            raise InputError(f"point {point_id!r} does not go with mode {self._mode!r}")
        return StaticPolicy(point, point if self._mode == "edge" else self._fallback).choose(conditions)

    def _patience(self, plan: Plan, started: float) -> float:
        """Seconds from now after which the device starts on its own answer."""
        elapsed = self._clock() - started
        if plan.hedge_ms is None:
            wait = max(_LEAST_PATIENCE, self._objective.patience * plan.predicted_ms / 1e3 - elapsed)
        else:
            wait = plan.hedge_ms / 1e3 - elapsed
        if self._objective.deadline is not None:
            alone = self._fallback.measured.device_ms * self.device.scale / 1e3
            latest = self._objective.deadline - _MARGIN * (alone + self.device.queue_ms / 1e3) - _MARGIN_S - elapsed
            # Where the device could not be in time either, hurrying it helps nobody.
            if latest > -_HOPELESS * self._objective.deadline:
                wait = min(wait, latest)
        return max(0.0, wait)

    async def _within_deadline(self, asking: Awaitable[Asked], started: float) -> Asked:
        if self._objective.deadline is None:
            return await asking
        left = self._objective.deadline - (self._clock() - started)
        try:
            return await asyncio.wait_for(asking, max(0.0, left))
        except TimeoutError:
            raise DeadlineExceeded(f"no answer within {self._objective.deadline} s") from None

    async def _wait_for_link(self, timeout: float) -> None:
        assert self.link is not None
        try:
            await asyncio.wait_for(self.link.wait_up(), timeout)
        except TimeoutError:
            raise LinkError(f"no connection to {self._options.url} within {timeout} s") from self.link.refusal

    def _edge_result(
        self, started: float, plan: Plan, prepare_ms: float, asked: Asked, hedged: bool
    ) -> InferenceResult:
        on_server, output = asked.result.timings, asked.output
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
        result, exit = asked.result, None
        if result.exit:
            exit = self.bundle.server_exits(plan.point)[result.exit - 1][0].id
        return InferenceResult(
            result.outputs,
            plan.point,
            "edge",
            timing,
            asked.bytes_sent,
            plan,
            hedged=hedged,
            hops=result.hops,
            exit=exit,
        )

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
        return InferenceResult(output.outputs, done, "device", timing, bytes_sent, plan, fallback, hedged, output.exit)
