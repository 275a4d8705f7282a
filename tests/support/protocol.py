"""Both ends of a connection without anything between them, and things for them to say."""

from __future__ import annotations

import struct
import zlib

import msgspec
import numpy as np

from cutpoint.sdk.protocol import (
    TIERS,
    Connection,
    Event,
    Hello,
    Limits,
    Result,
    Role,
    ServerState,
    Timings,
    Welcome,
)

__all__ = ["HELLO", "LIMITS", "WELCOME", "Pair", "assert_same", "result", "with_checksum"]

LIMITS = Limits(frame=4096, in_flight=3)
HELLO = Hello((1,), "b" * 64, "secret", "test/1", "phone")
WELCOME = Welcome(1, "cutpoint/0", "b" * 64, LIMITS)


class Pair:
    """A client and a server without anything between them. Every event goes through both."""

    def __init__(self, max_payload: int = 1 << 20, max_parts: tuple[int, ...] = ()) -> None:
        """With `max_parts` point 5 is sliced."""
        self.client = Connection(Role.CLIENT, 1 << 20)
        self.server = Connection(
            Role.SERVER,
            LIMITS.frame,
            lambda point: max_payload if point < 10 else None,
            max_parts=lambda point: max_parts if point == 5 else (),
        )
        self.now = 0.0

    @classmethod
    def open(
        cls, max_payload: int = 1 << 20, offered: bool = False, taken: bool = False, extension: str = TIERS
    ) -> Pair:
        pair = cls(max_payload)
        hello = msgspec.structs.replace(HELLO, extensions=(extension, "unheard-of") if offered else ())
        welcome = msgspec.structs.replace(WELCOME, extensions=(extension,) if taken else ())
        assert pair.up(hello) == [hello]
        assert pair.down(welcome) == [welcome]
        return pair

    def up(self, event: Event) -> list[Event]:
        return self._pass(self.client, self.server, event)

    def down(self, event: Event) -> list[Event]:
        return self._pass(self.server, self.client, event)

    def _pass(self, sender: Connection, receiver: Connection, event: Event) -> list[Event]:
        events = []
        for frame in sender.send(event):
            self.now += 0.001
            got = receiver.receive(frame, self.now)
            events += [] if got is None else [got]
        return events


def result(request_id: int, value: float = 1.0) -> Result:
    return Result(
        request_id,
        (np.full((1, 3), value, np.float32), np.arange(4, dtype=np.int64).reshape(2, 2)),
        Timings(1.5, 0.25, 3.0),
        ServerState(2.0, 0.5, True),
        (0.0, 0.001),
    )


def assert_same(a: Result, b: Result) -> None:
    assert (a.request_id, a.timings, a.state, a.arrivals) == (b.request_id, b.timings, b.state, b.arrivals)
    assert len(a.outputs) == len(b.outputs)
    for x, y in zip(a.outputs, b.outputs, strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def with_checksum(kind: int, request_id: int, body: bytes, flags: int = 0) -> bytes:
    checked = struct.pack("<BBHII", kind, flags, 0, request_id, len(body))
    return checked + struct.pack("<I", zlib.crc32(checked + body)) + body
