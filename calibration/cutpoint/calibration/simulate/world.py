"""Clients, links and one server on a virtual clock."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from cutpoint.sdk.bundle import Point
from cutpoint.sdk.channel import ChannelEstimator
from cutpoint.sdk.energy import EnergyModel
from cutpoint.sdk.monitor import LinkMonitor
from cutpoint.sdk.policy import Plan, Policy
from cutpoint.sdk.predictor import OVERHEAD_BYTES, Conditions
from cutpoint.sdk.protocol import IDLE, ServerState
from cutpoint.sdk.protocol.connection import MAX_FRAMES, MIN_CHUNK
from cutpoint.sdk.testing import Shaper, Trace

__all__ = ["Outcome", "Request", "Scenario", "simulate", "simulate_users"]

#: Bytes of a small message on the wire: a ping, a pong, a cancellation, a refusal.
_SMALL = 60
#: Weight of a new sample in the learned scale of the device, as in the client.
_Z95 = 1.6449


@dataclass(frozen=True)
class Scenario:
    """What requests meet.

    Attributes:
        uplink: rate from the client to the server.
        rtt: seconds.
        downlink: rate back; None for five times the uplink's.
        device_scale: how many times slower than in calibration the device computes.
        server_scale: the same for the server.
        period: seconds between requests.
        requests: how many.
        begin: seconds into the traces at which the first one is due.
        probe: seconds between the client's probes of an idle link.
        answer_bytes: size of a result.
        energy: of the device.
        seed: of the sizes of payloads.
    """

    uplink: Trace
    rtt: float
    downlink: Trace | None = None
    device_scale: float = 1.0
    server_scale: float = 1.0
    period: float = 0.5
    requests: int = 400
    begin: float = 0.0
    probe: float = 1.0
    answer_bytes: int = 4096
    energy: EnergyModel = field(default_factory=EnergyModel)
    seed: int = 0

    @property
    def down(self) -> Trace:
        """The downlink."""
        return self.downlink or Trace(tuple(5 * rate for rate in self.uplink.rates), self.uplink.step)

    def sizes(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """How large the payloads of each request are, in standard deviations of the logarithm. Shape (requests,)."""
        return np.random.default_rng(self.seed).normal(size=self.requests)


@dataclass(slots=True)
class Outcome:
    """What came of a request.

    Attributes:
        at: seconds at which it was due.
        latency_ms: until its answer.
        point: that gave it.
        planned: that was to give it.
        hedged: whether the device worked on an answer beside the server.
        device_ms: for which the device worked for it, in vain or not.
        radio_mj: energy of sending and receiving.
        bytes_sent: on the wire.
    """

    at: float
    latency_ms: float
    point: Point
    planned: Point
    hedged: bool = False
    device_ms: float = 0.0
    radio_mj: float = 0.0
    bytes_sent: int = 0

    def energy_mj(self, energy: EnergyModel) -> float:
        """Energy of the device for it."""
        return energy.compute_mj(self.device_ms) + self.radio_mj


def payload_bytes(point: Point, z: float) -> int:
    """Size of a payload `z` standard deviations from the middle, from mean and 95th percentile of a log-normal."""
    m = point.measured
    if m.bytes_p95 <= m.bytes_mean * 1.001:
        return round(m.bytes_mean)
    # p95 / mean = exp(z95 · s - s² / 2)
    ratio = math.log(m.bytes_p95 / m.bytes_mean)
    spread = _Z95 - math.sqrt(max(0.0, _Z95**2 - 2 * ratio))
    return max(1, round(m.bytes_mean * math.exp(spread * z - spread**2 / 2)))


def frame_sizes(nbytes: int) -> list[int]:
    """How the protocol splits a payload, with the bytes around it."""
    piece = max(MIN_CHUNK, -(-nbytes // MAX_FRAMES))
    sizes = [min(piece, nbytes - offset) for offset in range(0, nbytes, piece)]
    return [size + OVERHEAD_BYTES // MAX_FRAMES for size in sizes]


@dataclass(slots=True)
class Request:
    """A request on its way through the world."""

    number: int
    due: float
    z: float
    plan: Plan
    done: bool = False
    cancelled: bool = False
    sent_at: float = 0.0
    arrivals: list[float] = field(default_factory=list)
    hedged: bool = False
    device_ms: float = 0.0
    radio_mj: float = 0.0
    bytes_sent: int = 0


@dataclass(slots=True)
class _Job:
    """Work for the device's one worker."""

    request: Request
    seconds: float
    finished: Callable[[], None]
    started: float | None = None
    dropped: bool = False


class _Timeline:
    """What happens, in its order."""

    def __init__(self, begin: float) -> None:
        self.now = begin
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, time: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._order), action))

    def step(self) -> None:
        self.now, _, action = heapq.heappop(self._events)
        action()


