"""Answers requests with the nodes of a group."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import replace
from socket import gethostname

from cutpoint.codecs import Array, DeltaCodec
from cutpoint.sdk.errors import BadPayload, DeadlineExceeded, LinkError, LocalProtocolError, Refused, TooLarge
from cutpoint.sdk.protocol import Hop
from cutpoint.sdk.tail import TailOutput
from cutpoint.server.credentials import client_context, read_token
from cutpoint.server.metrics import Metrics
from cutpoint.server.models import Model
from cutpoint.server.nodes.handover import Handover
from cutpoint.server.nodes.peer import Peer
from cutpoint.server.nodes.planner import Route, Stage
from cutpoint.server.nodes.reporter import Reporter
from cutpoint.server.nodes.roster import Member, Roster, Task
from cutpoint.server.scheduler import Outcome
from cutpoint.server.settings import Settings
from cutpoint.server.status import NodeRow
from cutpoint.server.tails import Encoded
from cutpoint.server.tier import Answered, Asked

__all__ = ["NodeGroup"]

log = logging.getLogger("cutpoint.server")

#: Name of this node in plans.
_HERE = "here"
#: Seconds between looks at this node itself.
_EVERY = 0.5
#: A node that takes so many times as long as expected, and at least so many seconds, is left for another one.
_LATE, _PATIENCE = 10.0, 1.0
#: Refusals that another node would repeat.
_FINAL = (BadPayload, TooLarge, DeadlineExceeded)


class NodeGroup:
    """This node and its peers, as the answer to requests that arrive here.

    Every request takes the route that is best for it now; see `planner` and `roster`. What one node has computed comes
    back here before it goes to the next, so that a node which dies takes nothing with it: its stage is run again, from
    the tensors it was given, by others or here.

    Args:
        settings: who the peers are, how to get in, and how routes are found.
        models: what is served here.
        reporter: of this node.
        metrics: what is counted.
        clock: monotonic seconds.

    Raises:
        InputError: if a file that the settings name cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        models: Iterable[Model],
        reporter: Reporter,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._name = settings.tier or gethostname()
        self._reporter = reporter
        self._metrics = metrics
        self._clock = clock
        self._roster = Roster(_HERE, settings.peer_rule)
        token, rng = read_token(settings.peer_token_file), random.Random()
        self._peers = {
            url: Peer(
                url,
                models,
                reporter.id,
                token,
                client_context(settings, url, settings.peer_ca),
                clock,
                rng,
                self._update,
            )
            for url in dict.fromkeys(settings.peer)
        }
        self._handovers: dict[str, Handover] = {}
        #: By node: seconds of work and number of requests that it has from here.
        self._ahead = dict.fromkeys((_HERE, *self._peers), 0.0)
        self._tasks = dict.fromkeys((_HERE, *self._peers), 0)
        self._following: list[asyncio.Task[None]] = []

    def rows(self) -> tuple[NodeRow, ...]:
        """The nodes that are there, for the status page."""
        return tuple(
            NodeRow(
                name,
                member.report.cpu,
                member.report.load,
                member.report.tasks,
                (member.there.delay + member.back.delay) * 1e3,
            )
            for name, member in sorted(self._roster.members.items(), key=lambda item: item[0] != _HERE)
        )

    async def start(self) -> None:
        """Begins to follow the peers, where there are any."""
        if not self._peers:
            return
        self._update(_HERE, Member(await self._reporter.report()))
        self._following = [asyncio.create_task(peer.follow()) for peer in self._peers.values()]
        self._following.append(asyncio.create_task(self._follow_here()))

    async def close(self) -> None:
        """Lets go of the peers."""
        for task in self._following:
            task.cancel()
        await asyncio.gather(*self._following, return_exceptions=True)

    async def _follow_here(self) -> None:
        while True:
            await asyncio.sleep(_EVERY)
            self._update(_HERE, Member(await self._reporter.report()))

    def _update(self, name: str, member: Member | None) -> None:
        was = name in self._roster.members
        version = self._roster.version
        self._roster.update(name, member)
        if was != (there := name in self._roster.members):
            log.info("node %s is %s", name, "there" if there else "gone")
        if self._roster.version != version:
            self._metrics.plans.inc()
        self._metrics.nodes.set(len(self._roster.members))

    # -- a request -----------------------------------------------------------------------------------------------

    async def answer(self, model: Model, asked: Asked) -> Answered:
        """Answers a request with whichever nodes are best for it. Cancelling it ends the work on all of them.

        Raises:
            Refused, BitstreamError, CodecError, GraphError: as `Tier.answer`.
        """
        codec = model.bundle.codec(asked.sample.point.codec or "").codec
        # Another node has planned this already; or earlier frames of a stream are here.
        settled = asked.hops or asked.sample.stop or codec == DeltaCodec.codec_id
        if settled or len(self._roster.members) < 2:
            return await model.tier.answer(asked)
        handover = self._handovers.get(model.hash)
        if handover is None:
            handover = self._handovers[model.hash] = Handover(model.bundle)
        work = _Work(self._name, self._clock, asked)
        sample, avoided = asked.sample, set[str]()
        while True:
            route = self._route(model, handover, sample, avoided, asked.user)
            if sample is asked.sample and route.nodes == (_HERE,):
                return await model.tier.answer(asked)
            with self._reserved(model, sample.tail[2], route) as expected:
                for stage in route.stages:
                    try:
                        outputs = await self._stage(model, asked, sample, stage, expected[stage], work)
                    except (LinkError, Refused) as error:
                        self._metrics.stages.labels(stage.node, "failed").inc()
                        if stage.node == _HERE or isinstance(error, _FINAL):
                            raise
                        log.info("node %s failed, its stage goes elsewhere: %s", stage.node, error)
                        if isinstance(error, LinkError):
                            self._update(stage.node, None)
                        avoided.add(stage.node)
                        break
                    self._metrics.stages.labels(stage.node, "ok").inc()
                    if stage.end == model.bundle.manifest.last:
                        return work.answered(outputs)
                    sample = handover.onward(stage.end, sample.tail[2], outputs)

    def _route(self, model: Model, handover: Handover, sample: Encoded, avoided: set[str], user: Hashable) -> Route:
        point, (start, _, precision) = sample.point, sample.tail
        task = Task(model.hash, precision, start, round(point.measured.bytes_mean))
        places = handover.places[precision]
        plan = self._roster.plan(task, places, avoided, self._tasks)
        if plan is None:
            return Route((Stage(_HERE, start, places.last),), 0.0, 0.0)
        return plan.choose({name: self._wait(name, model, user) for name in self._roster.members})

    def _wait(self, name: str, model: Model, user: Hashable) -> float:
        """Seconds until a node is free: for what it has from here, or longer if it says so."""
        member = self._roster.members.get(name)
        ahead = self._ahead[name] / max(1, member.report.workers if member is not None else 1)
        queue = model.queue_ms(user) / 1e3 if name == _HERE else self._peers[name].wait(model.hash)
        return max(ahead, queue)

    @contextlib.contextmanager
    def _reserved(self, model: Model, precision: str, route: Route) -> Iterator[dict[Stage, float]]:
        """Counts a route's work as its nodes'; gives the seconds of each stage."""
        seconds = {stage: self._roster.seconds(model.hash, precision, stage) for stage in route.stages}
        for stage in route.stages:
            self._ahead[stage.node] += seconds[stage]
            self._tasks[stage.node] += 1
        try:
            yield seconds
        finally:
            for stage in route.stages:
                self._tasks[stage.node] -= 1
                # Nothing that rounding has left.
                self._ahead[stage.node] -= seconds[stage] if self._tasks[stage.node] else self._ahead[stage.node]

    async def _stage(
        self, model: Model, asked: Asked, sample: Encoded, stage: Stage, expected: float, work: _Work
    ) -> tuple[Array, ...]:
        """The tensors that a stage ends with; `expected` is the seconds that it should take its node."""
        stop = 0 if stage.end == model.bundle.manifest.last else stage.end
        budget = work.left()
        if stage.node == _HERE:
            outcome = await model.submit(replace(sample, stop=stop), budget, asked.user, asked.weight)
            work.add(outcome)
            return outcome.output.outputs
        peer = self._peers[stage.node]
        number = model.bundle.point_number(sample.point.id)
        patience = max(_PATIENCE, _LATE * self._ahead[stage.node])
        try:
            async with asyncio.timeout(patience):
                result = await peer.request(model.hash, number, sample.payload, budget, expected, stop, asked.trace)
        except TimeoutError as error:
            raise LinkError(f"no answer within {patience:.1f} s") from error
        except LocalProtocolError as error:
            raise LinkError(str(error)) from error
        work.hops += result.hops
        return result.outputs


