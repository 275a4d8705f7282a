"""Frequency tables as shipped, and as the coders look things up in them.

A table gives each of 256 *entries* a frequency; all frequencies of a table sum to 4096. Entry 0 is the escape, entry e
from 1 to 255 stands for the value ``origin + e - 1``. docs/bitstream.md has the reasons.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from cutpoint.codecs.errors import TableError

__all__ = [
    "DTYPES",
    "ENTRIES",
    "MAX_TABLES",
    "PROB_BITS",
    "PROB_SUM",
    "SymbolType",
    "Symbols",
    "Tables",
    "entries_of",
]

Symbols = npt.NDArray[np.integer[Any]]
SymbolType = np.dtype[np.integer[Any]]

PROB_BITS = 12
PROB_SUM = 1 << PROB_BITS
ENTRIES = 256
MAX_TABLES = 256

#: The types symbols may have, in the order of their codes in the serialised model.
DTYPES: tuple[SymbolType, ...] = tuple(np.dtype(name) for name in ("int8", "uint8", "int16", "uint16", "int32"))


def entries_of(symbols: Symbols, origin: int) -> npt.NDArray[np.uint8]:
    """The table entry of each symbol, same shape: 0 for whatever is not among the 255 values from ``origin`` on."""
    # Modulo 2^32, where no two values of a type meet: 1 to 255 for those values, 0 or at least 256 for the others.
    offsets = symbols.astype(np.uint32) - np.uint32((origin - 1) % (1 << 32))
    return offsets.astype(np.uint8) * (offsets < ENTRIES)


@dataclass(frozen=True)
class Tables:
    """The tables of one model.

    Attributes:
        frequencies: uint16, shape (tables, 256), each row summing to 4096.
        origin: the value that entry 1 stands for.
        dtype: the type of the symbols, one of `DTYPES`.

    Raises:
        TableError: if the tables break a rule of the format.
    """

    frequencies: npt.NDArray[np.uint16]
    origin: int
    dtype: SymbolType

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise TableError(f"symbols cannot be {self.dtype}; they are one of {', '.join(map(str, DTYPES))}")
        f = self.frequencies
        if f.ndim != 2 or f.shape[1] != ENTRIES or not 1 <= f.shape[0] <= MAX_TABLES:
            raise TableError(f"frequencies have the shape {f.shape}, not (1 to {MAX_TABLES}, {ENTRIES})")
        if (f.sum(axis=1, dtype=np.int64) != PROB_SUM).any():
            raise TableError(f"a table's frequencies do not sum to {PROB_SUM}")
        if (f[:, 0] == 0).any():
            raise TableError("a table has no escape")
        if (f[:, 0] == PROB_SUM).any():
            raise TableError("a table has no value")
        limits = np.iinfo(self.dtype)
        if not limits.min <= self.origin <= limits.max:
            raise TableError(f"origin {self.origin} is not of type {self.dtype}")
        if f[:, max(limits.max - self.origin + 2, 0) :].any():
            raise TableError(f"a table gives a frequency to a value beyond {self.dtype}")

    @cached_property
    def constants(self) -> npt.NDArray[np.int16]:
        """Shape (tables,): the only entry of a *silent* table, whose positions need no coding; -1 for the others."""
        values = self.frequencies[:, 1:]
        silent = (self.frequencies[:, 0] == 1) & ((values > 0).sum(axis=1) == 1)
        return np.where(silent, values.argmax(axis=1) + 1, -1).astype(np.int16)

    @cached_property
    def starts(self) -> npt.NDArray[np.uint32]:
        """Shape (tables, 256): where each entry's slots start; an entry without slots shares those of the escape."""
        wide = self.frequencies.astype(np.uint32)
        starts = np.cumsum(wide, axis=1, dtype=np.uint32) - wide
        return np.where(wide == 0, np.uint32(0), starts)

    @cached_property
    def effective(self) -> npt.NDArray[np.uint32]:
        """Shape (tables, 256): frequencies, an entry without any having the escape's."""
        wide = self.frequencies.astype(np.uint32)
        return np.where(wide == 0, wide[:, :1], wide)

    @cached_property
    def escaped(self) -> npt.NDArray[np.bool_]:
        """Shape (tables, 256): whether an entry is coded as an escape."""
        flags: npt.NDArray[np.bool_] = self.frequencies == 0
        flags[:, 0] = True
        return flags

    @cached_property
    def encoding(self) -> npt.NDArray[np.uint32]:
        """Shape (tables, 256, 2): what the encoders need of an entry, without a division.

        ``[..., 0]`` is a reciprocal r and ``[..., 1]`` is ``freq | bias << 12 | shift << 25 | escaped << 31``, so that
        ``x + (x * r >> 32 >> shift) * (4096 - freq) + bias`` is the next state, for every x < freq << 19. With
        s = ceil(log2 freq) - 1 and r = floor(2^(32 + s) / freq) + 1 the error term x * (r * freq - 2^(32 + s)) stays
        below 2^(32 + s), hence the quotient is exact (Granlund & Montgomery, PLDI 1994). For freq = 1 the reciprocal
        2^32 - 1 gives x - 1, and the bias makes up for it.
        """
        freq = self.effective.astype(np.uint64)
        shift = np.zeros(freq.shape, np.uint64)
        for bit in range(1, PROB_BITS):
            shift += freq > (1 << bit)
        one = freq == 1
        reciprocal = np.where(
            one, np.uint64(0xFFFFFFFF), (np.uint64(1) << (np.uint64(32) + shift)) // freq + np.uint64(1)
        )
        bias = self.starts + np.where(one, PROB_SUM - 1, 0).astype(np.uint64)
        rest = freq | bias << np.uint64(12) | shift << np.uint64(25) | self.escaped.astype(np.uint64) << np.uint64(31)
        return np.ascontiguousarray(np.stack([reciprocal, rest], axis=-1).astype(np.uint32))

    @cached_property
    def decoding(self) -> npt.NDArray[np.uint32]:
        """Shape (tables, 4096): for each slot ``entry | (slot - start) << 8 | freq << 20``. 16 KiB to a table."""
        wide = self.frequencies.astype(np.uint32)
        entry = np.arange(ENTRIES, dtype=np.uint32)
        packed = (wide << np.uint32(20)) + entry - (self.starts << np.uint32(8))
        slots = np.arange(PROB_SUM, dtype=np.uint32) << np.uint32(8)
        spread = np.repeat(packed.ravel(), wide.ravel()).reshape(len(wide), PROB_SUM)
        return np.ascontiguousarray(spread + slots)
