import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutpoint.sdk import InputError
from cutpoint.sdk.testing import LinkEmulator, Shaper, Trace

rates = st.lists(st.floats(0, 1e7), min_size=1, max_size=20).filter(lambda r: max(r) > 1e4)


def test_constant_rate() -> None:
    assert Trace.constant(8000).finish(2.0, 1000) == pytest.approx(3.0)


def test_outage_waits_for_its_end() -> None:
    trace = Trace((8000.0, 0.0, 0.0, 8000.0), step=1.0)
    assert trace.finish(0.5, 1000) == pytest.approx(3.5)
    assert trace.finish(1.5, 500) == pytest.approx(3.5)
    assert trace.rate(1.2) == 0


def test_many_rounds() -> None:
    trace = Trace((8000.0, 0.0), step=1.0)
    assert trace.finish(0.0, 10_500) == pytest.approx(20.5)


@given(rates, st.floats(0.01, 2), st.floats(0, 50), st.floats(0, 1e5), st.floats(0, 1e5))
def test_finish_inverts_the_integral(steps: list[float], step: float, start: float, a: float, b: float) -> None:
    trace = Trace(tuple(steps), step)
    middle = trace.finish(start, a)
    assert middle >= start
    # Sending in two pieces takes as long as sending at once. What ends on the very edge of an outage may, by a
    # rounding, end on its other edge: the outage is shorter than the trace.
    assert trace.finish(middle, b) == pytest.approx(trace.finish(start, a + b), rel=1e-6, abs=trace.duration)


@given(rates, st.lists(st.tuples(st.floats(0, 1), st.integers(1, 5000)), min_size=1, max_size=20))
def test_nothing_overtakes_and_nothing_is_early(steps: list[float], pieces: list[tuple[float, int]]) -> None:
    shaper = Shaper(Trace(tuple(steps), 0.1), delay=0.02, jitter=(0.0, 0.05, 0.01))
    now, last = 0.0, 0.0
    for wait, nbytes in pieces:
        now += wait
        arrival = shaper.send(now, nbytes)
        assert arrival >= max(last, now + 0.02)
        last = arrival


def test_held_link_lets_nothing_leave() -> None:
    shaper = Shaper(Trace.constant(8000), delay=0.1)
    shaper.hold(1.0, 2.0)
    assert shaper.send(1.5, 1000) == pytest.approx(3.0 + 1.0 + 0.1)
    shaper.hold(2.0, 0.5)  # shorter than what is held already
    assert shaper.send(2.0, 1000) == pytest.approx(5.1)


@pytest.mark.parametrize("steps", [(), (0.0, 0.0), (-1.0, 5.0)])
def test_useless_traces_are_refused(steps: tuple[float, ...]) -> None:
    with pytest.raises(InputError):
        Trace(steps)


async def echo_server() -> asyncio.Server:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()

    return await asyncio.start_server(echo, "127.0.0.1", 0)


async def test_bytes_pass_unchanged_at_the_rate_and_the_delay() -> None:
    server = await echo_server()
    port = server.sockets[0].getsockname()[1]
    payload = bytes(range(256)) * 100
    async with LinkEmulator(f"ws://127.0.0.1:{port}", Trace.constant(1e6), Trace.constant(1e9), delay=0.03) as link:
        host, _, relay_port = link.url.removeprefix("ws://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(relay_port))
        began = time.perf_counter()
        writer.write(payload)
        assert await reader.readexactly(len(payload)) == payload
        took = time.perf_counter() - began
        # 25.6 KB at 1 Mbit/s is 0.205 s, there and back 0.06 s; never earlier, whatever the machine does.
        assert took >= 0.26
        assert link.sent == len(payload)
        link.cut()
        assert await reader.read() == b""
        writer.close()
    server.close()


async def test_virtual_clock_needs_no_waiting() -> None:
    server = await echo_server()
    port = server.sockets[0].getsockname()[1]
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        await asyncio.sleep(0)

    relay = LinkEmulator(f"ws://127.0.0.1:{port}", Trace.constant(1000), delay=100.0, clock=lambda: now, sleep=sleep)
    async with relay as link:
        host, _, relay_port = link.url.removeprefix("ws://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(relay_port))
        writer.write(b"x" * 1250)
        await reader.readexactly(1250)
        assert now >= 10 + 200  # ten seconds of sending, two delays, in no time at all
        writer.close()
    server.close()


async def test_only_plain_websockets_are_relayed() -> None:
    with pytest.raises(InputError, match="ws://host:port"):
        LinkEmulator("https://example.org", Trace.constant(1e6))


async def test_cut_link_takes_no_connection_for_a_while() -> None:
    server = await echo_server()
    port = server.sockets[0].getsockname()[1]
    now = 0.0
    relay = LinkEmulator(f"ws://127.0.0.1:{port}", Trace.constant(1e9), clock=lambda: now)
    async with relay as link:
        host, _, relay_port = link.url.removeprefix("ws://").partition(":")

        async def echoed() -> bytes:
            reader, writer = await asyncio.open_connection(host, int(relay_port))
            try:
                writer.write(b"x")
                return await reader.read(1)
            except ConnectionError:
                return b""
            finally:
                writer.close()

        assert await echoed() == b"x"
        link.cut(5.0)
        assert await echoed() == b""
        now = 6.0
        assert await echoed() == b"x"
    server.close()
