"""docs/bitstream.md is enough: a decoder and an encoder written from it alone, one symbol at a time, obey the vectors.

Nothing of the package is used here but its error type. This is the shortest form of the format, for whoever ports it.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import pytest
from tests.vectors import vectors

from cutpoint.codecs.errors import BitstreamError

TYPES = [(-128, 127), (0, 255), (-(2**15), 2**15 - 1), (0, 2**16 - 1), (-(2**31), 2**31 - 1)]


def need(condition: bool) -> None:
    """Refuse the stream unless ``condition``."""
    if not condition:
        raise BitstreamError("refused")


@dataclass
class Model:
    """§1."""

    type: tuple[int, int]
    rate: int
    origin: int
    frequencies: list[list[int]]
    tables: list[int]  # per position

    @classmethod
    def parse(cls, data: bytes, shape: tuple[int, int]) -> Model:
        magic, version, kind, rate, origin, channels, positions, count = struct.unpack_from("<4sBBHiIIH", data)
        assert (magic, version) == (b"CPET", 1)
        body = zlib.decompress(data[22:])
        places = channels * max(positions, 1)
        table_map = list(body[:places])
        if positions == 0:
            table_map = [t for t in table_map for _ in range(shape[1])]
        frequencies = []
        for t in range(count):
            low, high = body[places + 512 * t :][:256], body[places + 512 * t + 256 :][:256]
            frequencies.append([a + 256 * b for a, b in zip(low, high, strict=True)])
        return cls(TYPES[kind], rate, origin, frequencies, table_map)

    def constant(self, t: int) -> int | None:
        """The value of a silent table."""
        f = self.frequencies[t]
        used = [e for e in range(1, 256) if f[e]]
        return self.origin + used[0] - 1 if f[0] == 1 and len(used) == 1 else None


def stages(n: int, log2: int) -> list[tuple[int, int, int]]:
    """§3: (first symbol, symbols, lanes)."""
    out = [(16 * (2**k - 1), 16 * 2**k, 2**k) for k in range(log2)]
    return [*out, (16 * (2**log2 - 1), n - 16 * (2**log2 - 1), 2**log2)]


def varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value % 128 + 128]) + varint(value // 128)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        need(at < len(data) and shift < 35)
        value |= (data[at] & 127) << shift
        at += 1
        if data[at - 1] < 128:
            need(value < 2**32 and varint(value) == data[at - shift // 7 - 1 : at])
            return value, at
        shift += 7


def encode(model: Model, symbols: list[int]) -> bytes:
    """§2 to §6."""
    constants = [model.constant(t) for t in model.tables]
    active = [i for i, constant in enumerate(constants) if constant is None]
    dense = any(c is not None and c != s for c, s in zip(constants, symbols, strict=True))
    coded = list(range(len(symbols))) if dense else active
    n, size = len(coded), len(active) * model.rate // 8192
    if n == 0:
        return bytes([16 * dense])
    log2 = max(1, min(1 + size // 32, 8 + size // 256, len(active) // 32, 256)).bit_length() - 1
    words = [0] * (n + 2 * 256)
    p = top = n
    x: list[int] = []
    literals = b""
    for i in coded:
        e = symbols[i] - model.origin + 1
        if not 1 <= e <= 255 or model.frequencies[model.tables[i]][e] == 0:
            v = symbols[i]
            literals += varint(2 * v if v >= 0 else -2 * v - 1)
    for first, count, lanes in stages(n, log2):
        while len(x) < lanes:
            x.append(2**16 + words[p])
            p += 1
        top = max(top, p)
        for step in range(first, first + count, lanes):
            for k in reversed(range(step, min(step + lanes, first + count))):
                frequencies = model.frequencies[model.tables[coded[k]]]
                e, lane = symbols[coded[k]] - model.origin + 1, k - step
                if not 1 <= e <= 255 or frequencies[e] == 0:
                    e = 0
                f = frequencies[e]
                if x[lane] >= f * 2**19:
                    p -= 1
                    words[p] = x[lane] % 2**16
                    x[lane] //= 2**16
                x[lane] = x[lane] // f * 4096 + sum(frequencies[:e]) + x[lane] % f
    states = b"".join(s.to_bytes(3, "big") if s < 2**23 else (s + 2**31).to_bytes(4, "big") for s in x)
    head = bytes([log2 + 16 * dense + 32 * bool(literals)]) + (varint(len(literals)) if literals else b"")
    return head + states + b"".join(w.to_bytes(2, "little") for w in words[p:top]) + literals


def decode(model: Model, data: bytes) -> list[int]:
    """§2 to §5."""
    constants = [model.constant(t) for t in model.tables]
    active = [i for i, constant in enumerate(constants) if constant is None]
    need(len(data) > 0 and data[0] < 64)
    log2, dense, escapes = data[0] % 16, bool(data[0] & 16), bool(data[0] & 32)
    need(not (dense and len(active) == len(constants)))
    coded = list(range(len(constants))) if dense else active
    n = len(coded)
    out = [c if c is not None else 0 for c in constants]
    if n == 0:
        need(len(data) == 1 and data[0] in (0, 16))
        return out
    need(log2 <= 8 and n >= 16 * (2**log2 - 1))
    at, end = 1, len(data)
    if escapes:
        length, at = read_varint(data, at)
        need(0 < length <= len(data) - at)
        end -= length
    x = []
    for _ in range(2**log2):
        need(at < end)
        size = 4 if data[at] >= 128 else 3
        need(at + size <= end)
        x.append(int.from_bytes(data[at : at + size], "big") % 2**31)
        need(x[-1] >= (2**23 if size == 4 else 2**15))
        at += size
    need((end - at) % 2 == 0 and (end - at) // 2 <= n)
    # The stack with its top at the end of the list; `unread` words of the stream were never popped.
    stack = [int.from_bytes(data[k : k + 2], "little") for k in range(end - 2, at - 2, -2)]
    unread = len(stack)
    entries = [0] * n
    for first, count, lanes in reversed(stages(n, log2)):
        for step in reversed(range(first, first + count, lanes)):
            for k in range(step, min(step + lanes, first + count)):
                frequencies, lane = model.frequencies[model.tables[coded[k]]], k - step
                slot, e, start = x[lane] % 4096, 0, 0
                while slot >= start + frequencies[e]:
                    start += frequencies[e]
                    e += 1
                entries[k] = e
                x[lane] = frequencies[e] * (x[lane] // 4096) + slot - start
                if x[lane] < 2**15:
                    need(len(stack) > 0)
                    x[lane] = x[lane] * 2**16 + stack.pop()
                    unread = min(unread, len(stack))
        for lane in reversed(range(lanes // 2, lanes)):
            need(x[lane] // 2**16 == 1)
            stack.append(x[lane] % 2**16)
    need(unread == 0 and not any(stack))
    at = end
    for i, e in zip(coded, entries, strict=True):
        out[i] = model.origin + e - 1
        if e == 0:
            zigzag, at = read_varint(data, at)
            out[i] = zigzag // 2 if zigzag % 2 == 0 else -(zigzag // 2) - 1
            need(model.type[0] <= out[i] <= model.type[1])
    need(at == len(data))
    return out


@pytest.mark.parametrize("name", vectors.names())
def test_vector(name: str) -> None:
    vector = vectors.load(name)
    model = Model.parse(vector.model, vector.shape)
    if vector.symbols is None:
        with pytest.raises(BitstreamError):
            decode(model, vector.stream)
        return
    symbols = vector.symbols.ravel().tolist()
    assert encode(model, symbols) == vector.stream
    assert decode(model, vector.stream) == symbols
