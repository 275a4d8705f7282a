"""Traces over real sockets: device, edge and a further tier."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.support.nodes import node_processes
from tests.support.spans import Spans
from tests.support.toy import picture, toy_bundle
from tests.support.waiting import until

from cutpoint.sdk import Bundle, Client, Objective, Overloaded, RuntimeUnavailable
from cutpoint.sdk.protocol import TIERS, TRACE
from cutpoint.sdk.testing import ServerProcess
from cutpoint.server import EdgeServer, Settings
from cutpoint.server import connection as server_connection
from cutpoint.server.settings import SettingError
from cutpoint.server.tracing import server_tracing

from .conftest import QUICK
from .test_node_group import there
from .test_tier import RAW, force, tier

FINE = "cut1-fp32-affine-fine"


@pytest.fixture
def spans() -> Spans:
    return Spans()


async def serve(bundle: Bundle, spans: Spans | None, upstream: str | None = None, name: str = "edge") -> EdgeServer:
    settings = Settings(port=0, threads=1, grace=5.0, tier=name, upstream=upstream)
    server = EdgeServer(bundle, settings, tracer_provider=None if spans is None else spans.provider)
    await server.start()
    return server


async def test_a_request_is_one_trace_from_the_device_to_the_server(bundle: Bundle, spans: Spans) -> None:
    server = await serve(bundle, spans)
    try:
        async with Client(server.url, bundle, mode="edge", times=QUICK, tracer_provider=spans.provider) as client:
            result = await client.infer(picture(1), point=FINE)
    finally:
        await server.stop()
    infer, served = spans.one("cutpoint.infer"), spans.one("cutpoint.serve")
    assert infer.parent is None
    assert served.parent.span_id == infer.context.span_id
    assert served.parent.is_remote
    assert served.context.trace_id == infer.context.trace_id
    assert dict(infer.attributes) == {
        "cutpoint.point": FINE,
        "cutpoint.source": "edge",
        "cutpoint.bytes_sent": result.bytes_sent,
        "cutpoint.hedged": False,
    }
    attributes = dict(served.attributes)
    assert 0 < attributes.pop("cutpoint.bytes_received") < result.bytes_sent
    assert attributes == {
        "cutpoint.point": FINE,
        "cutpoint.result": "ok",
        "cutpoint.batch": 1,
        "cutpoint.tier": "edge",
        "cutpoint.hops": ("edge",),
    }
    stages = {"cutpoint.prepare", "cutpoint.head", "cutpoint.encode", "cutpoint.network"}
    assert set(spans.children(infer)) == stages | {"cutpoint.serve"}
    inner = spans.children(served)
    assert {"cutpoint.decode", "cutpoint.tail"} <= set(inner) <= {f"cutpoint.{x}" for x in ("queue", "decode", "tail")}
    tail = inner["cutpoint.tail"]
    assert tail.end_time - tail.start_time == pytest.approx(result.hops[0].compute_ms * 1e6, abs=2e3)
    # The server worked while the client took it to be away.
    network = spans.children(infer)["cutpoint.network"]
    assert network.start_time < tail.start_time
    assert tail.end_time <= network.end_time
    assert served.end_time <= infer.end_time


async def test_each_request_of_a_batch_has_its_own(bundle: Bundle, spans: Spans) -> None:
    server = await serve(bundle, spans)
    try:
        async with Client(server.url, bundle, mode="edge", times=QUICK, tracer_provider=spans.provider) as client:
            await asyncio.gather(*(client.infer(picture(i % 3, i), point=FINE) for i in range(12)))
    finally:
        await server.stop()
    asked = {span.context.trace_id: span.context.span_id for span in spans.named("cutpoint.infer")}
    assert len(asked) == 12
    assert {span.context.trace_id: span.parent.span_id for span in spans.named("cutpoint.serve")} == asked


@pytest.mark.parametrize("middle", [True, False], ids=["traced", "untraced"])
async def test_three_tiers_share_a_trace(bundle: Bundle, spans: Spans, middle: bool) -> None:
    cloud = await serve(bundle, spans, name="cloud")
    edge = await serve(bundle, spans if middle else None, cloud.url, "edge")
    try:
        await until(lambda: tier(edge).upstream.up)  # type: ignore[union-attr]
        force(edge, "relayed")
        async with Client(edge.url, bundle, mode="edge", times=QUICK, tracer_provider=spans.provider) as client:
            result = await client.infer(picture(1), point=RAW)
        assert [hop.tier for hop in result.hops] == ["edge", "cloud"]
    finally:
        await edge.stop()
        await cloud.stop()
    infer = spans.one("cutpoint.infer")
    served = spans.named("cutpoint.serve")
    at_edge = [span for span in served if span.attributes["cutpoint.tier"] == "edge"]
    (at_cloud,) = [span for span in served if span.attributes["cutpoint.tier"] == "cloud"]
    assert {span.context.trace_id for span in (infer, *at_edge, at_cloud)} == {infer.context.trace_id}
    assert len(at_edge) == middle
    # A server that traces nothing passes the context on as it came.
    parent = at_edge[0] if middle else infer
    assert at_cloud.parent.span_id == parent.context.span_id
    if middle:
        assert at_edge[0].parent.span_id == infer.context.span_id
        assert at_edge[0].attributes["cutpoint.hops"] == ("edge", "cloud")
        assert "cutpoint.upstream" in spans.children(at_edge[0])


async def test_a_server_that_does_not_know_of_traces_gets_none(
    bundle: Bundle, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_connection, "EXTENSIONS", (TIERS,))
    server = await serve(bundle, spans)
    try:
        async with Client(server.url, bundle, mode="edge", times=QUICK, tracer_provider=spans.provider) as client:
            assert (await client.infer(picture(1), point=FINE)).source == "edge"
            assert client._link is not None
            assert client._link._connection is not None
            assert TRACE not in client._link._connection.extensions
    finally:
        await server.stop()
    assert spans.one("cutpoint.serve").parent is None
    assert spans.one("cutpoint.serve").context.trace_id != spans.one("cutpoint.infer").context.trace_id


async def test_a_client_that_traces_nothing_sends_nothing(bundle: Bundle, spans: Spans) -> None:
    server = await serve(bundle, spans)
    try:
        async with (
            Client(server.url, bundle, mode="edge", times=QUICK) as plain,
            Client(server.url, bundle, mode="edge", times=QUICK, tracer_provider=spans.provider) as traced,
        ):
            sizes = [(await client.infer(picture(1), point=FINE)).bytes_sent for client in (plain, traced)]
    finally:
        await server.stop()
    assert sizes[1] - sizes[0] == 25
    assert len(spans.named("cutpoint.infer")) == 1
    assert [span.parent is None for span in spans.named("cutpoint.serve")] == [True, False]


async def test_refusals_and_the_device_stepping_in_are_in_the_trace(bundle: Bundle, spans: Spans) -> None:
    server = await serve(bundle, spans)

    async def full(*_: object) -> None:
        raise Overloaded("no room")

    server.group.answer = full  # type: ignore[method-assign, assignment]
    try:
        objective = Objective(patience=1e6)
        async with Client(
            server.url, bundle, objective=objective, times=QUICK, tracer_provider=spans.provider
        ) as client:
            result = await client.infer(picture(1), point=FINE)
    finally:
        await server.stop()
    assert result.source == "device"
    served, infer = spans.one("cutpoint.serve"), spans.one("cutpoint.infer")
    assert served.attributes["cutpoint.result"] == served.status.description == "overloaded"
    assert not served.status.is_ok
    assert infer.attributes["cutpoint.fallback"] == "Overloaded"
    assert infer.status.is_ok or infer.status.status_code.name == "UNSET"
    assert set(spans.children(infer)) == {"cutpoint.head", "cutpoint.serve"}


# -- otlp --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def sent(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Any]]:
    """What a collector got that the environment names: resources with their spans."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs cutpoint[otel]")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    received: list[Any] = []

    async def collect(request: web.Request) -> web.Response:
        assert request.headers["Content-Type"] == "application/x-protobuf"
        received.extend(ExportTraceServiceRequest.FromString(await request.read()).resource_spans)
        return web.Response(body=b"", content_type="application/x-protobuf")

    app = web.Application()
    app.router.add_post("/v1/traces", collect)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{runner.addresses[0][1]}")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "edge-7")
    yield received
    await runner.cleanup()


