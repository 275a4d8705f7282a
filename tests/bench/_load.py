"""A load generator: `python -m tests.bench._load` takes a `Load` a line, as JSON, and answers with `Latencies`."""

from __future__ import annotations

import asyncio
import math
import sys
import time

import aiohttp
import msgspec
import psutil

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
        rate: requests per second of all connections together, at fixed times, whatever becomes of those before; 0 to
            send the next one only after an answer, as said above.
        budget: seconds that the server is told it has; 0 for no limit.
        warm_up: seconds that do not count, from when all are connected.
        seconds: that count.
        pid: of the server's process, to see what it computes in them; 0 not to.
    """

    url: str
    bundle: str
    point: int
    payload: bytes
    connections: int = 1
    in_flight: int = 1
    pause: float = 0.0
    rate: float = 0.0
    budget: float = 0.0
    warm_up: float = 0.3
    seconds: float = 0.8
    pid: int = 0


class Latencies(msgspec.Struct, frozen=True):
    """What came of it: answers with their milliseconds from request to answer, and on the server; refusals.

    `unsent` are requests that were due while as many were under way on their connection as may be. `computed` and `own`
    are the processor seconds of the server and of the generator in the time that counts.
    """

    total: list[float]
    queue: list[float]
    decode: list[float]
    tail: list[float]
    refused: int
    unsent: int
    computed: float = 0.0
    own: float = 0.0


class _Record:
    """Answers within the time that counts."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.from_ = self.until = math.inf
        self.result = Latencies([], [], [], [], 0, 0)
        self.refused = self.unsent = 0
        self._missing = load.connections
        self.all_there = asyncio.Event()

    async def begin(self) -> int:
        """A connection is ready; returns its number when all are, from when on time counts."""
        self._missing -= 1
        number = self._missing
        if not self._missing:
            self.from_ = time.perf_counter() + self.load.warm_up
            self.until = self.from_ + self.load.seconds
            self.all_there.set()
        await self.all_there.wait()
        return number

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
    all_sent = False
    async with session.ws_connect(load.url, protocols=(SUBPROTOCOL,), max_msg_size=1 << 24) as ws:

        async def ask() -> None:
            if load.pause:
                await asyncio.sleep(load.pause)
            number = connection.next_id()
            sent[number] = time.perf_counter()
            for frame in connection.send(Request(number, load.point, load.payload, load.budget)):
                await ws.send_bytes(frame)

        async def ask_in_time() -> None:
            due = record.from_ - load.warm_up + place / load.rate
            while due < record.until:
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                if connection.in_flight < connection.limits.in_flight:
                    await ask()
                else:
                    record.unsent += 1
                due += load.connections / load.rate

        async def answers() -> None:
            while connection.in_flight or not all_sent:
                answer = await read()
                record.add(sent.pop(answer.request_id), answer)  # type: ignore[attr-defined]

        async def read() -> object:
            while True:
                event = connection.receive((await ws.receive_bytes()), time.perf_counter())
                if event is not None:
                    return event

        for frame in connection.send(Hello((1,), load.bundle)):
            await ws.send_bytes(frame)
        await read()
        place = await record.begin()
        if load.rate:
            reading = asyncio.create_task(answers())
            await ask_in_time()
            all_sent = True
            if not connection.in_flight:
                reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            return
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
        watching = asyncio.create_task(_watch(record))
        await asyncio.gather(*(one(session, record) for _ in range(load.connections)))
        computed, own = await watching
    counted = {"refused": record.refused, "unsent": record.unsent, "computed": computed, "own": own}
    return msgspec.structs.replace(record.result, **counted)


async def _watch(record: _Record) -> tuple[float, float]:
    """Processor seconds of the server and of this process, in the time that counts."""
    processes = [psutil.Process(record.load.pid)] if record.load.pid else []
    processes.append(psutil.Process())

    def computed() -> list[float]:
        return [float(sum(process.cpu_times()[:2])) for process in processes]

    await record.all_there.wait()
    await asyncio.sleep(record.from_ - time.perf_counter())
    before = computed()
    await asyncio.sleep(record.until - time.perf_counter())
    server, own = ([0.0] + [now - then for now, then in zip(computed(), before, strict=True)])[-2:]
    return server, own


if __name__ == "__main__":
    for line in sys.stdin.buffer:
        result = asyncio.run(generate(msgspec.json.decode(line, type=Load)))
        sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")
        sys.stdout.buffer.flush()
