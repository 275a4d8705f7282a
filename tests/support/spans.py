"""Finished spans of OpenTelemetry, in memory."""

from __future__ import annotations

import pytest


class Spans:
    """A provider for clients and servers, and what it was given."""

    def __init__(self) -> None:
        trace = pytest.importorskip("opentelemetry.sdk.trace", reason="needs opentelemetry-sdk")
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        self._exporter = InMemorySpanExporter()
        self.provider = trace.TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def named(self, name: str) -> list:  # type: ignore[type-arg]
        """The finished spans of that name, in the order in which they ended."""
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def one(self, name: str):  # type: ignore[no-untyped-def]
        """The only one."""
        (span,) = self.named(name)
        return span

    def children(self, parent) -> dict:  # type: ignore[no-untyped-def, type-arg]
        """The finished spans within one, by name."""
        spans = self._exporter.get_finished_spans()
        return {span.name: span for span in spans if span.parent and span.parent.span_id == parent.context.span_id}
