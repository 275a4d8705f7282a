"""`delta`: a symbol codec for streams, which codes the difference to symbols that the other side has.

Payload: one byte 0 and the streams of a symbol codec (a key frame), or one byte 1, the reference's name (u32, little
endian) and the streams of the differences. A reference is named by its content, so that the two ends cannot mean
different ones, whatever was lost, cancelled or reconnected in between; at worst it is not there any more.
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np

from cutpoint.codecs.codec import CodecParts, register
from cutpoint.codecs.errors import BitstreamError, ReferenceLost
from cutpoint.codecs.symbols import SymbolCodec, unpack_tables
from cutpoint.codecs.tensors import Array

__all__ = ["DeltaCodec", "SymbolMemory", "difference"]

_KEY, _DELTA = b"\0", b"\1"
_NAME = struct.Struct("<I")


def _name(symbols: Sequence[Array]) -> int:
    """CRC-32 of the symbols: their name."""
    crc = 0
    for tensor in symbols:
        crc = zlib.crc32(np.ascontiguousarray(tensor).data, crc)
    return crc


class SymbolMemory:
    """The symbols of the last few frames of one stream, by name. Safe from several threads.

    Args:
        frames: how many are kept; more than a client has in flight.
    """

    def __init__(self, frames: int = 8) -> None:
        self._frames = frames
        self._kept: OrderedDict[int, tuple[Array, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> tuple[int, OrderedDict[int, tuple[Array, ...]]]:
        with self._lock:
            return self._frames, self._kept.copy()

    def __setstate__(self, state: tuple[int, OrderedDict[int, tuple[Array, ...]]]) -> None:
        self._frames, self._kept = state
        self._lock = threading.Lock()

    def last(self) -> tuple[Array, ...] | None:
        """The symbols that were remembered last; None if there are none."""
        with self._lock:
            return next(reversed(self._kept.values()), None)

    def remember(self, symbols: tuple[Array, ...]) -> None:
        """Keeps `symbols`, and forgets the oldest if there are too many."""
        name = _name(symbols)
        with self._lock:
            self._kept[name] = symbols
            self._kept.move_to_end(name)
            while len(self._kept) > self._frames:
                self._kept.popitem(last=False)

    def recall(self, name: int) -> tuple[Array, ...] | None:
        """The symbols of that name; None if they are not there any more."""
        with self._lock:
            return self._kept.get(name)


#: A payload, and the earlier frames of its stream.
Frame: TypeAlias = "tuple[bytes | memoryview, SymbolMemory]"


def _opened(data: bytes | memoryview) -> tuple[int | None, memoryview]:
    """The name of the frame that a payload refers to, None if it is a key frame, and its streams."""
    view = memoryview(data)
    kind = bytes(view[:1])
    if kind == _KEY:
        return None, view[1:]
    if kind != _DELTA or len(view) < 1 + _NAME.size:
        raise BitstreamError("codec 'delta': neither a key frame nor a difference")
    return _NAME.unpack_from(view, 1)[0], view[1 + _NAME.size :]


def _signed(dtype: str) -> np.dtype[Any]:
    return np.dtype(f"int{8 * np.dtype(dtype).itemsize}")


def difference(symbols: Sequence[Array], reference: Sequence[Array]) -> tuple[Array, ...]:
    """`symbols` − `reference`, wrapped around in the width of their type: nothing is lost and nothing grows."""
    return tuple(np.subtract(a, b).view(_signed(a.dtype.name)) for a, b in zip(symbols, reference, strict=True))


class DeltaCodec(SymbolCodec):
    """A symbol codec that can refer to earlier frames.

    Its tables hold one row a level for key frames, then one row a level for differences. `encode` and `decode` know key
    frames only; `encode_frame` and `decode_frame` know streams.
    """

    codec_id: ClassVar[str] = "delta"

    def __init__(self, parts: CodecParts) -> None:
        super().__init__(parts, unpack_tables(parts.tables, 2 * len(parts.levels), len(parts.symbols)))

    @staticmethod
    def is_key(data: bytes | memoryview) -> bool:
        """Whether a payload refers to no other frame."""
        return bytes(data[:1]) == _KEY

    def encode_frame(
        self, tensors: Sequence[Array], level: int, reference: Sequence[Array] | None
    ) -> tuple[bytes, tuple[Array, ...]]:
        """The payload, and the symbols it stands for.

        Args:
            tensors: as `parts.source` describes.
            level: 0 … len(levels) - 1.
            reference: symbols that the decoder's memory holds; None for a key frame. A key frame is also what comes out
                where it is the smaller one.

        Raises:
            CodecError: as `encode`.
        """
        self.check(tensors, level)
        symbols = self.symbols(tensors, level)
        payload = _KEY + self.encode_symbols(symbols, level)
        if reference is not None and self._fits(reference):
            row = len(self.parts.levels) + level
            streams = self.encode_symbols(difference(symbols, reference), row)
            if len(streams) + _NAME.size + 1 < len(payload):
                payload = _DELTA + _NAME.pack(_name(reference)) + streams
        return payload, symbols

    def decode_frame(self, data: bytes | memoryview, level: int, memory: SymbolMemory) -> tuple[Array, ...]:
        """The tensors, as `parts.target` describes. The frame is added to the memory.

        Raises:
            ReferenceLost: if the memory does not hold the reference. The encoder sends a key frame instead.
            BitstreamError: if no encoder wrote these bytes.
        """
        self._check_level(level)
        return self.reconstruct(self.decode_frames([(data, memory)], level), level)

    def decode_frames(self, frames: Sequence[Frame], level: int) -> tuple[Array, ...]:
        """The symbols of frames, at least one, along the first dimension.

        Each is added to its memory, in their order. Raises as `decode_frame`, for one of them that is wrong; others may
        be in their memories by then.
        """
        opened = [_opened(data) for data, _ in frames]
        symbols = self._coded(opened, level)
        for place, ((_, memory), (name, _)) in enumerate(zip(frames, opened, strict=True)):
            # What is remembered shall not keep all others.
            own = symbols if len(frames) == 1 else tuple([tensor[place : place + 1].copy() for tensor in symbols])
            if name is not None:
                own = self._added(memory.recall(name), own)
                for tensor, sum_ in zip(symbols, own, strict=True):
                    tensor[place] = sum_[0]
            memory.remember(own)
        return symbols

    def _coded(self, opened: Sequence[tuple[int | None, memoryview]], level: int) -> tuple[Array, ...]:
        """What stands in the streams of frames: symbols, or differences in the type of symbols."""
        rows = [level if name is None else len(self.parts.levels) + level for name, _ in opened]
        if len(set(rows)) == 1:
            return self._row([streams for _, streams in opened], rows[0])
        coded = tuple(np.empty((len(opened), *spec.shape[1:]), spec.dtype) for spec in self.parts.symbols)
        for row in set(rows):
            places = [place for place, its in enumerate(rows) if its == row]
            for tensor, some in zip(coded, self._row([opened[place][1] for place in places], row), strict=True):
                tensor[places] = some
        return coded

    def _row(self, streams: Sequence[memoryview], row: int) -> tuple[Array, ...]:
        decoded = self.decode_symbols(streams, row)
        return tuple([tensor.view(spec.dtype) for tensor, spec in zip(decoded, self.parts.symbols, strict=True)])

    def _added(self, reference: Sequence[Array] | None, differences: Sequence[Array]) -> tuple[Array, ...]:
        """The symbols that differ so much from the reference."""
        if reference is None:
            raise ReferenceLost("codec 'delta': the frame that this one refers to is not here any more")
        if not self._fits(reference):
            raise BitstreamError("codec 'delta': the frame that this one refers to is another codec's")
        return tuple(map(np.add, differences, reference))

    def max_bytes(self) -> int:
        return super().max_bytes() + 1 + _NAME.size

    def _encode(self, tensors: Sequence[Array], level: int) -> bytes:
        return self.encode_frame(tensors, level, None)[0]

    def _decode(self, data: bytes | memoryview, level: int) -> tuple[Array, ...]:
        return self.decode_frame(data, level, SymbolMemory())

    def _fits(self, reference: Sequence[Array]) -> bool:
        specs = self.parts.symbols
        return len(reference) == len(specs) and all(s.accepts(r) for s, r in zip(specs, reference, strict=True))


register(DeltaCodec.codec_id, DeltaCodec)
