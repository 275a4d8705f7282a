"""Which table each coded symbol uses, and how many lanes share the work: all that a model and a shape determine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cutpoint.codecs._tables import PROB_BITS, Symbols, Tables

__all__ = ["MAX_LANES_LOG2", "STAGE_STEPS", "Layout", "lanes_log2", "slots_of", "stage_first", "stages"]

MAX_LANES_LOG2 = 8
#: Steps coded with each lane count below the final one.
STAGE_STEPS = 16


def stage_first(log2: int) -> int:
    """The symbols that come before the stage of ``2 ** log2`` lanes."""
    return STAGE_STEPS * ((1 << log2) - 1)


def stages(count: int, final_log2: int) -> list[tuple[int, int, int]]:
    """How ``count`` symbols are split: (first symbol, symbols, lanes) per stage, one lane first, in encoding order."""
    growing = [(stage_first(k), STAGE_STEPS << k, 1 << k) for k in range(final_log2)]
    first = stage_first(final_log2)
    return [*growing, (first, count - first, 1 << final_log2)]


def lanes_log2(count: int, rate: int) -> int:
    """The encoder's choice of lanes.

    A lane costs about 0.7 bytes. Up to eight lanes have 32 bytes each to code, further ones 256, which makes them cost
    0.3 % of the expected size; and no lane codes fewer than 32 symbols.

    Args:
        count: symbols that are not silent.
        rate: their expected cost, in 1/1024 bit per symbol.
    """
    size = count * rate >> 13
    lanes = min(1 + size // 32, 8 + size // 256, count // 32, 1 << MAX_LANES_LOG2)
    return max(lanes.bit_length() - 1, 0)


@dataclass(frozen=True)
class Layout:
    """The plan for one array shape; positions are those of the flattened array.

    Attributes:
        tables: uint8, shape (count,): the table of each position.
        active: the positions that are coded, ascending, int64; None if no position is silent.
        active_tables: uint8: the table of each active position.
        runs: uint32, shape (runs, 2): start and length of each run of active positions; None if none is silent.
        constants: symbols, shape (count,): what silent positions hold (anything elsewhere); None if none is silent.
        lanes_log2: the encoder's lanes.
    """

    tables: npt.NDArray[np.uint8]
    active: npt.NDArray[np.int64] | None
    active_tables: npt.NDArray[np.uint8]
    runs: npt.NDArray[np.uint32] | None
    constants: Symbols | None
    lanes_log2: int

    @classmethod
    def build(cls, table_of: npt.NDArray[np.uint8], tables: Tables, rate: int) -> Layout:
        """Plan for positions whose tables are ``table_of`` (uint8, shape (count,)); see `lanes_log2` for ``rate``."""
        entry = tables.constants[table_of]
        coded = entry < 0
        if coded.all():
            return cls(table_of, None, table_of, None, None, lanes_log2(len(table_of), rate))
        active = np.flatnonzero(coded)
        edges = np.flatnonzero(np.diff(coded, prepend=False, append=False)).reshape(-1, 2)
        runs = np.stack([edges[:, 0], edges[:, 1] - edges[:, 0]], axis=1).astype(np.uint32)
        constants = np.where(coded, 0, tables.origin - 1 + entry.astype(np.int64)).astype(tables.dtype)
        return cls(table_of, active, table_of[active], runs, constants, lanes_log2(len(active), rate))

    @property
    def count(self) -> int:
        """All positions."""
        return len(self.tables)


def slots_of(table_of: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Where each symbol's table begins in the flattened decoding tables."""
    return table_of.astype(np.int64) << PROB_BITS