class _Server:
    """Workers that take requests in the order in which they come."""

    def __init__(self, workers: int) -> None:
        self._free = [0.0] * workers

    def serve(self, now: float, seconds: float) -> float:
        """When a request is done that comes now."""
        done = max(now, heapq.heappop(self._free)) + seconds
        heapq.heappush(self._free, done)
        return done

    def state(self, now: float) -> ServerState:
        """What answers tell about it: how long a request would wait."""
        return ServerState(queue_ms=max(0.0, self._free[0] - now) * 1e3)


class _Link(NamedTuple):
    """Both ways of a link."""

    up: Shaper
    down: Shaper

    @classmethod
    def of(cls, scenario: Scenario) -> _Link:
        return cls(Shaper(scenario.uplink, scenario.rtt / 2), Shaper(scenario.down, scenario.rtt / 2))


class _Client:
    def __init__(
        self,
        scenario: Scenario,
        policy: Policy,
        fallback: Point | None,
        timeline: _Timeline,
        server: _Server,
        link: _Link,
        late: float,
    ) -> None:
        self.scenario = scenario
        self.policy = policy
        self.fallback = fallback
        self.outcomes: list[Outcome] = []
        self.probe_mj = 0.0
        self.monitor = LinkMonitor(ChannelEstimator(), scenario.probe)
        self.left = scenario.requests
        self.at = timeline.at
        self._timeline = timeline
        self._server = server
        self._told = IDLE
        self._up, self._down = link
        self._jobs: list[_Job] = []
        sizes = scenario.sizes()
        for i in range(scenario.requests):
            due = scenario.begin + 2.0 + late + i * scenario.period
            self.at(due, lambda i=i, due=due: self._begin(i, due, float(sizes[i])))  # type: ignore[misc]
        self.at(scenario.begin + late, self._probe)

    @property
    def now(self) -> float:
        return self._timeline.now

    # -- the link ------------------------------------------------------------------------------------------------

    def _send(self, shaper: Shaper, nbytes: int) -> float:
        """When the last of `nbytes` arrives."""
        return shaper.send(self.now, nbytes)

    def _send_mj(self, nbytes: int, arrival: float) -> float:
        """Energy of sending something that leaves now; the radio pauses in an outage."""
        seconds = max(1e-6, arrival - self.now - self.scenario.rtt / 2)
        rate = max(nbytes * 8 / seconds, self.scenario.uplink.mean / 20)
        return self.scenario.energy.radio.send_mj(nbytes, rate)

    def _probe(self) -> None:
        self.at(self.now + self.monitor.rest(self.now), self._probe)
        if not self.monitor.wants_probe(self.now):
            return
        sent = self.now
        self.monitor.probed(sent)
        first = self._send(self._up, _SMALL)
        second = self._send(self._up, _SMALL + LinkMonitor.PROBE_BYTES)
        self.probe_mj += self._send_mj(2 * _SMALL + LinkMonitor.PROBE_BYTES, second)
        for arrival in (first, second):
            self.at(arrival, lambda arrival=arrival: self._pong(sent, arrival))  # type: ignore[misc]

    def _pong(self, sent: float, received: float) -> None:
        def back() -> None:
            self.monitor.heard(self.now)
            self.monitor.pong(sent, received, self.now)
            self._told = told

        told = self._server.state(self.now)
        self.at(self._send(self._down, _SMALL), back)

    # -- the device ----------------------------------------------------------------------------------------------

    def _queue_ms(self) -> float:
        left = 0.0
        for job in self._jobs:
            left += job.seconds - (self.now - job.started if job.started is not None else 0.0)
        return max(0.0, left) * 1e3

    def _work(self, request: Request, point: Point, finished: Callable[[], None]) -> _Job:
        m = point.measured
        job = _Job(request, (m.device_ms + m.encode_ms) * self.scenario.device_scale / 1e3, finished)
        self._jobs.append(job)
        self._next_job()
        return job

    def _next_job(self) -> None:
        if self._jobs and self._jobs[0].started is None:
            job = self._jobs[0]
            job.started = self.now
            self.at(self.now + job.seconds, lambda: self._job_done(job))

    def _job_done(self, job: _Job) -> None:
        if not job.dropped:
            self._jobs.remove(job)
            job.request.device_ms += job.seconds * 1e3
            job.finished()
            self._next_job()

    def _drop(self, job: _Job) -> None:
        if job in self._jobs:
            job.dropped = True
            self._jobs.remove(job)
            if job.started is not None:
                job.request.device_ms += (self.now - job.started) * 1e3
            self._next_job()

    # -- a request -----------------------------------------------------------------------------------------------

    def _begin(self, number: int, due: float, z: float) -> None:
        self.monitor.asked(self.now)
        conditions = Conditions(
            self.monitor.channel(self.now),
            self._told,
            self.scenario.device_scale,
            self.scenario.server_scale,
            self._queue_ms(),
            self.monitor.unanswered,
        )
        request = Request(number + 1, due, z, self.policy.choose(conditions))
        point = request.plan.point
        if point.local:
            self._work(request, point, lambda: self._finish(request, point))
        else:
            self._work(request, point, lambda: self._ask(request))

    def _ask(self, request: Request) -> None:
        plan, point = request.plan, request.plan.point
        sizes = frame_sizes(payload_bytes(point, request.z))
        request.sent_at, request.bytes_sent = self.now, sum(sizes)
        server_s = (point.measured.decode_ms + point.measured.tail_ms) * self.scenario.server_scale / 1e3
        self.monitor.sent(request.number, sizes, server_s, self.now)
        arrivals = [self._send(self._up, size) for size in sizes]
        request.radio_mj += self._send_mj(sum(sizes), arrivals[-1])
        request.arrivals = [arrival - arrivals[0] for arrival in arrivals]
        self.at(arrivals[-1], lambda: self._serve(request, server_s))
        if self.fallback is not None and plan.hedge_ms is not None:
            self.at(max(self.now, request.due + plan.hedge_ms / 1e3), lambda: self._hedge(request))

    def _serve(self, request: Request, server_s: float) -> None:
        if request.cancelled:
            self._reply(_SMALL, lambda: self._refused(request))
            return
        self.at(self._server.serve(self.now, server_s), lambda: self._served(request, server_s))

    def _served(self, request: Request, server_s: float) -> None:
        if request.cancelled:
            self._reply(_SMALL, lambda: self._refused(request))
        else:
            told = self._server.state(self.now)
            self._reply(self.scenario.answer_bytes, lambda: self._answered(request, server_s, told))

    def _reply(self, nbytes: int, arrived: Callable[[], None]) -> None:
        self.at(self._send(self._down, nbytes), arrived)

    def _answered(self, request: Request, server_s: float, told: ServerState) -> None:
        self.monitor.heard(self.now)
        self._told = told
        answer = self.scenario.answer_bytes
        self.monitor.answered(request.number, request.arrivals, server_s, answer, self.now)
        if not request.done:
            request.radio_mj += self.scenario.energy.radio.receive_mj(answer, self.scenario.down.mean)
            for job in [job for job in self._jobs if job.request is request]:
                self._drop(job)
            self._finish(request, request.plan.point)

    def _refused(self, request: Request) -> None:
        self.monitor.heard(self.now)
        self.monitor.refused(request.number, self.now)

    def _hedge(self, request: Request) -> None:
        if not request.done and self.fallback is not None:
            request.hedged = True
            fallback = self.fallback
            self._work(request, fallback, lambda: self._device_first(request, fallback))

    def _device_first(self, request: Request, fallback: Point) -> None:
        if request.done:
            return
        self._finish(request, fallback)
        self.monitor.cancelled(request.number)
        # The server learns of it when the link lets the news through.
        self.at(self._send(self._up, _SMALL), lambda: setattr(request, "cancelled", True))

    def _finish(self, request: Request, point: Point) -> None:
        request.done = True
        self.left -= 1
        self.outcomes.append(
            Outcome(
                request.due,
                (self.now - request.due) * 1e3,
                point,
                request.plan.point,
                request.hedged,
                request.device_ms,
                request.radio_mj,
                request.bytes_sent,
            )
        )


