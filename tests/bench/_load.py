"""A load generator: `python -m tests.bench._load` takes a `Load` a line, as JSON, and answers with `Latencies`.

It shares the processor with the server that it measures, and so does little for a request: no library between it and
its sockets, frames that are made once, and answers that are looked into when all is over.
"""

from __future__ import annotations

import asyncio
import base64
import math
import os
import struct
import sys
import time
import zlib
from abc import abstractmethod
from collections.abc import Sequence
from typing import cast
from urllib.parse import urlsplit

import msgspec
import psutil

from cutpoint.sdk.protocol import SUBPROTOCOL, Connection, Error, Hello, Request, Result, Role
from cutpoint.sdk.protocol.frames import HEADER_SIZE, Kind, decode_frame
from cutpoint.server.loops import loop_factory

__all__ = ["Latencies", "Load", "generate"]

#: Of a frame of the protocol without its checksum: kind, flags, reserved, id of the request, length of the body.
_HEADER = struct.Struct("<BBHII")
_ID = struct.Struct("<4xI")
#: First byte of a WebSocket frame that is a whole binary message.
_BINARY = 0x82
#: Bit of its second byte, and a key that leaves what is masked as it is.
_MASKED, _KEY = 0x80, bytes(4)
_FRAME_LIMIT = 1 << 24
#: Seconds for answers to what was still under way.
_PATIENCE = 60.0


class Load(msgspec.Struct, frozen=True):
    """What to send.

    Attributes:
        url: of the server; ``ws://…`` for the protocol, ``http://…`` for a POST of the payload.
        bundle: hash.
        point: number.
        payload: of each request.
        connections: each has `in_flight` requests under way all the time.
        in_flight: requests of a connection at a time; one with ``http://``.
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
    """Answers within the time that counts: when their requests were sent, when they came, and what they are."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.from_ = self.until = math.inf
        self.answers: list[tuple[float, float, bytes]] = []
        self.unsent = 0

    def begin(self) -> None:
        """All are connected: from now on time counts."""
        self.from_ = time.perf_counter() + self.load.warm_up
        self.until = self.from_ + self.load.seconds

    def add(self, sent: float, now: float, answer: bytes) -> None:
        if self.from_ <= now < self.until:
            self.answers.append((sent, now, answer))

    def latencies(self, computed: float, own: float) -> Latencies:
        """Of all answers; looks at what each of them says."""
        found = Latencies([], [], [], [], 0, self.unsent, computed, own)
        refused = 0
        for sent, now, data in self.answers:
            if self.load.url.startswith("ws"):
                answer = decode_frame(data)
                if isinstance(answer, Error):
                    refused += 1
                    continue
                assert isinstance(answer, Result), answer
                found.queue.append(answer.timings.queue_ms)
                found.decode.append(answer.timings.decode_ms)
                found.tail.append(answer.timings.tail_ms)
            found.total.append((now - sent) * 1e3)
        return msgspec.structs.replace(found, refused=refused)


