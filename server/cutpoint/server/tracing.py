"""The server's spans: one of each request, a child of the sender's, with what was done for it."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cutpoint.sdk.errors import RuntimeUnavailable
from cutpoint.sdk.protocol import Hop, Request, TraceContext
from cutpoint.sdk.tracing import Tracing, context_of, find_tracing
from cutpoint.server.scheduler import Outcome
from cutpoint.server.settings import SettingError, Settings

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

__all__ = ["RequestSpan", "server_tracing"]

#: Either says how spans are sent; the first is that of traces alone.
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"
#: Seconds that the end of the process waits for a collector that does not answer.
_PATIENCE = 3.0

log = logging.getLogger("cutpoint.server")


def server_tracing(settings: Settings, provider: TracerProvider | None) -> Tracing | None:
    """What makes the server's spans; None where nobody would get them.

    Args:
        settings: `tracing`.
        provider: None for one that the settings ask for, or that is set for the whole process.

    Raises:
        RuntimeUnavailable: if a package that the settings need is not installed.
        SettingError: if the environment asks for what cannot be sent.
    """
    if provider is None and settings.tracing == "otlp":
        provider = _otlp_provider()
    return find_tracing(provider)


def _otlp_provider() -> TracerProvider:
    """Sends spans as the variables ``OTEL_…`` say. What is left is sent when the process ends, within `_PATIENCE`."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise RuntimeUnavailable("tracing needs OpenTelemetry and its exporter: pip install 'cutpoint[otel]'") from None
    protocol = next((os.environ[name] for name in _PROTOCOLS if os.environ.get(name)), _PROTOCOL)
    if protocol != _PROTOCOL:
        raise SettingError("tracing", f"sends {_PROTOCOL}, but the variable {_PROTOCOLS[1]} asks for {protocol!r}")
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _at_exit(provider.shutdown, _PATIENCE)
    return provider


def _at_exit(send: Callable[[], None], patience: float) -> None:
    """Calls `send` when the process ends, which it does all the same if that takes longer than `patience` seconds."""
    ending = threading.Event()

    def wait() -> None:
        ending.wait()
        send()

    # A process that ends cannot begin a thread any more.
    sending = threading.Thread(target=wait, name="cutpoint-traces", daemon=True)
    sending.start()

    def end() -> None:
        ending.set()
        sending.join(patience)
        if sending.is_alive():
            log.warning("the collector of traces does not answer; what it has not got is lost")

    atexit.register(end)


class RequestSpan:
    """The span of a request, from its arrival to `end`.

    Args:
        tracing: makes it.
        request: as it arrived.
        point: id of its point.

    Attributes:
        context: what is sent along with requests to further servers.
    """

    def __init__(self, tracing: Tracing, request: Request, point: str) -> None:
        self._tracing = tracing
        self._span = tracing.serve(request.trace)
        self.context: TraceContext | None = context_of(self._span)
        self._span.set_attribute("cutpoint.point", point)
        self._span.set_attribute("cutpoint.bytes_received", len(request.payload))

    def end(self, result: str, outcome: Outcome | None, hops: Sequence[Hop]) -> None:
        """The request is done.

        Args:
            result: ``ok``, or the code of the error that is the answer.
            outcome: None where there is none.
            hops: what each tier did, this one first.
        """
        span = self._span
        span.set_attribute("cutpoint.result", result)
        if outcome is not None:
            span.set_attribute("cutpoint.batch", outcome.batch)
        if hops and span.is_recording():
            own, *behind = hops
            span.set_attribute("cutpoint.tier", own.tier)
            span.set_attribute("cutpoint.hops", [hop.tier for hop in hops])
            stages = [("queue", own.queue_ms), ("decode", own.decode_ms), ("tail", own.compute_ms)]
            stages += [("encode", own.encode_ms), ("upstream", own.away_ms if behind else 0.0)]
            self._tracing.stages(span, stages)
        if result not in ("ok", "cancelled"):
            self._tracing.fail(span, result)
        span.end()
