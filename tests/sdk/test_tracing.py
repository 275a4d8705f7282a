import subprocess
import sys

import pytest
from tests.support.spans import Spans
from tests.support.toy import picture, toy_bundle

from cutpoint.sdk import Bundle, Client, InputError, tracing
from cutpoint.sdk.protocol import TraceContext
from cutpoint.sdk.tracing import Tracing, context_of, find_tracing


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return toy_bundle()


@pytest.fixture
def spans() -> Spans:
    return Spans()


def test_without_a_provider_there_are_no_spans() -> None:
    trace = pytest.importorskip("opentelemetry.trace")
    assert find_tracing() is None
    assert find_tracing(trace.NoOpTracerProvider()) is None


def test_without_the_package_there_are_no_spans(monkeypatch: pytest.MonkeyPatch, spans: Spans) -> None:
    assert find_tracing(spans.provider) is not None
    monkeypatch.setattr(tracing, "trace", None)
    assert find_tracing(spans.provider) is None


def test_a_client_and_a_server_work_without_the_package() -> None:
    code = (
        "import asyncio, sys\n"
        "sys.modules['opentelemetry'] = None\n"
        "from tests.support.toy import picture, toy_bundle\n"
        "from cutpoint.sdk import Client\n"
        "from cutpoint.server import EdgeServer, Settings\n"
        "async def main():\n"
        "    bundle = toy_bundle()\n"
        "    server = EdgeServer(bundle, Settings(port=0))\n"
        "    await server.start()\n"
        "    async with Client(server.url, bundle, mode='edge') as client:\n"
        "        print((await client.infer(picture(0))).source)\n"
        "    await server.stop()\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "edge\n", done.stderr


def test_stages_lie_end_to_end_and_end_now(spans: Spans) -> None:
    tracer = Tracing(spans.provider, now=lambda: 10_000_000_000)
    parent = tracer.serve(None)
    tracer.stages(parent, [("queue", 1.0), ("decode", 0.0), ("tail", 2.5)])
    parent.end()
    children = spans.children(parent)
    times = {name: (span.start_time, span.end_time) for name, span in children.items()}
    assert times == {
        "cutpoint.queue": (9_996_500_000, 9_997_500_000),
        "cutpoint.tail": (9_997_500_000, 10_000_000_000),
    }


@pytest.mark.parametrize("flags", [0, 1])
def test_a_span_continues_the_senders_trace(spans: Spans, flags: int) -> None:
    tracer = Tracing(spans.provider)
    sender = TraceContext(0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, flags)
    span = tracer.serve(sender)
    context = context_of(span)
    assert context is not None
    assert (context.trace_id, context.flags) == (sender.trace_id, flags)
    assert context.span_id != sender.span_id
    span.end()
    # The usual sampler does what the sender decided.
    assert len(spans.named("cutpoint.serve")) == flags
    if flags:
        assert spans.one("cutpoint.serve").parent.is_remote


def test_nothing_is_sent_of_a_span_that_belongs_to_no_trace() -> None:
    trace = pytest.importorskip("opentelemetry.trace")
    assert context_of(trace.INVALID_SPAN) is None
    assert context_of(trace.get_current_span()) is None


async def test_an_answer_of_the_device_is_a_span_within_the_applications(bundle: Bundle, spans: Spans) -> None:
    tracer = spans.provider.get_tracer("app")
    async with Client(bundle=bundle, tracer_provider=spans.provider) as client:
        with tracer.start_as_current_span("app"):
            result = await client.infer(picture(1))
    app, span = spans.one("app"), spans.one("cutpoint.infer")
    assert span.parent.span_id == app.context.span_id
    assert dict(span.attributes) == {
        "cutpoint.point": result.point.id,
        "cutpoint.source": "device",
        "cutpoint.bytes_sent": 0,
        "cutpoint.hedged": False,
    }
    children = spans.children(span)
    assert set(children) == {"cutpoint.prepare", "cutpoint.head"}
    head = children["cutpoint.head"]
    assert head.end_time - head.start_time == pytest.approx(result.timing.head * 1e6, abs=2)
    assert span.start_time - 1e6 <= children["cutpoint.prepare"].start_time <= head.start_time <= head.end_time
    assert head.end_time <= span.end_time


async def test_a_request_that_fails_says_so(bundle: Bundle, spans: Spans) -> None:
    async with Client(bundle=bundle, tracer_provider=spans.provider) as client:
        with pytest.raises(InputError):
            await client.infer(b"certainly no picture")
    span = spans.one("cutpoint.infer")
    assert not span.status.is_ok
    assert span.events[0].attributes["exception.type"].endswith("InputError")