class _Work:
    """What was done for a request so far; milliseconds."""

    def __init__(self, name: str, clock: Callable[[], float], asked: Asked) -> None:
        self._name = name
        self._clock = clock
        self._asked = asked
        self._queue = self._decode = self._compute = 0.0
        self.hops: tuple[Hop, ...] = ()

    def left(self) -> float:
        """Seconds that are left for the answer; 0 for no limit. Raises `DeadlineExceeded`."""
        if not self._asked.budget:
            return 0.0
        left = self._asked.budget - (self._clock() - self._asked.arrived)
        if left <= 0:
            raise DeadlineExceeded(f"the budget of {self._asked.budget:.3f} s ran out on the way through the nodes")
        return left

    def add(self, outcome: Outcome) -> None:
        """A stage was computed here."""
        self._queue += outcome.queue_ms
        self._decode += outcome.output.decode_ms
        self._compute += outcome.output.tail_ms

    def answered(self, outputs: tuple[Array, ...]) -> Answered:
        """The answer; what other nodes and the ways to them took counts as tail."""
        total = (self._clock() - self._asked.arrived) * 1e3
        tail = max(0.0, total - self._queue - self._decode)
        outcome = Outcome(TailOutput(outputs, self._decode, tail), self._queue, 1)
        hop = Hop(self._name, self._queue, self._decode, self._compute, 0.0, total)
        return Answered(outcome, (hop, *self.hops))
