"""Frames ↔ bytes, little endian throughout. docs/protocol.md has the byte tables.

A frame is a 16-byte header and a body. Long requests are split: the first frame opens the request, chunk frames follow.
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Iterable
from enum import IntEnum
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np

from cutpoint.codecs import DTYPES, Array
from cutpoint.sdk.errors import RemoteProtocolError
from cutpoint.sdk.protocol.events import (
    TIERS,
    Cancel,
    Error,
    Goaway,
    Hello,
    Hop,
    Ping,
    Pong,
    Result,
    ServerState,
    Timings,
    TraceContext,
    Welcome,
)

__all__ = [
    "EXITS_SIZE",
    "HEADER_SIZE",
    "OPENING_SIZE",
    "PART_SIZE",
    "TRACE_SIZE",
    "Chunk",
    "Frame",
    "Kind",
    "Opening",
    "PartOpening",
    "decode_frame",
    "encode_frame",
]

#: kind, flags, reserved, request id, body length, CRC-32 of the twelve bytes before it and the body.
_HEADER = struct.Struct("<BBHIII")
_HEADER_CHECKED = struct.Struct("<BBHII")
HEADER_SIZE = _HEADER.size
#: point, stop, hops, budget in microseconds, payload size.
_OPENING = struct.Struct("<HBBII")
OPENING_SIZE = _OPENING.size
#: Flag of a request's first frame: a trace's context comes before the payload.
_TRACED = 1
#: Flag of a request's first frame and of a result: a byte about exits comes before what follows.
_EXITS = 4
#: trace id and span id, the bytes in the order of a `traceparent`; its flags.
_TRACE = struct.Struct("<16s8sB")
TRACE_SIZE = _TRACE.size
#: Flag of a request's first frame: what it announces is the first part of the payload.
_SLICED = 2
#: number, count, size.
_PART = struct.Struct("<HHI")
PART_SIZE = _PART.size
EXITS_SIZE = 1
_CHUNK = struct.Struct("<I")
#: queue delay in microseconds, price, flags (bit 0: draining, bit 1: outdated).
_STATE = struct.Struct("<IfI")
#: queue, decode, tail in microseconds; number of arrivals; number of tensors; number of hops.
_RESULT = struct.Struct("<IIIHBB")
#: queue, decode, compute, encode, total in microseconds; length of the name, which follows.
_HOP = struct.Struct("<IIIIIB")
_LONGEST_NAME = 255
#: element type (place in DTYPES), number of dimensions, 0.
_TENSOR = struct.Struct("<BBH")
_PING = struct.Struct("<Q")
_PONG = struct.Struct("<QQ")
_GOAWAY = struct.Struct("<I")
_U32 = 2**32 - 1


class Kind(IntEnum):
    """First byte of a frame."""

    HELLO = 1
    WELCOME = 2
    REQUEST = 3
    CHUNK = 4
    CANCEL = 5
    RESULT = 6
    ERROR = 7
    PING = 8
    PONG = 9
    GOAWAY = 10
    PART = 11


#: Flags that a kind of frame may have.
_FLAGS = {Kind.REQUEST: _TRACED | _SLICED | _EXITS, Kind.RESULT: _EXITS}


class Opening(msgspec.Struct, frozen=True):
    """First frame of a request: what is to come, and the first bytes of the payload, or of its first part."""

    request_id: int
    point: int
    budget: float
    size: int
    data: bytes
    stop: int = 0
    hops: int = 0
    trace: TraceContext | None = None
    exits: int = 0
    sliced: bool = False


class PartOpening(msgspec.Struct, frozen=True):
    """First frame of a further part of a sliced request's payload."""

    request_id: int
    number: int
    count: int
    size: int
    data: bytes


class Chunk(msgspec.Struct, frozen=True):
    """A further frame of a request: bytes of the payload, or of its latest part, from `offset` on."""

    request_id: int
    offset: int
    data: bytes


