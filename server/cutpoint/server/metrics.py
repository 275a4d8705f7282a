"""What the server counts, for Prometheus."""

from __future__ import annotations

from collections import Counter as Tally

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from cutpoint.server.scheduler import Outcome
from cutpoint.server.status import Activity, Answered
from cutpoint.server.tallies import CounterTally, HistogramTally

__all__ = ["Metrics"]

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_SAMPLES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
_BYTES = tuple(float(256 * 4**i) for i in range(9))


class Metrics:
    """Counters, gauges and histograms of one server, in a registry of their own.

    Attributes:
        activity: the last seconds, for the status page.
        ways: requests by what became of them where there is a next tier.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.activity = Activity()
        self.connections = Gauge("cutpoint_connections", "Open connections", registry=registry)
        self.in_flight = Gauge("cutpoint_requests_in_flight", "Requests without an answer yet", registry=registry)
        self.ready = Gauge("cutpoint_ready", "1 while the server takes new requests", registry=registry)
        self.price = Gauge("cutpoint_price", "Milliseconds others wait for one of tail time", registry=registry)
        self.nodes = Gauge("cutpoint_nodes", "Nodes of the group, this one among them", registry=registry)
        self.plans = Counter("cutpoint_plans", "Plans for the group that were made anew", registry=registry)
        self.stages = Counter("cutpoint_stages", "Spans that nodes were given", ["node", "outcome"], registry=registry)
        self.requests = CounterTally("cutpoint_requests", "Answered requests", ["point", "outcome"])
        self.exits = Counter("cutpoint_exits", "Exits asked for want of time", ["exit", "outcome"], registry=registry)
        self.refused = Counter("cutpoint_connections_refused", "Refused connections", ["code"], registry=registry)
        self.queue = HistogramTally("cutpoint_queue_seconds", "Waiting for a worker", _SECONDS)
        self.decode = HistogramTally("cutpoint_decode_seconds", "Decoder", _SECONDS)
        self.tail = HistogramTally("cutpoint_tail_seconds", "Tail", _SECONDS, ["point"])
        self.total = HistogramTally("cutpoint_request_seconds", "Arrival to answer", _SECONDS)
        self.batch = HistogramTally("cutpoint_batch_size", "Requests in one's batch", _SAMPLES)
        self.received = CounterTally("cutpoint_received_bytes", "Payloads by point", ["point"])
        self.sent = CounterTally("cutpoint_sent_bytes", "Outputs by point", ["point"])
        self.payload = HistogramTally("cutpoint_payload_bytes", "Received payloads", _BYTES)
        of_requests = self.requests, self.queue, self.decode, self.tail, self.total, self.batch
        for tally in (*of_requests, self.received, self.sent, self.payload):
            registry.register(tally)

        self.upstream = Gauge("cutpoint_upstream_up", "1 while the next tier can be asked", registry=registry)
        self.ways: Tally[str] = Tally()
        self._ways = Counter("cutpoint_tier_requests", "Requests by way", ["way"], registry=registry)
        self._failures = Counter("cutpoint_upstream_failures", "Next tier's, by code", ["code"], registry=registry)

    def went(self, way: str) -> None:
        """A request was ``finished`` here, ``relayed`` or ``forwarded``."""
        self.ways[way] += 1
        self._ways.labels(way).inc()

    def upstream_failed(self, code: str) -> None:
        """The next tier did not answer: an error's code, or ``link``."""
        self.ways["failed"] += 1
        self._failures.labels(code).inc()

    def answered(
        self, user: str, point: str, result: str, began: float, now: float, received: int, computed: Outcome | None
    ) -> None:
        """A request was answered.

        Args:
            user: whose it was.
            point: its point, or the name of its tail.
            result: ``ok`` or the error's code.
            began: clock time when it had arrived.
            now: clock time.
            received: payload bytes.
            computed: what came of it; None if it was not computed.
        """
        total = now - began
        self.requests.add(1, point, result)
        self.received.add(received, point)
        self.payload.observe(received)
        self.total.observe(total)
        if computed is None:
            self.activity.add(Answered(now, user, point, result, received, total * 1e3))
            return
        output = computed.output
        self.sent.add(sum(tensor.nbytes for tensor in output.outputs), point)
        self.batch.observe(computed.batch)
        self.queue.observe(computed.queue_ms / 1e3)
        self.decode.observe(output.decode_ms / 1e3)
        self.tail.observe(output.tail_ms / 1e3, point)
        stages = (total * 1e3, computed.queue_ms, output.decode_ms, output.tail_ms)
        self.activity.add(Answered(now, user, point, result, received, *stages))

    def exposition(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self._registry)
