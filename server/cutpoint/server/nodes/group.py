"""Answers requests with the nodes of a group."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Hashable, Iterable, Iterator
from socket import gethostname

import msgspec

from cutpoint.codecs import Array, DeltaCodec
from cutpoint.sdk.errors import BadPayload, DeadlineExceeded, LinkError, LocalProtocolError, Refused, TooLarge
from cutpoint.sdk.protocol import Hop
from cutpoint.sdk.tail import TailOutput
from cutpoint.server.asked import Answered, Asked
from cutpoint.server.credentials import client_context, read_token
from cutpoint.server.metrics import Metrics
from cutpoint.server.models import Model
from cutpoint.server.nodes.handover import Handover
from cutpoint.server.nodes.peer import Peer
from cutpoint.server.nodes.planner import Route, Share, SharedStage, Stage
from cutpoint.server.nodes.reporter import Reporter
from cutpoint.server.nodes.roster import Member, Roster, Task
from cutpoint.server.scheduler import Outcome
from cutpoint.server.settings import Settings
from cutpoint.server.shared_slices import Decoding, SliceRows
from cutpoint.server.status import NodeRow
from cutpoint.server.tails import Encoded, Sample, Tensors

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
        sample = asked.sample
        if isinstance(sample, SliceRows):
            return await self._answer_slice(model, asked, sample)
        # Nobody else is there; another node has planned this already; or earlier frames of a stream are here.
        settled = len(self._roster.members) < 2 or asked.hops or sample.stop
        if settled or model.bundle.codec(sample.point.codec or "").codec == DeltaCodec.codec_id:
            return await model.tier.answer(asked)
        handover = self._handovers.get(model.hash)
        if handover is None:
            handover = self._handovers[model.hash] = Handover(model.bundle, model.slices)
        work = _Work(self._name, self._clock, asked)
        at: Encoded | Tensors = sample
        avoided = set[str]()
        while True:
            route = self._route(model, handover, at, avoided, asked.user)
            if at is sample and route.nodes == (_HERE,):
                return await model.tier.answer(asked)
            with self._reserved(model, at.tail[2], route):
                for stage in route.stages:
                    if isinstance(stage, SharedStage):
                        outputs = await self._share(model, asked, at, stage, work)
                    else:
                        try:
                            outputs = await self._stage(model, handover, asked, at, stage, work)
                        except (LinkError, Refused) as error:
                            if stage.node == _HERE or isinstance(error, _FINAL):
                                raise
                            avoided.add(stage.node)
                            break
                    if stage.end == model.bundle.manifest.last:
                        return work.answered(outputs)
                    at = Tensors(stage.end, at.tail[2], outputs)

    async def _answer_slice(self, model: Model, asked: Asked, sample: SliceRows) -> Answered:
        """What another node shares out is computed here."""
        work = _Work(self._name, self._clock, asked)
        return work.answered(await self._here(model, asked, sample, work))

    def _route(
        self, model: Model, handover: Handover, at: Encoded | Tensors, avoided: set[str], user: Hashable
    ) -> Route:
        start, _, precision = at.tail
        places = handover.places[precision]
        if isinstance(at, Encoded):
            measured = at.point.measured
            task = Task(model.hash, precision, start, round(measured.bytes_mean), measured.decode_ms / 1e3)
        else:
            task = Task(model.hash, precision, start, places.nbytes[start])
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
    def _reserved(self, model: Model, precision: str, route: Route) -> Iterator[None]:
        """Counts a route's work as its nodes'."""
        loads = [load for stage in route.stages for load in self._roster.seconds(model.hash, precision, stage).items()]
        for name, seconds in loads:
            self._ahead[name] += seconds
            self._tasks[name] += 1
        try:
            yield
        finally:
            for name, seconds in loads:
                self._tasks[name] -= 1
                # Nothing that rounding has left.
                self._ahead[name] -= seconds if self._tasks[name] else self._ahead[name]

    async def _stage(
        self, model: Model, handover: Handover, asked: Asked, at: Encoded | Tensors, stage: Stage, work: _Work
    ) -> tuple[Array, ...]:
        """The tensors that a stage ends with. Raises `LinkError` or `Refused` if its node fails."""
        stop = 0 if stage.end == model.bundle.manifest.last else stage.end
        if stage.node == _HERE:
            return await self._here(model, asked, msgspec.structs.replace(at, stop=stop), work)
        sample = at if isinstance(at, Encoded) else handover.onward(at.boundary, at.precision, at.tensors)
        number = model.bundle.point_number(sample.point.id)
        expected = self._roster.seconds(model.hash, at.tail[2], stage)[stage.node]
        return await self._there(model, asked, stage.node, number, sample.payload, expected, stop, work)

    async def _share(
        self, model: Model, asked: Asked, at: Encoded | Tensors, stage: SharedStage, work: _Work
    ) -> tuple[Array, ...]:
        """The tensors that a stage ends with whose slices several nodes compute; what one fails to do is done here."""
        tensors = at.tensors if isinstance(at, Tensors) else await self._here(model, asked, Decoding(at), work)
        parts: dict[int, tuple[Array, ...]] = {}

        async def compute(share: Share) -> None:
            for number in share.slices:
                parts[number] = await self._slice(model, asked, model.slices.cut(number, tensors), share.node, work)

        try:
            async with asyncio.TaskGroup() as group:
                for share in stage.shares:
                    group.create_task(compute(share))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return model.slices.join(parts)

    async def _slice(self, model: Model, asked: Asked, sample: SliceRows, node: str, work: _Work) -> tuple[Array, ...]:
        """What a slice gives: computed by a node, or here if that fails."""
        if node != _HERE:
            number = len(model.bundle.points) + sample.number
            expected = self._roster.slice(model.hash, sample.number, node)
            try:
                return await self._there(model, asked, node, number, sample.payload, expected, 0, work)
            except (LinkError, Refused) as error:
                if isinstance(error, _FINAL):
                    raise
        return await self._here(model, asked, sample, work)

    async def _here(self, model: Model, asked: Asked, sample: Sample, work: _Work) -> tuple[Array, ...]:
        outcome = await model.submit(sample, work.left(), asked.user, asked.weight)
        work.add(outcome)
        self._metrics.stages.labels(_HERE, "ok").inc()
        return outcome.output.outputs

    async def _there(
        self,
        model: Model,
        asked: Asked,
        node: str,
        number: int,
        payload: bytes,
        expected: float,
        stop: int,
        work: _Work,
    ) -> tuple[Array, ...]:
        """What another node answers; as `Peer.request`. One that fails is counted, and one that is lost is gone."""
        patience = max(_PATIENCE, _LATE * self._ahead[node])
        asking = number, payload, work.left(), expected, stop, asked.trace
        try:
            try:
                async with asyncio.timeout(patience):
                    result = await self._peers[node].request(model.hash, *asking)
            except TimeoutError as error:
                raise LinkError(f"no answer within {patience:.1f} s") from error
            except LocalProtocolError as error:
                raise LinkError(str(error)) from error
        except (LinkError, Refused) as error:
            self._metrics.stages.labels(node, "failed").inc()
            log.info("node %s failed, what it was given goes elsewhere: %s", node, error)
            if isinstance(error, LinkError):
                self._update(node, None)
            raise
        self._metrics.stages.labels(node, "ok").inc()
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
        return self._asked.left(self._clock())

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
