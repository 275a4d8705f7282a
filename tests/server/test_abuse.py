"""Clients that mean no good, against the real server in a process of its own, while an honest one works."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.toy import picture
from tests.support.waiting import until

from cutpoint.sdk import Bundle, Client
from cutpoint.sdk.testing import ServerProcess

from .conftest import QUICK

ASK = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"


def address(process: ServerProcess) -> tuple[str, int]:
    host, port = process.url.removeprefix("ws://").rsplit(":", 1)
    return host, int(port)


async def rest(reader: asyncio.StreamReader) -> bytes:
    """What comes until the other side ends the connection."""
    with contextlib.suppress(ConnectionError):
        return await asyncio.wait_for(reader.read(), 20)
    return b""


@asynccontextmanager
async def honest(process: ServerProcess, bundle: Bundle) -> AsyncIterator[list[float]]:
    """An honest client asks again and again; every answer is the server's. Gives the seconds they took."""
    took: list[float] = []
    async with Client(process.url, bundle, mode="edge", times=QUICK) as client:

        async def ask() -> None:
            while True:
                began = time.perf_counter()
                assert (await client.infer(picture(1))).source == "edge"
                took.append(time.perf_counter() - began)

        asking = asyncio.create_task(ask())
        try:
            await until(lambda: len(took) >= 5 or asking.done())
            yield took
            so_far = len(took)
            await until(lambda: len(took) >= so_far + 5 or asking.done())
            assert not asking.done(), asking.result()
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)


async def test_one_byte_a_second(bundle_file: Path, bundle: Bundle) -> None:
    async with ServerProcess(bundle_file, "--hello-timeout", "0.6") as process, honest(process, bundle):

        async def trickle() -> float:
            reader, writer = await asyncio.open_connection(*address(process))
            began = time.perf_counter()
            ended = asyncio.create_task(rest(reader))
            for byte in ASK * 100:
                writer.write(bytes([byte]))
                done, _ = await asyncio.wait([ended], timeout=0.05)
                if done:
                    break
            writer.close()
            assert ended.done()
            return time.perf_counter() - began

        lasted = await asyncio.gather(*(trickle() for _ in range(50)))
        assert all(0.3 < seconds < 10 for seconds in lasted)


async def test_a_second_request_that_trickles(bundle_file: Path) -> None:
    async with ServerProcess(bundle_file, "--hello-timeout", "0.3") as process:
        reader, writer = await asyncio.open_connection(*address(process))
        writer.write(ASK + b"\r\n")
        await reader.readuntil(b"ok\n")
        writer.write(ASK)
        assert await rest(reader) == b""
        writer.close()


async def test_websocket_messages_that_trickle(bundle_file: Path) -> None:
    """After the handshake the rest of a hello does not come."""
    async with ServerProcess(bundle_file, "--hello-timeout", "0.3") as process:
        reader, writer = await asyncio.open_connection(*address(process))
        writer.write(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: cutpoint.v1\r\n\r\n\x82"
        )
        said = await rest(reader)
        assert said.startswith(b"HTTP/1.1 101")
        assert b"no hello within 0.3 s" in said
        writer.close()


async def test_ten_megabytes_of_headers(bundle_file: Path, bundle: Bundle) -> None:
    async with ServerProcess(bundle_file) as process:
        async with honest(process, bundle):

            async def shout(data: bytes) -> bytes:
                reader, writer = await asyncio.open_connection(*address(process))
                answer = asyncio.create_task(rest(reader))
                with contextlib.suppress(ConnectionError):
                    for start in range(0, len(data), 1 << 16):
                        writer.write(data[start : start + (1 << 16)])
                        await writer.drain()
                writer.close()
                return await answer

            one_long = ASK + b"X: " + b"a" * 10_000_000
            many = ASK + b"".join(b"X%d: a\r\n" % i for i in range(800_000))
            long_path = b"GET /" + b"a" * 10_000_000
            for data in (one_long, many, long_path) * 2:
                assert (await shout(data))[9:12] in (b"400", b"431", b"")
        await process.stop()
    assert process.log.count("not a proper HTTP request") == 1
    assert len(process.log) < 500


async def test_ten_thousand_connects(bundle_file: Path, bundle: Bundle) -> None:
    """From one address; most are turned away, in the log by one line, and who is inside notices nothing."""
    options = ("--max-connections-per-address", "50", "--hello-timeout", "60")
    async with ServerProcess(bundle_file, *options) as process:
        async with honest(process, bundle):
            held: list[asyncio.StreamWriter] = []
            turned_away = 0

            async def knock() -> None:
                nonlocal turned_away
                reader, writer = await asyncio.open_connection(*address(process))
                # Who is let in hears nothing, who is not an end.
                try:
                    await asyncio.wait_for(reader.read(1), 0.5 if len(held) < 49 else 20)
                    turned_away += 1
                    writer.close()
                except ConnectionError:
                    turned_away += 1
                    writer.close()
                except TimeoutError:
                    held.append(writer)

            for _ in range(2):
                await asyncio.gather(*(knock() for _ in range(49)))
            assert len(held) == 49
            for _ in range(100):
                await asyncio.gather(*(knock() for _ in range(100)))
            assert turned_away >= 10_000
            assert len(held) == 49
            for writer in held:
                writer.close()
        # Their places are free again.
        async with honest(process, bundle):
            pass
        await process.stop()
    assert process.log.count("more than 50 connections from one address") == 1
    assert len(process.log.splitlines()) == 1


async def test_refused_greetings_are_logged_once(bundle_file: Path, bundle: Bundle, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("word\n")
    async with ServerProcess(bundle_file, "--token-file", str(tokens)) as process:
        for _ in range(20):
            async with Client(process.url, bundle, token="wrong", times=QUICK) as client:
                assert not client.connected
        await process.stop()
    assert process.log.count("unauthenticated") == 1
