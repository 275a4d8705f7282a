"""What the server counts, for Prometheus."""

from __future__ import annotations

from collections import Counter as Tally

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from cutpoint.server.scheduler import Outcome
from cutpoint.server.status import Activity, Answered

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
        self.requests = Counter("cutpoint_requests", "Answered requests", ["point", "outcome"], registry=registry)
        self.exits = Counter("cutpoint_exits", "Exits asked for want of time", ["exit", "outcome"], registry=registry)
        self.refused = Counter("cutpoint_connections_refused", "Refused connections", ["code"], registry=registry)
        self.queue = Histogram("cutpoint_queue_seconds", "Waiting for a worker", buckets=_SECONDS, registry=registry)
        self.decode = Histogram("cutpoint_decode_seconds", "Decoder", buckets=_SECONDS, registry=registry)
        self.tail = Histogram("cutpoint_tail_seconds", "Tail", ["point"], buckets=_SECONDS, registry=registry)
        self.total = Histogram("cutpoint_request_seconds", "Arrival to answer", buckets=_SECONDS, registry=registry)
        self.batch = Histogram("cutpoint_batch_size", "Requests in one's batch", buckets=_SAMPLES, registry=registry)
        self.received = Counter("cutpoint_received_bytes", "Payloads by point", ["point"], registry=registry)
        self.sent = Counter("cutpoint_sent_bytes", "Outputs by point", ["point"], registry=registry)
        self.payload = Histogram("cutpoint_payload_bytes", "Received payloads", buckets=_BYTES, registry=registry)

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
        self.requests.labels(point, result).inc()
        self.received.labels(point).inc(received)
        self.payload.observe(received)
        self.total.observe(total)
        if computed is None:
            self.activity.add(Answered(now, user, point, result, received, total * 1e3))
            return
        output = computed.output
        self.sent.labels(point).inc(sum(tensor.nbytes for tensor in output.outputs))
        self.batch.observe(computed.batch)
        self.queue.observe(computed.queue_ms / 1e3)
        self.decode.observe(output.decode_ms / 1e3)
        self.tail.labels(point).observe(output.tail_ms / 1e3)
        stages = (total * 1e3, computed.queue_ms, output.decode_ms, output.tail_ms)
        self.activity.add(Answered(now, user, point, result, received, *stages))

    def exposition(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self._registry)
