"""One client on a virtual clock: its own policy and estimator, a device with one worker, a link."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cutpoint.calibration.simulate.clock import VirtualClock
from cutpoint.calibration.simulate.scenario import Outcome, Scenario, frame_sizes, payload_bytes
from cutpoint.calibration.simulate.server import SimulatedServer, Work
from cutpoint.sdk.bundle import Point
from cutpoint.sdk.channel import ChannelEstimator
from cutpoint.sdk.monitor import LinkMonitor
from cutpoint.sdk.policy import Plan, Policy
from cutpoint.sdk.predictor import Conditions
from cutpoint.sdk.protocol import IDLE, ServerState
from cutpoint.sdk.testing import Shaper

__all__ = ["SimulatedClient"]

#: Bytes of a small message on the wire: a ping, a pong, a cancellation, a refusal.
_SMALL = 60


@dataclass(slots=True)
class _Request:
    """A request on its way through the world."""

    number: int
    due: float
    z: float
    plan: Plan
    done: bool = False
    work: Work | None = None
    sent_at: float = 0.0
    arrivals: list[float] = field(default_factory=list)
    hedged: bool = False
    device_ms: float = 0.0
    radio_mj: float = 0.0
    bytes_sent: int = 0
    exit: bool = False


@dataclass(slots=True)
class _Job:
    """Work for the device's one worker."""

    request: _Request
    seconds: float
    finished: Callable[[], None]
    started: float | None = None
    dropped: bool = False


