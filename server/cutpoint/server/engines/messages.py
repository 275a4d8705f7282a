"""What the server and the process that computes its tails say to each other: pickled, each message behind its length.

Both are of one installation, and nobody else has an end of their sockets. What is sent with every request is short: a
point is its number, a stream's memory stays in the process that decodes it and is named by a number, and the outputs of
a batch are sent as the arrays that they are rows of.
"""

from __future__ import annotations

import pickle  # noqa: TID251  # what clients send is bytes in it, and nothing but
import struct
from collections.abc import Callable, Mapping, Sequence
from socket import MSG_WAITALL, socket
from typing import Any, TypeAlias

import numpy as np

from cutpoint.codecs import Array, SymbolMemory
from cutpoint.sdk.bundle import Bundle, Exit, Point
from cutpoint.sdk.errors import GraphError
from cutpoint.sdk.tail import TailOutput
from cutpoint.server.tails import Encoded, Sample

__all__ = [
    "HEAD",
    "pack",
    "pack_outcomes",
    "pack_sample",
    "receive",
    "sendable",
    "unpack",
    "unpack_outcomes",
    "unpack_sample",
]

#: The length of a message.
HEAD = struct.Struct("<Q")

#: A point's number, or one that the bundle does not have.
_Point: TypeAlias = int | Point
#: Point, payload, number of the stream, stop, point behind it, exit.
_PackedEncoded: TypeAlias = tuple[_Point, bytes, int, int, _Point | None, Exit | None]
_PackedSample: TypeAlias = _PackedEncoded | Sample

#: Of each sample all but its outputs, and the arrays that these are rows of.
_Stacked: TypeAlias = tuple[list[tuple[Any, ...]], tuple[Array, ...]]
_PackedOutcomes: TypeAlias = _Stacked | list[TailOutput | Exception]


def pack(message: object) -> bytes:
    """The bytes of a message."""
    data = pickle.dumps(message, protocol=5)
    return HEAD.pack(len(data)) + data


def unpack(data: bytes | bytearray) -> Any:
    """The message behind its length."""
    return pickle.loads(data)


def receive(from_: socket) -> Any:
    """Waits for the next message. Raises `EOFError` when the other side has closed."""
    return unpack(_exactly(from_, *HEAD.unpack(_exactly(from_, HEAD.size))))


def _exactly(from_: socket, size: int) -> bytes:
    data = from_.recv(size, MSG_WAITALL)
    while len(data) < size:
        more = from_.recv(size - len(data), MSG_WAITALL)
        if not more:
            raise EOFError
        data += more
    return data


def pack_sample(sample: Sample, points: Mapping[int, int], stream: Callable[[SymbolMemory], int]) -> _PackedSample:
    """A sample to be sent.

    Args:
        sample: any.
        points: the numbers of the bundle's points, by `id`.
        stream: the number of a memory.
    """
    if type(sample) is not Encoded:
        return sample
    point, onward = sample.point, sample.onward
    after = points.get(id(onward), onward) if onward is not None else None
    name = stream(sample.memory)
    return points.get(id(point), point), bytes(sample.payload), name, sample.stop, after, sample.exit


def unpack_sample(packed: _PackedSample, bundle: Bundle, memory: Callable[[int], SymbolMemory]) -> Sample:
    """The sample; `memory` is asked for that of a stream."""
    if not isinstance(packed, tuple):
        return packed
    point, payload, stream, stop, onward, exit = packed
    points = bundle.points
    point = points[point] if isinstance(point, int) else point
    onward = points[onward] if isinstance(onward, int) else onward
    return Encoded(point, payload, memory(stream), stop, onward, exit)


def pack_outcomes(outcomes: Sequence[TailOutput | Exception]) -> _PackedOutcomes:
    """What came of a batch, to be sent."""
    computed = [outcome for outcome in outcomes if isinstance(outcome, TailOutput)]
    if len(computed) < len(outcomes):
        return [sendable(outcome) if isinstance(outcome, Exception) else outcome for outcome in outcomes]
    about = [(its.decode_ms, its.tail_ms, its.payload, its.encode_ms, its.exit) for its in computed]
    if len(computed) == 1:
        return about, computed[0].outputs
    return about, tuple(map(np.concatenate, zip(*(its.outputs for its in computed), strict=True)))


def unpack_outcomes(packed: _PackedOutcomes) -> list[TailOutput | Exception]:
    """What came of each sample."""
    if isinstance(packed, list):
        return packed
    about, arrays = packed
    if len(about) == 1:
        return [TailOutput(arrays, *about[0])]
    return [TailOutput(tuple([array[row : row + 1] for array in arrays]), *its) for row, its in enumerate(about)]


def sendable(error: Exception) -> Exception:
    """`error`, or what says as much if it cannot be sent."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return GraphError(f"{type(error).__name__}: {error}")
    return error
