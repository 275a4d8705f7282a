"""A load generator: `python -m tests.bench._load` takes a `Load` a line, as JSON, and answers with `Latencies`."""

from __future__ import annotations

import asyncio
import math
import sys
import time

import aiohttp
import msgspec

from cutpoint.sdk.protocol import SUBPROTOCOL, Connection, Hello, Request, Result, Role

__all__ = ["Latencies", "Load", "generate"]


class Load(msgspec.Struct, frozen=True):
    """What to send.

    Attributes:
        url: of the server; ``ws://…`` for the protocol, ``http://…`` for a POST of the payload.
        bundle: hash.
        point: number.
        payload: of each request.
        connections: each has `in_flight` requests under way all the time.
        in_flight: requests of a connection at a time.
        pause: seconds between an answer and the next request.
        warm_up: seconds that do not count, from when all are connected.
        seconds: that count.
    """

    url: str
    bundle: str
    point: int
    payload: bytes
    connections: int = 1
    in_flight: int = 1
    pause: float = 0.0
    warm_up: float = 0.3
    seconds: float = 0.8


class Latencies(msgspec.Struct, frozen=True):
    """What came of it: answers with their milliseconds from request to answer, and on the server; and refusals."""

    total: list[float]
    queue: list[float]
    decode: list[float]
    tail: list[float]
    refused: int


class _Record:
    """Answers within the time that counts."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.from_ = self.until = math.inf
        self.result = Latencies([], [], [], [], 0)
        self.refused = 0
        self._missing = load.connections
        self._all_there = asyncio.Event()

    async def begin(self) -> None:
        """A connection is ready; returns when all are, from when on time counts."""
        self._missing -= 1
        if not self._missing:
            self.from_ = time.perf_counter() + self.load.warm_up
            self.until = self.from_ + self.load.seconds
            self._all_there.set()
        await self._all_there.wait()

    def running(self) -> bool:
        return time.perf_counter() < self.until

    def add(self, sent: float, answer: object) -> None:
        now = time.perf_counter()
        if not self.from_ <= now < self.until:
            return
        if isinstance(answer, Result):
            self.result.queue.append(answer.timings.queue_ms)
            self.result.decode.append(answer.timings.decode_ms)
            self.result.tail.append(answer.timings.tail_ms)
        elif answer is not None:
            self.refused += 1
            return
        self.result.total.append((now - sent) * 1e3)


async def _speak(session: aiohttp.ClientSession, record: _Record) -> None:
    """One WebSocket."""
    load = record.load
    connection = Connection(Role.CLIENT, 1 << 24)
    sent: dict[int, float] = {}
    async with session.ws_connect(load.url, protocols=(SUBPROTOCOL,), max_msg_size=1 << 24) as ws:

        async def ask() -> None:
            if load.pause:
                await asyncio.sleep(load.pause)
            number = connection.next_id()
            sent[number] = time.perf_counter()
            for frame in connection.send(Request(number, load.point, load.payload)):
                await ws.send_bytes(frame)

        async def read() -> object:
            while True:
                event = connection.receive((await ws.receive_bytes()), time.perf_counter())
                if event is not None:
                    return event

        for frame in connection.send(Hello((1,), load.bundle)):
            await ws.send_bytes(frame)
        await read()
        await record.begin()
        for _ in range(load.in_flight):
            await ask()
        while record.running():
            answer = await read()
            record.add(sent.pop(answer.request_id), answer)  # type: ignore[attr-defined]
            await ask()


async def _post(session: aiohttp.ClientSession, record: _Record) -> None:
    """One HTTP connection."""
    load = record.load

    async def ask() -> None:
        async with session.post(f"{load.url}/{load.point}", data=load.payload) as response:
            await response.read()
            assert response.status == 200

    await ask()
    await record.begin()
    while record.running():
        sent = time.perf_counter()
        await ask()
        record.add(sent, None)


async def generate(load: Load) -> Latencies:
    """Sends `load`."""
    record = _Record(load)
    one = _speak if load.url.startswith("ws") else _post
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(one(session, record) for _ in range(load.connections)))
    return msgspec.structs.replace(record.result, refused=record.refused)


if __name__ == "__main__":
    for line in sys.stdin.buffer:
        result = asyncio.run(generate(msgspec.json.decode(line, type=Load)))
        sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")
        sys.stdout.buffer.flush()