class SimulatedClient:
    """Sends the requests of a scenario.

    Args:
        scenario: what they meet.
        policy: decides.
        fallback: local point with which the device steps in when a plan says so, or when the server refuses; None for
            never: such a request fails.
        server: that computes the tails.
        clock: of the world.

    Attributes:
        outcomes: of the requests that are done.
        left: requests that are not.
    """

    def __init__(
        self, scenario: Scenario, policy: Policy, fallback: Point | None, server: SimulatedServer, clock: VirtualClock
    ) -> None:
        self.scenario = scenario
        self.policy = policy
        self.fallback = fallback
        self.outcomes: list[Outcome] = []
        self.left = scenario.requests
        self._server = server
        self._clock = clock
        self._monitor = LinkMonitor(ChannelEstimator(), scenario.probe, scenario.thrifty)
        self._state = IDLE
        self._up = Shaper(scenario.uplink, scenario.rtt / 2)
        self._down = Shaper(scenario.down, scenario.rtt / 2)
        self._jobs: list[_Job] = []
        self._probe_mj = 0.0
        self._ease = scenario.ease()
        self._begin_next(0, scenario.due().tolist(), scenario.sizes().tolist())
        clock.at(scenario.begin, self._probe)

    def finished(self) -> list[Outcome]:
        """What came of each request, in the order in which they were due. They share the energy of probes."""
        outcomes = sorted(self.outcomes, key=lambda outcome: outcome.at)
        for outcome in outcomes:
            outcome.radio_mj += self._probe_mj / len(outcomes)
        self._probe_mj = 0.0
        return outcomes

    # -- the link ------------------------------------------------------------------------------------------------

    def _send(self, shaper: Shaper, nbytes: int) -> float:
        """When the last of `nbytes` arrives."""
        return shaper.send(self._clock.now, nbytes)

    def _send_mj(self, nbytes: int, arrival: float) -> float:
        """Energy of sending something that leaves now; the radio pauses in an outage."""
        seconds = max(1e-6, arrival - self._clock.now - self.scenario.rtt / 2)
        rate = max(nbytes * 8 / seconds, self.scenario.uplink.mean / 20)
        return self.scenario.energy.radio.send_mj(nbytes, rate)

    def _probe(self) -> None:
        if not self.left:
            return
        now = self._clock.now
        self._clock.at(now + self._monitor.rest(now), self._probe)
        if not self._monitor.wants_probe(now):
            return
        padding = self._monitor.padding(now)
        self._monitor.probed(padding, now)
        first = self._send(self._up, _SMALL)
        second = self._send(self._up, _SMALL + padding)
        self._probe_mj += self._send_mj(2 * _SMALL + padding, second)
        for arrival in (first, second):
            self._clock.at(arrival, lambda arrival=arrival: self._ponged(now, arrival))  # type: ignore[misc]

    def _ponged(self, sent: float, received: float) -> None:
        def back() -> None:
            self._monitor.pong(sent, received, self._clock.now)

        self._reply(_SMALL, back, stated=True)

    def _reply(self, nbytes: int, arrived: Callable[[], None], stated: bool) -> None:
        """The server sends something back, with a word about itself if `stated`."""
        state = self._server.state(self) if stated else None
        self._clock.at(self._send(self._down, nbytes), lambda: self._heard(state, arrived))

    def _heard(self, state: ServerState | None, arrived: Callable[[], None]) -> None:
        self._monitor.heard(self._clock.now)
        if state is not None:
            self._state = state
        arrived()

    # -- the device ----------------------------------------------------------------------------------------------

    def _queue_ms(self) -> float:
        left = 0.0
        for job in self._jobs:
            left += job.seconds - (self._clock.now - job.started if job.started is not None else 0.0)
        return max(0.0, left) * 1e3

    def _work(self, request: _Request, point: Point, finished: Callable[[], None]) -> None:
        m = point.measured
        device_ms = m.exit_ms if request.exit and point.exit is not None else m.device_ms + m.encode_ms
        self._jobs.append(_Job(request, device_ms * self.scenario.device_scale / 1e3, finished))
        self._next_job()

    def _next_job(self) -> None:
        if self._jobs and self._jobs[0].started is None:
            job = self._jobs[0]
            job.started = self._clock.now
            self._clock.at(self._clock.now + job.seconds, lambda: self._job_done(job))

    def _job_done(self, job: _Job) -> None:
        if not job.dropped:
            self._jobs.remove(job)
            job.request.device_ms += job.seconds * 1e3
            job.finished()
            self._next_job()

    def _drop(self, job: _Job) -> None:
        job.dropped = True
        self._jobs.remove(job)
        if job.started is not None:
            job.request.device_ms += (self._clock.now - job.started) * 1e3
        self._next_job()

    # -- a request -----------------------------------------------------------------------------------------------

    def _begin_next(self, number: int, due: list[float], sizes: list[float]) -> None:
        """Begins request `number` when it is due, and then the next one."""

        def begin() -> None:
            if number + 1 < len(due):
                self._begin_next(number + 1, due, sizes)
            self.begin(number + 1, due[number], sizes[number])

        self._clock.at(due[number], begin)

    @property
    def conditions(self) -> Conditions:
        """What a decision made now would depend on."""
        return Conditions(
            self._monitor.channel(self._clock.now),
            self._state,
            self.scenario.device_scale,
            self.scenario.server_scale,
            self._queue_ms(),
            self._monitor.on_the_way(self._clock.now),
        )

    def begin(self, number: int, due: float, z: float) -> None:
        """A request is due: the policy is asked."""
        self._monitor.asked(self._clock.now)
        self.start(number, due, z, self.policy.choose(self.conditions))

    def start(self, number: int, due: float, z: float, plan: Plan) -> None:
        """Answers a request by `plan`."""
        request = _Request(number, due, z, plan)
        point = plan.point
        request.exit = bool(self._ease[number - 1] > 1 - point.measured.exit_rate)
        if point.local or request.exit:
            self._work(request, point, lambda: self._finish(request, point))
        else:
            self._work(request, point, lambda: self._ask(request))

    def _ask(self, request: _Request) -> None:
        now, plan, point = self._clock.now, request.plan, request.plan.point
        sizes = frame_sizes(payload_bytes(point, request.z))
        request.sent_at, request.bytes_sent = now, sum(sizes)
        work = request.work = Work(
            self._server.seconds(point),
            lambda took: self._reply(self.scenario.answer_bytes, lambda: self._answered(request, took), stated=True),
            lambda: self._reply(_SMALL, lambda: self._refused(request), stated=False),
        )
        self._monitor.sent(request.number, sizes, work.seconds, now)
        arrivals = [self._send(self._up, size) for size in sizes]
        request.radio_mj += self._send_mj(sum(sizes), arrivals[-1])
        request.arrivals = [arrival - arrivals[0] for arrival in arrivals]
        self._clock.at(arrivals[-1], lambda: self._server.submit(work, self, point))
        if self.fallback is not None and plan.hedge_ms is not None:
            self._clock.at(max(now, request.due + plan.hedge_ms / 1e3), lambda: self._hedge(request))

    def _answered(self, request: _Request, took: float) -> None:
        answer = self.scenario.answer_bytes
        self._monitor.answered(request.number, request.arrivals, took, answer, self._clock.now)
        if not request.done:
            request.radio_mj += self.scenario.energy.radio.receive_mj(answer, self.scenario.down.mean)
            for job in [job for job in self._jobs if job.request is request]:
                self._drop(job)
            self._finish(request, request.plan.point)

    def _refused(self, request: _Request) -> None:
        self._monitor.refused(request.number, self._clock.now)
        if not request.hedged and not request.done:
            assert self.fallback is not None, "somebody without a fallback is refused"
            fallback = self.fallback
            request.hedged = True
            self._work(request, fallback, lambda: self._finish(request, fallback))

    def _hedge(self, request: _Request) -> None:
        if not request.done and not request.hedged and self.fallback is not None:
            request.hedged = True
            fallback = self.fallback
            self._work(request, fallback, lambda: self._device_first(request, fallback))

    def _device_first(self, request: _Request, fallback: Point) -> None:
        if request.done:
            return
        self._finish(request, fallback)
        self._monitor.cancelled(request.number)
        # The server learns of it when the link lets the news through.
        work = request.work
        assert work is not None
        self._clock.at(self._send(self._up, _SMALL), lambda: self._server.cancel(work))

    def _finish(self, request: _Request, point: Point) -> None:
        request.done = True
        self.left -= 1
        self.outcomes.append(
            Outcome(
                request.due,
                (self._clock.now - request.due) * 1e3,
                point,
                request.plan.point,
                request.hedged,
                request.device_ms,
                request.radio_mj,
                request.bytes_sent,
                request.exit,
            )
        )
