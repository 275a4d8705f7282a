"""The entropy coder in numpy: the readable form of docs/bitstream.md, and what runs where there is no compiled one.

It writes the same bytes as ``_rans.c``. Integers only. Each Python statement handles one step of all lanes, so large
payloads (many lanes) run at tens of millions of symbols per second and small ones at about one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cutpoint.codecs._layout import MAX_LANES_LOG2, Layout, slots_of, stage_first, stages
from cutpoint.codecs._tables import PROB_BITS, PROB_SUM, Symbols, Tables, entries_of
from cutpoint.codecs.errors import BitstreamError

__all__ = ["decode", "encode"]

LOW = 1 << 15
BORN = 1 << 16
FLAG_DENSE = 0x10
FLAG_ESCAPES = 0x20
RESERVED = 0xC0

States = npt.NDArray[np.int64]


def encode(symbols: Symbols, layout: Layout, tables: Tables) -> bytes:
    """Code ``symbols`` (flat, of the type of ``tables``) into bytes."""
    dense = False
    coded, table_of = symbols, layout.tables
    if layout.active is not None and layout.constants is not None:
        expected = layout.constants.copy()
        expected[layout.active] = symbols[layout.active]
        dense = not np.array_equal(expected, symbols)
        if not dense:
            coded, table_of = symbols[layout.active], layout.active_tables
    header = FLAG_DENSE if dense else 0
    if not len(coded):
        return bytes([header])
    at = (table_of.astype(np.intp) << 8) | entries_of(coded, tables.origin)
    states, words = _encode_entries(at, tables, layout.lanes_log2)
    literals = b"".join(_varint(_zigzag(int(v))) for v in coded[tables.escaped.ravel()[at]])
    length = _varint(len(literals)) if literals else b""
    header |= layout.lanes_log2 | (FLAG_ESCAPES if literals else 0)
    flushed = b"".join(_state_bytes(int(x)) for x in states)
    return bytes([header]) + length + flushed + words.astype("<u2").tobytes() + literals


def decode(data: bytes, layout: Layout, tables: Tables) -> Symbols:
    """The inverse of `encode`.

    Returns:
        Flat symbols, as many as the layout has positions.

    Raises:
        BitstreamError: for bytes that `encode` does not write for this layout.
    """
    if not data or data[0] & RESERVED:
        raise BitstreamError("no header of this version")
    header = data[0]
    dense = bool(header & FLAG_DENSE)
    if dense and layout.active is None:
        raise BitstreamError("dense, but no position is silent")
    table_of = layout.tables if dense else layout.active_tables
    log2 = header & 0x0F
    if not len(table_of):
        if len(data) != 1 or header & ~FLAG_DENSE:
            raise BitstreamError("bytes where nothing is coded")
        coded: Symbols = np.zeros(0, tables.dtype)
    else:
        if log2 > MAX_LANES_LOG2 or len(table_of) < stage_first(log2):
            raise BitstreamError("more lanes than the symbols allow")
        entries, literals = _decode_entries(data, table_of, tables, log2)
        # The values wrap on purpose where the entry is an escape and is overwritten below.
        coded = (entries.astype(np.int64) + (tables.origin - 1)).astype(tables.dtype)
        _read_literals(literals, coded, np.flatnonzero(entries == 0))
    if dense or layout.constants is None:
        return coded
    symbols = layout.constants.copy()
    symbols[layout.active] = coded
    return symbols


def _encode_entries(
    at: npt.NDArray[np.intp], tables: Tables, log2: int
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint16]]:
    """Code entries, given as ``table * 256 + entry``: the lanes' final states and the words in reading order."""
    count = len(at)
    freq = tables.effective.ravel()[at]
    start = tables.starts.ravel()[at]
    limit = freq << np.uint32(19)
    complement = np.uint32(PROB_SUM) - freq
    # A stack that grows downwards; the zeros beyond its bottom may be popped like words.
    words = np.zeros(count + (2 << log2), np.uint16)
    p = top = count
    x = np.zeros(0, np.uint32)
    for stage_start, symbols, lanes in stages(count, log2):
        born = lanes - len(x)
        x = np.concatenate([x, np.uint32(BORN) + words[p : p + born]])
        p += born
        top = max(top, p)
        sixteen = np.full(lanes, 16, np.uint32)
        for first in range(stage_start, stage_start + symbols, lanes):
            last = min(first + lanes, stage_start + symbols)
            y = x[: last - first]
            full = (y >= limit[first:last]).nonzero()[0]
            emitted = y[full]
            words[p - len(full) : p] = emitted  # the low halves
            p -= len(full)
            emitted >>= sixteen[: len(full)]
            y[full] = emitted
            y += y // freq[first:last] * complement[first:last]
            y += start[first:last]
    return x, words[p:top]