class _Socket(asyncio.Protocol):
    """A connection that asks as the load says.

    Attributes:
        ready: done when it may ask.
        ended: done when the time is over and every request has its answer.
    """

    def __init__(self, record: _Record) -> None:
        self.loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = self.loop.create_future()
        self.ended: asyncio.Future[None] = self.loop.create_future()
        self.record = record
        self.load = record.load
        self.most = record.load.in_flight
        self._sent: dict[int, float] = {}
        self._number = 0
        self._due = math.inf
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        for future in (self.ready, self.ended):
            if not future.done():
                future.set_exception(exc or ConnectionResetError("the server has closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._received = self.take(self._received + data if self._received else data)

    @abstractmethod
    def take(self, data: bytes) -> bytes:
        """Takes what is complete of `data`; returns the rest."""

    @abstractmethod
    def request(self, number: int) -> bytes:
        """The bytes of the request of that number."""

    def start(self, place: int) -> None:
        """Time counts; this is connection number `place`."""
        self.loop.call_later(self.record.until - time.perf_counter(), self._end)
        if self.load.rate:
            self._due = time.perf_counter() + place / self.load.rate
            self._wait()
            return
        for _ in range(self.load.in_flight):
            self.ask()

    def ask(self) -> None:
        self._number += 1
        data = self.request(self._number)
        self._sent[self._number] = time.perf_counter()
        self.transport.write(data)

    def answered(self, number: int, answer: bytes) -> None:
        now = time.perf_counter()
        self.record.add(self._sent.pop(number), now, answer)
        if now >= self.record.until:
            self._end()
        elif self.load.pause:
            self.loop.call_later(self.load.pause, self._after_pause)
        elif not self.load.rate:
            self.ask()

    def _after_pause(self) -> None:
        if time.perf_counter() < self.record.until:
            self.ask()
        else:
            self._end()

    def _wait(self) -> None:
        self.loop.call_later(max(0.0, self._due - time.perf_counter()), self._ask_in_time)

    def _ask_in_time(self) -> None:
        if self._due >= self.record.until:
            return
        if len(self._sent) < self.most:
            self.ask()
        else:
            self.record.unsent += 1
        self._due += self.load.connections / self.load.rate
        self._wait()

    def _end(self) -> None:
        if not self._sent and not self.ended.done():
            self.ended.set_result(None)


class _WebSocket(_Socket):
    """The protocol, of which everything but ids and checksums is made once."""

    def __init__(self, record: _Record) -> None:
        super().__init__(record)
        self._connection = Connection(Role.CLIENT, _FRAME_LIMIT)
        self._upgraded = False
        self._frames: Sequence[bytes] = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        url = urlsplit(self.load.url)
        fields = {
            "Host": url.netloc,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Protocol": SUBPROTOCOL,
        }
        lines = [f"GET {url.path or '/'} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        self.transport.write("\r\n".join(lines).encode())

    def take(self, data: bytes) -> bytes:
        if not self._upgraded:
            head, there, rest = data.partition(b"\r\n\r\n")
            if not there:
                return data
            assert head.startswith(b"HTTP/1.1 101 "), head
            self._upgraded = True
            self.transport.write(b"".join(map(_masked, self._connection.send(Hello((1,), self.load.bundle)))))
            data = rest
        while len(data) >= 2:
            assert data[0] == _BINARY, "the server sends whole messages, or closes"
            size, begin = data[1], 2
            if size > 125:
                begin = 4 if size == 126 else 10
                size = int.from_bytes(data[2:begin])
            if len(data) < begin + size:
                break
            self._take_frame(data[begin : begin + size])
            data = data[begin + size :]
        return data

    def _take_frame(self, frame: bytes) -> None:
        if not self.ready.done():
            self._connection.receive(frame, 0.0)
            self.most = self._connection.limits.in_flight
            self._frames = self._connection.send(Request(1, self.load.point, self.load.payload, self.load.budget))
            self.ready.set_result(None)
            return
        assert frame[0] in (Kind.RESULT, Kind.ERROR), decode_frame(frame)
        self.answered(_ID.unpack_from(frame)[0], frame)

    def request(self, number: int) -> bytes:
        return b"".join(_masked(_renumbered(frame, number)) for frame in self._frames)


class _Http(_Socket):
    """POST of the payload, one after the other."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        url, payload = urlsplit(self.load.url), self.load.payload
        lines = [
            f"POST {url.path}/{self.load.point} HTTP/1.1",
            f"Host: {url.netloc}",
            f"Content-Length: {len(payload)}",
        ]
        self._bytes = "\r\n".join([*lines, "", ""]).encode() + payload
        self.ready.set_result(None)

    def take(self, data: bytes) -> bytes:
        head, there, body = data.partition(b"\r\n\r\n")
        if not there:
            return data
        assert head.startswith(b"HTTP/1.1 200 "), head
        (size,) = (int(line[15:]) for line in head.split(b"\r\n") if line[:15].lower() == b"content-length:")
        if len(body) < size:
            return data
        self.answered(self._number, b"")
        return body[size:]

    def request(self, number: int) -> bytes:
        return self._bytes


def _renumbered(frame: bytes, number: int) -> bytes:
    """A frame of the protocol, of another request."""
    kind, flags, reserved, _, size = _HEADER.unpack_from(frame)
    head, body = _HEADER.pack(kind, flags, reserved, number, size), frame[HEADER_SIZE:]
    return head + zlib.crc32(body, zlib.crc32(head)).to_bytes(4, "little") + body


def _masked(message: bytes) -> bytes:
    """A WebSocket frame of a client."""
    size = len(message)
    if size < 126:
        head = bytes((_BINARY, _MASKED | size))
    elif size < 1 << 16:
        head = bytes((_BINARY, _MASKED | 126)) + size.to_bytes(2)
    else:
        head = bytes((_BINARY, _MASKED | 127)) + size.to_bytes(8)
    return head + _KEY + message


async def generate(load: Load) -> Latencies:
    """Sends `load`."""
    record, url, loop = _Record(load), urlsplit(load.url), asyncio.get_running_loop()
    kind = _WebSocket if url.scheme == "ws" else _Http
    sockets: list[_Socket] = []
    try:
        for _ in range(load.connections):
            sockets.append((await loop.create_connection(lambda: kind(record), url.hostname, url.port))[1])
        await asyncio.gather(*(each.ready for each in sockets))
        record.begin()
        watching = asyncio.create_task(_watch(record))
        for place, each in enumerate(sockets):
            each.start(place)
        computed, own = await watching
        async with asyncio.timeout(_PATIENCE):
            await asyncio.gather(*(each.ended for each in sockets))
    finally:
        for each in sockets:
            each.transport.close()
    return record.latencies(computed, own)


async def _watch(record: _Record) -> tuple[float, float]:
    """Processor seconds of the server, all its processes, and of this one, in the time that counts."""
    serving = [psutil.Process(record.load.pid)] if record.load.pid else []
    serving += [child for process in serving for child in process.children(recursive=True)]
    processes = [serving, [psutil.Process()]]

    def computed() -> list[float]:
        return [float(sum(sum(process.cpu_times()[:2]) for process in its)) for its in processes]

    await asyncio.sleep(record.from_ - time.perf_counter())
    before = computed()
    await asyncio.sleep(record.until - time.perf_counter())
    server, own = (now - then for now, then in zip(computed(), before, strict=True))
    return server, own


if __name__ == "__main__":
    # Without a buffer (PYTHONUNBUFFERED), a write might end half-way.
    out = open(sys.stdout.fileno(), "wb", closefd=False)  # noqa: SIM115
    for line in sys.stdin.buffer:
        with asyncio.Runner(loop_factory=loop_factory("auto")) as runner:
            result = runner.run(generate(msgspec.json.decode(line, type=Load)))
        out.write(msgspec.json.encode(result) + b"\n")
        out.flush()
