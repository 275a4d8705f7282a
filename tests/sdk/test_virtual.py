import asyncio
import time

import pytest

from cutpoint.sdk.testing import LinkEmulator, Trace, VirtualLoop


@pytest.fixture
def loop() -> object:
    loop = VirtualLoop()
    yield loop
    loop.close()


def test_hours_pass_in_no_time_and_in_order(loop: VirtualLoop) -> None:
    seen: list[tuple[str, float]] = []

    async def wait(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((name, loop.time()))

    async def all_of_them() -> None:
        await asyncio.gather(wait("c", 7200), wait("a", 1.5), wait("b", 60))

    began = time.perf_counter()
    loop.run_until_complete(all_of_them())
    assert seen == [("a", 1.5), ("b", 60), ("c", 7200)]
    assert time.perf_counter() - began < 5


def test_clock_waits_for_threads(loop: VirtualLoop) -> None:
    async def work() -> float:
        timer = asyncio.create_task(asyncio.sleep(1))
        await asyncio.to_thread(time.sleep, 0.1)
        at = loop.time()
        await timer
        return at

    assert loop.run_until_complete(work()) == 0
    assert loop.time() == 1


def test_sockets_are_real_and_links_are_slow(loop: VirtualLoop) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(12_500))
        await writer.drain()
        writer.close()

    async def talk() -> float:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with LinkEmulator(url, Trace.constant(1e4), Trace.constant(1e5), delay=1.0) as link:
            host, _, port = link.url.removeprefix("ws://").partition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            began = loop.time()
            writer.write(b"x" * 12_500)
            await reader.readexactly(12_500)
            took = loop.time() - began
            writer.close()
        server.close()
        return took

    # Ten seconds up, about one down (the last packet's share of it: the others overlap), two delays.
    assert loop.run_until_complete(talk()) == pytest.approx(10 + 1 + 2, abs=0.5)