Frame = Hello | Welcome | Opening | PartOpening | Chunk | Cancel | Result | Error | Ping | Pong | Goaway


class _ErrorBody(msgspec.Struct):
    code: str
    message: str
    retry_after_ms: int | None = None


def _micros(seconds: float) -> int:
    micros = round(seconds * 1e6)
    return micros if 0 <= micros <= _U32 else min(_U32, max(0, micros))


def _pack(kind: Kind, request_id: int, *body: bytes, flags: int = 0) -> bytes:
    data = b"".join(body)
    checked = _HEADER_CHECKED.pack(kind, flags, 0, request_id, len(data))
    return b"".join((checked, zlib.crc32(data, zlib.crc32(checked)).to_bytes(4, "little"), data))


def _pack_u32(numbers: Iterable[int]) -> bytes:
    values = tuple(numbers)
    return struct.pack(f"<{len(values)}I", *values)


@lru_cache
def _pack_shape(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    return _TENSOR.pack(DTYPES.index(dtype.name), len(shape), 0) + _pack_u32(shape)


def _pack_values(tensor: Array) -> bytes:
    if not tensor.dtype.isnative or sys.byteorder != "little":
        tensor = tensor.astype(tensor.dtype.newbyteorder("<"))
    return tensor.tobytes()


def _pack_state(state: ServerState) -> bytes:
    return _STATE.pack(_micros(state.queue_ms / 1e3), state.price, state.draining | state.outdated << 1)


def _pack_hop(hop: Hop) -> bytes:
    # A name that is too long loses its end, and with it half a character.
    name = hop.tier.encode()[:_LONGEST_NAME].decode(errors="ignore").encode()
    times = (hop.queue_ms, hop.decode_ms, hop.compute_ms, hop.encode_ms, hop.total_ms)
    return _HOP.pack(*(_micros(time / 1e3) for time in times), len(name)) + name


def _pack_opening(opening: Opening) -> bytes:
    head = _OPENING.pack(opening.point, opening.stop, opening.hops, _micros(opening.budget), opening.size)
    flags, context, exits = _SLICED if opening.sliced else 0, b"", b""
    if (trace := opening.trace) is not None:
        flags |= _TRACED
        context = _TRACE.pack(trace.trace_id.to_bytes(16), trace.span_id.to_bytes(8), trace.flags)
    if opening.exits:
        flags |= _EXITS
        exits = bytes((opening.exits,))
    return _pack(Kind.REQUEST, opening.request_id, head, context, exits, opening.data, flags=flags)


def _pack_result(result: Result) -> bytes:
    timings = result.timings
    parts = [
        _pack_state(result.state),
        _RESULT.pack(
            _micros(timings.queue_ms / 1e3),
            _micros(timings.decode_ms / 1e3),
            _micros(timings.tail_ms / 1e3),
            len(result.arrivals),
            len(result.outputs),
            len(result.hops),
        ),
        bytes((result.exit,)) if result.exit else b"",
        _pack_u32(map(_micros, result.arrivals)),
        *(_pack_hop(hop) for hop in result.hops),
    ]
    # All values behind all shapes: a receiver checks every size before it takes memory.
    parts += [_pack_shape(tensor.dtype, tensor.shape) for tensor in result.outputs]
    parts += [_pack_values(tensor) for tensor in result.outputs]
    return _pack(Kind.RESULT, result.request_id, *parts, flags=_EXITS if result.exit else 0)


def _pack_greeting(kind: Kind, greeting: Hello | Welcome) -> bytes:
    """JSON; where there are no extensions, nothing is said about them."""
    fields = msgspec.to_builtins(greeting)
    if not greeting.extensions:
        del fields["extensions"]
    if TIERS not in greeting.extensions:
        fields.pop("scale", None)
    return _pack(kind, 0, msgspec.json.encode(fields))


def encode_frame(frame: Frame) -> bytes:
    """The bytes of one frame."""
    match frame:
        case Chunk():
            return _pack(Kind.CHUNK, frame.request_id, _CHUNK.pack(frame.offset), frame.data)
        case Opening():
            return _pack_opening(frame)
        case PartOpening():
            head = _PART.pack(frame.number, frame.count, frame.size)
            return _pack(Kind.PART, frame.request_id, head, frame.data)
        case Result():
            return _pack_result(frame)
        case Cancel():
            return _pack(Kind.CANCEL, frame.request_id)
        case Ping():
            return _pack(Kind.PING, 0, _PING.pack(round(frame.sent * 1e6)), bytes(frame.padding))
        case Pong():
            times = _PONG.pack(round(frame.sent * 1e6), round(frame.received * 1e6))
            return _pack(Kind.PONG, 0, times, _pack_state(frame.state))
        case Error():
            retry_after = None if frame.retry_after is None else round(frame.retry_after * 1e3)
            return _pack(
                Kind.ERROR, frame.request_id, msgspec.json.encode(_ErrorBody(frame.code, frame.message, retry_after))
            )
        case Goaway():
            return _pack(Kind.GOAWAY, 0, _GOAWAY.pack(round(frame.grace * 1e3)))
        case Hello():
            return _pack_greeting(Kind.HELLO, frame)
        case Welcome():
            return _pack_greeting(Kind.WELCOME, frame)


def decode_frame(data: bytes) -> Frame:
    """The frame that `data` is, all of it.

    Raises:
        RemoteProtocolError: if it is not a frame. `code` is ``bad_payload`` where only the checksum is wrong.
    """
    if len(data) < HEADER_SIZE:
        raise RemoteProtocolError(f"a frame of {len(data)} bytes is shorter than its header")
    kind, flags, reserved, request_id, length, crc = _HEADER.unpack_from(data)
    if length != len(data) - HEADER_SIZE:
        raise RemoteProtocolError(f"frame body has {len(data) - HEADER_SIZE} bytes, the header says {length}")
    body = memoryview(data)[HEADER_SIZE:]
    if zlib.crc32(body, zlib.crc32(data[: _HEADER_CHECKED.size])) != crc:
        raise RemoteProtocolError("frame checksum is wrong: the bytes were damaged on the way", code="bad_payload")
    if reserved or flags & ~_FLAGS.get(kind, 0):
        raise RemoteProtocolError("frame uses header bits that this version does not know")
    try:
        return _decode_body(Kind(kind), flags, request_id, body)
    except (struct.error, ValueError, msgspec.DecodeError) as error:
        raise RemoteProtocolError(f"frame of kind {kind} is malformed: {error}") from error


def _decode_body(kind: Kind, flags: int, request_id: int, body: memoryview) -> Frame:
    match kind:
        case Kind.CHUNK:
            (offset,) = _CHUNK.unpack_from(body)
            return Chunk(request_id, offset, bytes(body[_CHUNK.size :]))
        case Kind.REQUEST:
            return _unpack_opening(request_id, body, flags)
        case Kind.PART:
            number, count, size = _PART.unpack_from(body)
            return PartOpening(request_id, number, count, size, bytes(body[PART_SIZE:]))
        case Kind.RESULT:
            return _unpack_result(request_id, body, flags)
        case Kind.CANCEL:
            _expect_length(body, 0)
            return Cancel(request_id)
        case Kind.PING:
            (sent,) = _PING.unpack_from(body)
            return Ping(sent / 1e6, len(body) - _PING.size)
        case Kind.PONG:
            _expect_length(body, _PONG.size + _STATE.size)
            sent, received = _PONG.unpack_from(body)
            return Pong(sent / 1e6, received / 1e6, _unpack_state(body[_PONG.size :]))
        case Kind.ERROR:
            error = msgspec.json.decode(body, type=_ErrorBody)
            retry_after = None if error.retry_after_ms is None else error.retry_after_ms / 1e3
            return Error(request_id, error.code, error.message, retry_after)
        case Kind.GOAWAY:
            (grace,) = _GOAWAY.unpack(body)
            return Goaway(grace / 1e3)
        case Kind.HELLO:
            return msgspec.json.decode(body, type=Hello)
        case Kind.WELCOME:
            return msgspec.json.decode(body, type=Welcome)


def _expect_length(body: memoryview, length: int) -> None:
    if len(body) != length:
        raise ValueError(f"{len(body)} bytes, expected {length}")


def _unpack_opening(request_id: int, body: memoryview, flags: int) -> Opening:
    point, stop, hops, budget, size = _OPENING.unpack_from(body)
    offset, trace = OPENING_SIZE, None
    if flags & _TRACED:
        trace_id, span_id, trace_flags = _TRACE.unpack_from(body, offset)
        offset += TRACE_SIZE
        trace = TraceContext(int.from_bytes(trace_id), int.from_bytes(span_id), trace_flags)
        if not (trace.trace_id and trace.span_id):
            raise ValueError("the id of a trace or a span is 0")
    exits, offset = _unpack_exits(body, offset, flags)
    asked = stop, hops, trace, exits, bool(flags & _SLICED)
    return Opening(request_id, point, budget / 1e6, size, bytes(body[offset:]), *asked)


def _unpack_exits(body: memoryview, offset: int, flags: int) -> tuple[int, int]:
    """What a frame says of exits, and where it goes on."""
    if not flags & _EXITS:
        return 0, offset
    if not (exits := next(iter(body[offset : offset + 1]), 0)):
        raise ValueError("the flag for exits, and no number of them")
    return exits, offset + EXITS_SIZE


def _unpack_state(body: memoryview) -> ServerState:
    queue, price, flags = _STATE.unpack_from(body)
    return ServerState(queue / 1e3, price, bool(flags & 1), bool(flags & 2))


def _unpack_hop(body: memoryview, offset: int) -> tuple[Hop, int]:
    *times, length = _HOP.unpack_from(body, offset)
    offset += _HOP.size
    name = bytes(body[offset : offset + length])
    if len(name) < length:
        raise ValueError("the name of a hop is cut off")
    return Hop(name.decode(), *(time / 1e3 for time in times)), offset + length


def _unpack_result(request_id: int, body: memoryview, flags: int) -> Result:
    state = _unpack_state(body)
    offset = _STATE.size
    queue, decode, tail, arrivals, tensors, tiers = _RESULT.unpack_from(body, offset)
    offset += _RESULT.size
    exit, offset = _unpack_exits(body, offset, flags)
    times = np.frombuffer(body, "<u4", arrivals, offset)
    offset += times.nbytes
    hops: list[Hop] = []
    for _ in range(tiers):
        hop, offset = _unpack_hop(body, offset)
        hops.append(hop)
    shapes: list[tuple[np.dtype[Any], tuple[int, ...], int]] = []
    for _ in range(tensors):
        code, dimensions, _ = _TENSOR.unpack_from(body, offset)
        offset += _TENSOR.size
        if code >= len(DTYPES):
            raise ValueError(f"unknown element type {code}")
        sides = np.frombuffer(body, "<u4", dimensions, offset)
        offset += sides.nbytes
        shape = tuple(int(side) for side in sides)
        count = 1
        for side in shape:  # Python integers: a product over 2**64 must not wrap around.
            count *= side
        shapes.append((np.dtype(DTYPES[code]), shape, count))
    _expect_length(body[offset:], sum(dtype.itemsize * count for dtype, _, count in shapes))
    outputs: list[Array] = []
    for dtype, shape, count in shapes:
        values = np.frombuffer(body, dtype.newbyteorder("<"), count, offset)
        offset += values.nbytes
        outputs.append(values.astype(dtype).reshape(shape))
    return Result(
        request_id,
        tuple(outputs),
        Timings(queue / 1e3, decode / 1e3, tail / 1e3),
        state,
        tuple(int(time) / 1e6 for time in times),
        tuple(hops),
        exit,
    )
