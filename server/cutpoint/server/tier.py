"""How a model's requests are answered: here, or with the help of the next tier."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterable, Sequence
from math import inf
from socket import gethostname
from weakref import WeakSet

import msgspec

from cutpoint.codecs import DeltaCodec, SymbolMemory
from cutpoint.sdk.bundle import Exit, Point, ServerExit
from cutpoint.sdk.channel import ChannelEstimator
from cutpoint.sdk.errors import CutpointError, DeadlineExceeded, Overloaded, Refused
from cutpoint.sdk.hedge import first_answer
from cutpoint.sdk.policy import Plan
from cutpoint.sdk.predictor import Conditions
from cutpoint.sdk.protocol import Hop, Result
from cutpoint.sdk.tail import TailOutput
from cutpoint.sdk.times import LinkTimes
from cutpoint.server.asked import Answered, Asked, Computing, SlicedAnswer, Work
from cutpoint.server.credentials import client_context, read_token
from cutpoint.server.forwarding import Chooser, Forwarding, Way
from cutpoint.server.metrics import Metrics
from cutpoint.server.settings import Settings
from cutpoint.server.speed import Speed
from cutpoint.server.status import UpstreamStatus
from cutpoint.server.tails import Encoded, Sample, Tensors
from cutpoint.server.upstream import Upstream

__all__ = ["Tier", "Tiers"]

#: Seconds after a refusal for which a server counts as overloaded.
_OVERLOADED = 1.0
#: Least `retry_after` in seconds.
_RETRY_AFTER = 0.1


class Tier:
    """Answers the requests for one model.

    Args:
        name: of this tier.
        computing: what computes here.
        upstream: the next tier; None where this is the last.
        settings: `max_hops`, `upstream_drop`.
        metrics: what is counted.
        price: of a millisecond of this server.
        clock: monotonic seconds.

    Attributes:
        upstream: as given.
        forwarding: chooses what becomes of each request; may be exchanged.
        speed: of this server.
    """

    def __init__(
        self,
        name: str,
        computing: Computing,
        upstream: Upstream | None,
        settings: Settings,
        metrics: Metrics,
        price: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self.upstream = upstream
        self.speed = Speed(clock, computing.tails.scale)
        self._name = name
        #: Of connections on which frames referred to others.
        self._streams: WeakSet[SymbolMemory] = WeakSet()
        self._computing = computing
        self._most_hops = settings.max_hops
        self._metrics = metrics
        self._price = price
        self._clock = clock
        self.forwarding: Chooser = Forwarding(computing.bundle, computing.tails, settings.upstream_drop)

    def start(self) -> None:
        """Begins to connect to the next tier, where there is one and that has not begun. Within an event loop."""
        if self.upstream is not None:
            self.upstream.start()

    async def close(self) -> None:
        """Ends the connection to the next tier; what waits for it is computed here."""
        if self.upstream is not None:
            await self.upstream.close()

    def queue_ms(self, user: Hashable) -> float:
        """How long a request of `user` that arrives now would wait for a worker, here or in the next tier."""
        own, upstream = self._computing.queue_ms(user), self.upstream
        if not own or upstream is None or (channel := upstream.channel()) is None:
            return own
        return min(own, 1e3 * channel.rtt + upstream.state.queue_ms)

    async def answer(self, asked: Asked) -> Answered:
        """Answers a request: whatever becomes of the next tier, this one does what it can. Cancelling ends it in both.

        Raises:
            Refused, BitstreamError, CodecError, GraphError: as `Scheduler.submit`.
        """
        sample = asked.sample
        assert isinstance(sample, Encoded), "slices are for the nodes of a group alone"
        if not asked.exits or sample.stop:
            return await self._answer(asked, sample)
        exits = self._computing.bundle.server_exits(sample.point)[: asked.exits]
        if not exits:
            return await self._answer(asked, sample)
        # Where others are turned away, exits come first: they answer more in a worker's time. Best is a next tier.
        alone = self.upstream is None or not self.upstream.up
        if alone and self._clock() - self._computing.refused_at() < _OVERLOADED:
            answered = await self._from_exit(asked, sample, exits)
            if answered is None and self._computing.refused_at() >= asked.arrived:
                retry = max(_RETRY_AFTER, self.queue_ms(asked.user) / 1e3)
                raise Overloaded("no exit is sure of the answer, and other requests are being refused", retry)
            return answered or await self._answer(asked, sample)
        try:
            return await self._answer(asked, sample)
        except Overloaded as full:
            try:
                answered = await self._from_exit(asked, sample, exits)
            except (Overloaded, DeadlineExceeded) as error:
                raise full from error
            if answered is None:
                raise
            return answered

    async def _answer(self, asked: Asked, sample: Encoded) -> Answered:
        work, upstream = Work(), self.upstream
        if upstream is None or sample.stop or asked.hops >= self._most_hops:
            return self._own(asked, work, await self._compute(asked, sample, work))
        upstream.wanted()
        alone = self._alone(sample)
        whole = sample
        way, plan = self.forwarding.choose(sample.point, self._conditions(asked, upstream), alone)
        if way.kind == "relayed":
            return await self._pass_on(asked, work, upstream, way, plan, sample.payload, sample)
        if way.onward is not None:
            sample = msgspec.structs.replace(sample, stop=way.onward.start, onward=way.onward)
        try:
            output = await self._compute(asked, sample, work)
        except Overloaded as full:
            if not alone or not upstream.up:
                raise
            return await self._elsewhere(asked, whole, work, upstream, full)
        if way.onward is None:
            self._metrics.went(way.kind)
            return self._own(asked, work, output)
        assert output.payload is not None, "a sample that goes on is encoded"
        instead = self._from_here(whole, way.onward, output)
        return await self._pass_on(asked, work, upstream, way, plan, output.payload, instead)

    async def answer_sliced(self, asked: Asked, request: SlicedAnswer) -> Answered:
        """Answers a request whose parts are still coming: here, as it cannot go on before they are all there.

        Raises:
            Refused, BitstreamError, CodecError, GraphError: as `SlicedRequest.answer`.
        """
        return await request.answer(self._name, self._computing, asked)

    # -- ways ----------------------------------------------------------------------------------------------------

    async def _from_exit(
        self, asked: Asked, sample: Encoded, allowed: Sequence[tuple[Exit, ServerExit]]
    ) -> Answered | None:
        """The answer of that exit which probably answers most for its time; None if it is not sure."""
        exit, use = max(allowed, key=lambda each: each[1].threshold.rate / each[1].ms)
        work = Work()
        output = await self._compute(asked, msgspec.structs.replace(sample, exit=exit), work)
        *outputs, confidence = output.outputs
        sure = confidence.item() >= use.threshold.confidence
        self._metrics.exits.labels(exit.id, "answered" if sure else "unsure").inc()
        if not sure:
            return None
        place = 1 + allowed.index((exit, use))
        return self._own(asked, work, msgspec.structs.replace(output, outputs=tuple(outputs), exit=place))

    async def _elsewhere(
        self, asked: Asked, sample: Encoded, work: Work, upstream: Upstream, full: Overloaded
    ) -> Answered:
        """There, because this server has no room. Raises `full` if that one does not answer either."""
        try:
            result = await self._ask(asked, upstream, sample.point, sample.payload)
        except CutpointError as error:
            self._failed(error)
            raise full from error
        self._metrics.went("relayed")
        return self._theirs(asked, work, result)

    async def _pass_on(
        self, asked: Asked, work: Work, upstream: Upstream, way: Way, plan: Plan, payload: bytes, instead: Sample
    ) -> Answered:
        """There, and here as well if that fails or takes longer than a second answer here would be worth."""
        assert way.onward is not None
        assert plan.hedge_ms is not None, "a plan of `AdaptivePolicy` says when"
        asking = self._ask(asked, upstream, way.onward, payload)
        # What is to begin by then has to join the queue before.
        ahead = (plan.hedge_ms - self._computing.queue_ms(asked.user)) / 1e3
        patience = ahead - (self._clock() - asked.arrived)
        answer = await first_answer(asking, lambda: self._compute(asked, instead, work), patience)
        if answer.failure is not None:
            self._failed(answer.failure)
        if answer.edge is not None:
            self._metrics.went(way.kind)
            return self._theirs(asked, work, answer.edge)
        assert answer.device is not None
        self._metrics.went("finished")
        return self._own(asked, work, answer.device)

    # -- steps ---------------------------------------------------------------------------------------------------

    def _alone(self, sample: Encoded) -> bool:
        """Whether the payload means something to who has not seen those before it, nor those behind it without it.

        A key frame may be a single request, or begin a stream. It is taken for the former until a frame of the same
        connection refers to one: that one was relayed, perhaps; then it is lost, and its sender begins anew.
        """
        assert sample.point.codec is not None, "the protocol lets no local point through"
        if self._computing.bundle.codec(sample.point.codec).codec != DeltaCodec.codec_id:
            return True
        if not DeltaCodec.is_key(sample.payload):
            self._streams.add(sample.memory)
        return sample.memory not in self._streams

    def _conditions(self, asked: Asked, upstream: Upstream) -> Conditions:
        left = asked.left(self._clock())
        return Conditions(
            upstream.channel(),
            upstream.state,
            self.speed.scale,
            upstream.scale,
            self._computing.queue_ms(asked.user),
            upstream.on_the_way,
            device_price=self._price(),
            budget_ms=left * 1e3 if left else inf,
        )

    def _from_here(self, sample: Encoded, later: Point, output: TailOutput) -> Sample:
        """What is computed here after all once `later` was reached: the rest, where its tail is there."""
        precision = sample.point.tail_precision
        if precision is None or (later.start, precision) not in self._computing.tails.tails:
            return sample
        return Tensors(later.start, precision, output.outputs)

    async def _compute(self, asked: Asked, sample: Sample, work: Work) -> TailOutput:
        outcome = await self._computing.submit(sample, asked.left(self._clock()), asked.user, asked.weight)
        work.add(outcome)
        if isinstance(sample, Encoded):
            self._learn(sample, outcome.output)
        return outcome.output

    def _learn(self, sample: Encoded, output: TailOutput) -> None:
        measured, tails = sample.point.measured, self._computing.tails
        if (exit := tails.exits.get(sample.tail)) is not None:
            expected = exit.seconds * 1e3
        else:
            span = tails.spans.get(sample.tail)
            expected = measured.decode_ms + (measured.tail_ms if span is None else span.seconds * 1e3)
        self.speed.observe(output.decode_ms + output.tail_ms, expected)

    async def _ask(self, asked: Asked, upstream: Upstream, point: Point, payload: bytes) -> Result:
        return await upstream.ask(point, payload, asked.left(self._clock()), asked.hops + 1, asked.trace)

    def _own(self, asked: Asked, work: Work, output: TailOutput) -> Answered:
        return work.answered(self._name, output.outputs, self._total_ms(asked), (), output.exit)

    def _theirs(self, asked: Asked, work: Work, result: Result) -> Answered:
        its = result.timings
        behind = result.hops
        if not behind:
            total = its.queue_ms + its.decode_ms + its.tail_ms
            behind = (Hop("", its.queue_ms, its.decode_ms, its.tail_ms, 0.0, total),)
        return work.answered(self._name, result.outputs, self._total_ms(asked), behind)

    def _total_ms(self, asked: Asked) -> float:
        return (self._clock() - asked.arrived) * 1e3

    def _failed(self, error: CutpointError) -> None:
        self._metrics.upstream_failed(error.code if isinstance(error, Refused) else "link")


class Tiers:
    """Makes the tier of each model of a server.

    Args:
        settings: where the next tier is, and how to get in.
        metrics: what is counted.
        price: of a millisecond of this server.
        clock: monotonic seconds.
        times: of the links to the next tier.

    Raises:
        InputError: if a file that the settings name cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        price: Callable[[], float],
        clock: Callable[[], float],
        times: LinkTimes | None = None,
    ) -> None:
        self.estimator = ChannelEstimator()
        self._settings = settings
        self._metrics = metrics
        self._price = price
        self._clock = clock
        self._times = times or LinkTimes()
        self._rng = random.Random()
        self._token = read_token(settings.upstream_token_file)
        self._ssl = client_context(settings, settings.upstream, settings.upstream_ca)

    def tier(self, computing: Computing) -> Tier:
        """The tier that answers the requests for one model."""
        settings, clock = self._settings, self._clock
        upstream = None
        if settings.upstream is not None:
            upstream = Upstream(
                settings.upstream,
                computing.bundle,
                self.estimator,
                token=self._token,
                ssl=self._ssl,
                times=self._times,
                clock=clock,
                rng=self._rng,
            )
        name = settings.tier or gethostname()
        return Tier(name, computing, upstream, settings, self._metrics, self._price, clock)

    def status(self, tiers: Iterable[Tier]) -> UpstreamStatus | None:
        """What is known of the next tier, where there is one: each model has a connection to it."""
        if self._settings.upstream is None:
            return None
        up = [tier.upstream for tier in tiers if tier.upstream is not None and tier.upstream.up]
        channel = self.estimator.channel(self._clock())
        queue_ms = max((upstream.state.queue_ms for upstream in up), default=0.0)
        believed = channel.uplink / 1e6, channel.rtt * 1e3, queue_ms
        return UpstreamStatus(self._settings.upstream, bool(up), *believed, dict(self._metrics.ways))
