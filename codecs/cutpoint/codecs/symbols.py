"""Codecs whose graph ends in symbols: a transform in a graph file, then the entropy coder.

`affine`, `klt`, `bottleneck` and `slimmable` are one class at run time. What tells them apart was decided in
calibration and lies in their graph files and tables, so a client that can run graphs and the entropy coder has every
one of them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from cutpoint.codecs.codec import Codec, CodecParts, register
from cutpoint.codecs.entropy import EntropyModel
from cutpoint.codecs.errors import BitstreamError, CodecError
from cutpoint.codecs.tensors import Array, TensorSpec, check_tensors

__all__ = ["SYMBOL_CODECS", "SymbolCodec", "pack_tables", "unpack_tables"]

#: Codec ids that run as `SymbolCodec`.
SYMBOL_CODECS = ("affine", "klt", "bottleneck", "slimmable")

_COUNTS = struct.Struct("<BB")
_LENGTH = struct.Struct("<I")


def pack_tables(models: Sequence[Sequence[EntropyModel]]) -> bytes:
    """The tables file of a codec: `models[level][symbol tensor]`. Byte layout in docs/bitstream.md."""
    tensors = len(models[0])
    parts = [_COUNTS.pack(len(models), tensors)]
    for row in models:
        if len(row) != tensors:
            raise CodecError("every level needs one entropy model per symbol tensor")
        for model in row:
            blob = model.to_bytes()
            parts += [_LENGTH.pack(len(blob)), blob]
    return b"".join(parts)


def unpack_tables(data: bytes, levels: int, tensors: int) -> tuple[tuple[EntropyModel, ...], ...]:
    """The inverse of `pack_tables`.

    Raises:
        CodecError: if the file is damaged or made for another number of levels or tensors.
    """
    try:
        if _COUNTS.unpack_from(data) != (levels, tensors):
            raise CodecError(f"entropy tables are not for {levels} levels of {tensors} tensors")
        offset = _COUNTS.size
        models = []
        for _ in range(levels * tensors):
            (length,) = _LENGTH.unpack_from(data, offset)
            offset += _LENGTH.size
            models.append(EntropyModel.from_bytes(data[offset : offset + length]))
            offset += length
    except struct.error as error:
        raise CodecError(f"entropy tables are cut short: {error}") from error
    if offset != len(data):
        raise CodecError("entropy tables have bytes too many")
    return tuple(tuple(models[i * tensors : (i + 1) * tensors]) for i in range(levels))


def _rows(spec: TensorSpec) -> tuple[int, int]:
    """A symbol tensor (1, channels, …) as the entropy coder sees it: (channels, positions)."""
    channels = spec.shape[1] if len(spec.shape) > 1 else 1
    return channels, spec.size // channels


class SymbolCodec(Codec):
    """Encoder graph → symbols → entropy coder; entropy decoder → symbols → decoder graph.

    Payload: the streams of the symbol tensors one after the other, each but the last behind its length (u32, little
    endian). A symbol tensor has shape (1, channels, …); the entropy model of a level sees it as (channels, positions).
    """

    def __init__(self, parts: CodecParts, models: Sequence[Sequence[EntropyModel]] | None = None) -> None:
        super().__init__(parts)
        if not parts.symbols:
            raise CodecError("a symbol codec needs at least one symbol tensor")
        self._models = models or unpack_tables(parts.tables, len(parts.levels), len(parts.symbols))
        for row in self._models[: len(parts.levels)]:
            if any(model.dtype != spec.dtype for model, spec in zip(row, parts.symbols, strict=True)):
                raise CodecError("the entropy tables are for symbols of another type")

    def for_rows(self, axis: int, count: int) -> SymbolCodec:
        """As `Codec.for_rows`; the graphs must take any number of rows, and the tables have one context a channel."""
        if not self.by_rows:
            super().for_rows(axis, count)
        if any(model.positions is not None for row in self._models for model in row):
            raise CodecError(f"codec {self.codec_id!r}: its tables depend on the position, so it cannot code slices")
        return type(self)(self.parts.with_rows(axis, count), self._models)

    def symbols(self, tensors: Sequence[Array], level: int) -> tuple[Array, ...]:
        """The symbols that `encode` would code, as `parts.symbols` describes."""
        if self.parts.analysis is None:
            raise CodecError("this machine has no encoder graph of the codec: it can only decode")
        symbols = self.parts.analysis(tensors, level)
        check_tensors(self.parts.symbols, symbols, "encoder graph")
        return symbols

    def encode_symbols(self, symbols: Sequence[Array], row: int) -> bytes:
        """The streams of `symbols`, coded with row `row` of the tables."""
        streams = [
            model.encode(values.reshape(_rows(spec)))
            for spec, model, values in zip(self.parts.symbols, self._models[row], symbols, strict=True)
        ]
        head = b"".join(_LENGTH.pack(len(stream)) + stream for stream in streams[:-1])
        return head + streams[-1]

    def decode_symbols(self, payloads: Sequence[bytes | memoryview], row: int) -> tuple[Array, ...]:
        """The symbols in each of `payloads`, at least one, along the first dimension.

        They were coded with row `row` of the tables, and come in the type of that row's models.

        Raises:
            BitstreamError: for the first payload that no encoder wrote.
        """
        streams = zip(*map(self._streams, payloads), strict=True)
        return tuple(
            model.decode_all(its, _rows(spec)).reshape(len(payloads), *spec.shape[1:])
            for spec, model, its in zip(self.parts.symbols, self._models[row], streams, strict=True)
        )

    def _streams(self, data: bytes | memoryview) -> list[memoryview]:
        """The streams of a payload."""
        view, streams = memoryview(data), []
        for i in range(len(self.parts.symbols) - 1):
            if len(view) < _LENGTH.size:
                raise BitstreamError(f"payload ends before symbol tensor {i}")
            (length,) = _LENGTH.unpack_from(view)
            view = view[_LENGTH.size :]
            if length > len(view):
                raise BitstreamError(f"symbol tensor {i}: {length} bytes announced, {len(view)} there")
            streams.append(view[:length])
            view = view[length:]
        return [*streams, view]

    def reconstruct(self, symbols: Sequence[Array], level: int) -> tuple[Array, ...]:
        """The tensors that `symbols` stand for: the decoder graph. Several samples at once where `parts.batches`."""
        if self.parts.synthesis is None:
            raise CodecError("this machine has no decoder graph of the codec: it can only encode")
        return self.parts.synthesis(symbols, level)

    def _encode(self, tensors: Sequence[Array], level: int) -> bytes:
        return self.encode_symbols(self.symbols(tensors, level), level)

    def _decode(self, data: bytes | memoryview, level: int) -> tuple[Array, ...]:
        return self.reconstruct(self.decode_symbols([data], level), level)


def _variant(codec_id: str) -> type[SymbolCodec]:
    members = {"codec_id": codec_id, "by_rows": codec_id == "affine", "__doc__": SymbolCodec.__doc__}
    return type(f"{codec_id.title()}Codec", (SymbolCodec,), members)


for _codec_id in SYMBOL_CODECS:
    register(_codec_id, _variant(_codec_id))