def _decode_entries(
    data: bytes, table_of: npt.NDArray[np.uint8], tables: Tables, log2: int
) -> tuple[npt.NDArray[np.uint8], bytes]:
    """The entries of all coded symbols, and the bytes of the escapes' values."""
    count = len(table_of)
    at, literal_bytes = 1, 0
    if data[0] & FLAG_ESCAPES:
        literal_bytes, at = _read_varint(data, at)
        if not 0 < literal_bytes <= len(data) - at:
            raise BitstreamError("the escapes are longer than the data")
    end = len(data) - literal_bytes
    x, at = _read_states(data, at, end, 1 << log2)
    stored, odd = divmod(end - at, 2)
    if odd or stored > count:
        raise BitstreamError("the words are not as many as can be")
    # Lanes that retire give words back: room for them below, and zeros above for reads beyond the end.
    room = 1 << log2
    words = np.zeros(room + stored + room, np.int64)
    words[room : room + stored] = np.frombuffer(data, "<u2", stored, at)
    p = top = room
    bottom = room + stored
    # 64-bit integers index without a conversion, and constants as whole arrays spare numpy a cast in every operation.
    lookup = tables.decoding.ravel().astype(np.int64)
    base = slots_of(table_of)
    found = np.empty(count, np.int64)
    width = 0
    for stage_start, symbols, lanes in reversed(stages(count, log2)):
        for first in range(stage_start + (symbols - 1) // lanes * lanes, stage_start - 1, -lanes):
            last = min(first + lanes, stage_start + symbols)
            if last - first != width:
                width = last - first
                low, mask, bits, eight, sixteen, twenty = (
                    np.full(width, value) for value in (LOW, PROB_SUM - 1, PROB_BITS, 8, 16, 20)
                )
            y = x[:width]
            slot = y & mask
            slot |= base[first:last]
            entry = lookup.take(slot, out=found[first:last], mode="wrap")
            y >>= bits
            y *= entry >> twenty
            bias = entry >> eight
            bias &= mask
            y += bias
            needy = (y < low).nonzero()[0]
            filled = y[needy]
            filled <<= sixteen[: len(needy)]
            filled |= words[p : p + len(needy)]
            y[needy] = filled
            p += len(needy)
            if p > bottom:
                raise BitstreamError("the words end early")
        top = max(top, p)
        retiring = x[lanes // 2 : lanes]
        if (retiring >> 16 != 1).any():
            raise BitstreamError("a lane does not end as it began")
        words[p - len(retiring) : p] = retiring & 0xFFFF
        p -= len(retiring)
        x = x[: lanes // 2]
    if top != bottom or words[p:bottom].any():
        raise BitstreamError("words are left over")
    return found.astype(np.uint8), data[end:]


def _state_bytes(x: int) -> bytes:
    """A state in three bytes below 2^23, else in four with the top bit set."""
    return x.to_bytes(3, "big") if x < 1 << 23 else (x | 1 << 31).to_bytes(4, "big")


def _read_states(data: bytes, at: int, end: int, lanes: int) -> tuple[States, int]:
    states = np.empty(lanes, np.int64)
    for lane in range(lanes):
        size = 4 if at < end and data[at] & 0x80 else 3
        if at + size > end:
            raise BitstreamError("the states end early")
        x = int.from_bytes(data[at : at + size], "big") & 0x7FFFFFFF
        if x < (1 << 23 if size == 4 else LOW):
            raise BitstreamError("a state is too small")
        states[lane] = x
        at += size
    return states, at


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else ~(value << 1)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """At most 32 bits in the fewest bytes: the value and the position after it."""
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(data):
            raise BitstreamError("a number ends early")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 32 or (byte == 0 and shift):
                raise BitstreamError("a number is not in its shortest form")
            return value, at
    raise BitstreamError("a number is too long")


def _read_literals(literals: bytes, symbols: Symbols, where: npt.NDArray[np.intp]) -> None:
    """Put the escapes' values at the positions ``where``, in order."""
    limits = np.iinfo(symbols.dtype)
    at = 0
    for position in where:
        zigzag, at = _read_varint(literals, at)
        value = zigzag >> 1 if not zigzag & 1 else ~(zigzag >> 1)
        if not limits.min <= value <= limits.max:
            raise BitstreamError("an escape's value is beyond the symbols' type")
        symbols[position] = value
    if at != len(literals):
        raise BitstreamError("escapes are left over")