def by_name(sent: list[Any], name: str) -> list[Any]:
    return [span for resource in sent for scope in resource.scope_spans for span in scope.spans if span.name == name]


async def test_otlp_sends_spans_where_the_environment_says(
    bundle: Bundle, bundle_file: Path, spans: Spans, sent: list[Any]
) -> None:
    async with (
        ServerProcess(bundle_file, "--tracing", "otlp") as server,
        Client(server.url, bundle, mode="edge", times=QUICK, tracer_provider=spans.provider) as client,
    ):
        await client.infer(picture(1), point=FINE)
    # Whatever was not sent by then was sent at the end of the process.
    (resource,) = sent
    names = {item.key: item.value.string_value for item in resource.resource.attributes}
    assert names["service.name"] == "edge-7"
    infer = spans.one("cutpoint.infer")
    (served,), (tail,) = by_name(sent, "cutpoint.serve"), by_name(sent, "cutpoint.tail")
    assert served.parent_span_id == infer.context.span_id.to_bytes(8)
    assert tail.parent_span_id == served.span_id
    assert tail.trace_id == infer.context.trace_id.to_bytes(16)


async def test_a_collector_that_says_nothing_does_not_hold_up_the_end(
    bundle: Bundle, bundle_file: Path, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs cutpoint[otel]")
    asked, over = asyncio.Event(), asyncio.Event()

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await over.wait()
        writer.close()

    collector = await asyncio.start_server(say_nothing, "127.0.0.1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.sockets[0].getsockname()[1]}")
    # By itself the exporter would wait for as long, and the process for half a minute.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "120")
    async with ServerProcess(bundle_file, "--tracing", "otlp") as server:
        async with Client(server.url, bundle, mode="edge", times=QUICK, tracer_provider=spans.provider) as client:
            await client.infer(picture(1), point=FINE)
        async with asyncio.timeout(20):
            assert await server.stop() == 0
    assert asked.is_set()
    assert "does not answer" in server.log
    over.set()
    collector.close()
    await collector.wait_closed()


async def test_the_nodes_of_a_group_share_a_trace(tmp_path: Path, spans: Spans, sent: list[Any]) -> None:
    work = toy_bundle("work", tail_repeats=3)
    work.save(tmp_path / "work.cutpoint")
    options = "--peer-rule", "amp4ec", "--tracing", "otlp"
    async with node_processes(tmp_path / "work.cutpoint", 2, *options) as servers:
        await there(servers[0].url, 2)
        async with Client(servers[0].url, work, mode="edge", times=QUICK, tracer_provider=spans.provider) as client:
            result = await client.infer(picture(2, 1), point=RAW)
    assert {hop.tier for hop in result.hops} == {"n0", "n1"}
    infer, served = spans.one("cutpoint.infer"), by_name(sent, "cutpoint.serve")
    assert {span.trace_id for span in served} == {infer.context.trace_id.to_bytes(16)}
    named = {item.value.string_value: span for span in served for item in span.attributes if item.key.endswith("tier")}
    assert named["n0"].parent_span_id == infer.context.span_id.to_bytes(8)
    assert named["n1"].parent_span_id == named["n0"].span_id


def test_what_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(RuntimeUnavailable, match=r"pip install 'cutpoint\[otel\]'"):
        server_tracing(Settings(tracing="otlp"), None)


def test_what_cannot_be_sent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs cutpoint[otel]")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(SettingError, match="asks for 'grpc'"):
        server_tracing(Settings(tracing="otlp"), None)


def test_by_default_there_are_no_spans() -> None:
    assert server_tracing(Settings(), None) is None
