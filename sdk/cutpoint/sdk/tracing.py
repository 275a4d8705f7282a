"""Spans of requests, where the application traces with OpenTelemetry. Needs no more than its API, and does without."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from importlib.metadata import version
from typing import TYPE_CHECKING

from cutpoint.sdk.protocol import TraceContext
from cutpoint.sdk.result import InferenceResult

try:
    from opentelemetry import trace
except ImportError:
    trace = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

__all__ = ["Tracing", "context_of", "find_tracing"]


def find_tracing(provider: TracerProvider | None = None) -> Tracing | None:
    """What makes spans; None where nobody would get them.

    Args:
        provider: of OpenTelemetry; None for the one that the application has set for all of it, if it has.
    """
    if trace is None:
        return None
    provider = provider or trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
        return None
    return Tracing(provider)


def context_of(span: Span) -> TraceContext | None:
    """What a request carries so that others' spans become children of `span`; None if it is not one of a trace."""
    context = span.get_span_context()
    return TraceContext(context.trace_id, context.span_id, context.trace_flags) if context.is_valid else None


class Tracing:
    """Makes spans.

    Args:
        provider: gets them.
        now: nanoseconds since 1970, which is how spans tell the time.
    """

    def __init__(self, provider: TracerProvider, now: Callable[[], int] = time.time_ns) -> None:
        self._tracer = provider.get_tracer("cutpoint", version("cutpoint"))
        self._now = now

    def current(self) -> TraceContext | None:
        """The context of the span that the caller is in."""
        return context_of(trace.get_current_span())

    async def infer(self, answering: Awaitable[InferenceResult]) -> InferenceResult:
        """Waits for an answer within a span ``cutpoint.infer``, a child of the one that the caller is in."""
        with self._tracer.start_as_current_span("cutpoint.infer", kind=trace.SpanKind.CLIENT) as span:
            result = await answering
            if span.is_recording():
                self._describe(span, result)
            return result

    def serve(self, parent: TraceContext | None) -> Span:
        """Begins a span ``cutpoint.serve``, a child of the sender's if it named one."""
        context = None
        if parent is not None:
            flags = trace.TraceFlags(parent.flags)
            remote = trace.SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=flags)
            context = trace.set_span_in_context(trace.NonRecordingSpan(remote))
        return self._tracer.start_span("cutpoint.serve", context, trace.SpanKind.SERVER)

    def stages(self, parent: Span, stages: Iterable[tuple[str, float]]) -> None:
        """Adds what happened within `parent`, one after the other until now: name and milliseconds, 0 for nothing."""
        within = trace.set_span_in_context(parent)
        taken = [(name, round(ms * 1e6)) for name, ms in stages]
        begin = self._now() - sum(ns for _, ns in taken)
        for name, ns in taken:
            if ns > 0:
                self._tracer.start_span(f"cutpoint.{name}", within, start_time=begin).end(begin + ns)
            begin += ns

    def fail(self, span: Span, why: str) -> None:
        """Says that what the span stands for went wrong."""
        span.set_status(trace.StatusCode.ERROR, why)

    def _describe(self, span: Span, result: InferenceResult) -> None:
        timing = result.timing
        span.set_attribute("cutpoint.point", result.point.id)
        span.set_attribute("cutpoint.source", result.source)
        span.set_attribute("cutpoint.bytes_sent", result.bytes_sent)
        span.set_attribute("cutpoint.hedged", result.hedged)
        if result.exit is not None:
            span.set_attribute("cutpoint.exit", result.exit)
        if result.fallback is not None:
            span.set_attribute("cutpoint.fallback", type(result.fallback).__name__)
        if result.source == "device" and (result.hedged or result.fallback is not None):
            # What came before the device stepped in is not in the answer's times.
            self.stages(span, [("head", timing.head)])
            return
        away = timing.network + timing.queue + timing.decode + timing.tail
        stages = [("prepare", timing.prepare), ("head", timing.head), ("encode", timing.encode), ("network", away)]
        self.stages(span, stages)