def simulate(scenario: Scenario, policy: Policy, fallback: Point | None = None) -> list[Outcome]:
    """Sends the scenario's requests.

    Args:
        scenario: what they meet.
        policy: decides.
        fallback: local point with which the device steps in when a plan says so; None for never.

    Returns:
        What came of each, in the order in which they were due. The energy of probes is shared out among them.
    """
    return simulate_users(scenario, [policy], fallback)[0]


def simulate_users(
    scenario: Scenario,
    policies: Sequence[Policy],
    fallback: Point | None = None,
    *,
    workers: int = 1,
    shared_link: bool = False,
) -> list[list[Outcome]]:
    """As `simulate`, for several users of one server.

    Each sends the scenario's requests, a share of the period after the one before. They learn from answers and pongs
    how long the server's queue is; its price and its batches are left out.

    Args:
        scenario: what each of them meets.
        policies: one for each user, as a policy remembers what it chose.
        fallback: as for `simulate`.
        workers: of the server; requests take the first that is free, in the order in which they come.
        shared_link: all of them are in one cell, and wait for each other on one link; otherwise each has his own.
    """
    timeline, server, cell = _Timeline(scenario.begin), _Server(workers), _Link.of(scenario)
    clients = []
    for number, policy in enumerate(policies):
        link = cell if shared_link else _Link.of(scenario)
        late = number * scenario.period / len(policies)
        own = replace(scenario, seed=scenario.seed + number)
        clients.append(_Client(own, policy, fallback, timeline, server, link, late))
    while any(client.left for client in clients):
        timeline.step()
    found = []
    for client in clients:
        outcomes = sorted(client.outcomes, key=lambda outcome: outcome.at)
        for outcome in outcomes:
            outcome.radio_mj += client.probe_mj / len(outcomes)
        found.append(outcomes)
    return found
