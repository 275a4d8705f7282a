"""`EntropyModel`: static integer frequency tables, and symbols to bytes and back with them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from cutpoint.codecs import _fit, _rans_numpy, _serial
from cutpoint.codecs._layout import Layout
from cutpoint.codecs._native import NativeCoder, Plan, native
from cutpoint.codecs._tables import DTYPES, MAX_TABLES, PROB_SUM, Symbols, SymbolType, Tables
from cutpoint.codecs.errors import CoderUnavailable, SymbolError, TableError

__all__ = ["Coder", "EntropyModel"]

Coder = Literal["auto", "native", "numpy"]

#: More positions than any boundary has; keeps every size in the coder far from 32 bits.
MAX_SYMBOLS = 1 << 28
#: Layouts kept per model. A codec sees one shape, or a few where pictures differ in size.
_LAYOUTS_KEPT = 8


class EntropyModel:
    """Codes integer arrays of shape (channels, positions) with tables chosen by position.

    Instances are immutable in effect and may be shared by threads. `fit` makes one from data, `from_bytes` from a file.

    Args:
        tables: the frequency tables.
        table_map: uint8, the table of each channel, shape (channels,), or of each position, (channels, positions).
        rate: the mean cost of a symbol that is not silent, in 1/1024 bit; steers how many lanes `encode` uses.

    Raises:
        TableError: if the map names a table that is not there, or is of another shape.
    """

    def __init__(self, tables: Tables, table_map: npt.NDArray[np.uint8], rate: int) -> None:
        if table_map.ndim not in (1, 2) or table_map.dtype != np.uint8:
            raise TableError("the table map is uint8 with shape (channels,) or (channels, positions)")
        if table_map.size == 0 or table_map.size > _serial.MAX_MAP:
            raise TableError(f"the table map has {table_map.size} places, not 1 to {_serial.MAX_MAP}")
        if int(table_map.max()) >= len(tables.frequencies):
            raise TableError("the table map names a table that is not there")
        if not 0 <= rate < 1 << 16:
            raise TableError(f"rate {rate} is not within 16 bits")
        self._tables = tables
        self._map = table_map
        self._rate = rate
        self._plans: OrderedDict[int, Plan] = OrderedDict()

    @classmethod
    def fit(
        cls,
        symbols: Symbols,
        *,
        index: npt.ArrayLike | None = None,
        tolerance: float = 0.001,
        max_tables: int = 64,
    ) -> EntropyModel:
        """Fit tables to data.

        Args:
            symbols: int8, uint8, int16, uint16 or int32; shape (channels, positions) or (samples, channels, positions).
            index: the context of each channel, shape (channels,), or of each position, (channels, positions): integers
                from 0 on. Symbols of one context are taken to be distributed alike. Default: a context per channel.
            tolerance: how much contexts may lose, all together, by sharing tables; a fraction of the size.
            max_tables: at most so many tables, 1 to 256. Each takes 16 KiB while decoding.

        Raises:
            SymbolError: if symbols or index have another shape or type.
            TableError: if there are no symbols.
        """
        symbols = np.asarray(symbols)
        if symbols.dtype not in DTYPES or symbols.ndim not in (2, 3):
            raise SymbolError(f"symbols to fit are {symbols.dtype}{list(symbols.shape)}; see EntropyModel.fit")
        if not 1 <= max_tables <= MAX_TABLES:
            raise TableError(f"max_tables is {max_tables}, not 1 to {MAX_TABLES}")
        samples = symbols if symbols.ndim == 3 else symbols[None]
        channels, positions = samples.shape[1:]
        if samples.size == 0:
            raise TableError("there are no symbols to fit tables to")
        given = np.arange(channels) if index is None else np.asarray(index)
        if given.shape not in ((channels,), (channels, positions)):
            raise SymbolError(f"index has shape {given.shape}, not ({channels},) or ({channels}, {positions})")
        if not np.issubdtype(given.dtype, np.integer) or given.min() < 0:
            raise SymbolError("index holds integers from 0 on")
        _names, contexts = np.unique(given, return_inverse=True)
        contexts = contexts.reshape(given.shape).astype(np.int64)
        flat = (contexts if given.ndim == 2 else np.repeat(contexts, positions)).ravel()
        origin = _fit.best_origin(samples)
        counts = _fit.count_entries(samples.reshape(len(samples), -1), flat, origin)
        pooled, table = _fit.cluster(counts, tolerance, max_tables)
        tables = Tables(np.stack([_fit.quantise(row) for row in pooled]), origin, symbols.dtype)
        return cls(tables, table[contexts].astype(np.uint8), _rate(pooled, tables))

    @property
    def dtype(self) -> SymbolType:
        """The type of the symbols."""
        return self._tables.dtype

    @property
    def channels(self) -> int:
        """The first dimension of the symbols."""
        return int(self._map.shape[0])

    @property
    def positions(self) -> int | None:
        """The second dimension of the symbols; None if the model takes any."""
        return int(self._map.shape[1]) if self._map.ndim == 2 else None

    @property
    def table_map(self) -> npt.NDArray[np.uint8]:
        """The table of each channel, shape (channels,), or of each position, (channels, positions). A copy."""
        return self._map.copy()

    @property
    def tables(self) -> int:
        """How many tables there are."""
        return len(self._tables.frequencies)

    def encode(self, symbols: Symbols, *, coder: Coder = "auto") -> bytes:
        """Code symbols of shape (channels, positions), as docs/bitstream.md says; every coder writes the same bytes.

        Raises:
            SymbolError: if the shape or type is not the model's.
            CoderUnavailable: if ``coder`` is "native" and the compiled coder is not there.
        """
        if symbols.dtype != self.dtype:
            raise SymbolError(f"symbols are {symbols.dtype}, the model is for {self.dtype}")
        plan = self._plan(symbols.shape)
        flat = np.require(symbols, requirements=["C", "ALIGNED"]).reshape(-1)
        library = _library(coder)
        if library is None:
            return _rans_numpy.encode(flat, plan.layout, plan.tables)
        return library.encode(flat, plan)

    def decode(self, data: bytes | memoryview, shape: tuple[int, ...], *, coder: Coder = "auto") -> Symbols:
        """The symbols in ``data``, which `encode` made from an array of this shape.

        Raises:
            BitstreamError: for any bytes that `encode` does not write for this model and shape. Damage that happens to
                yield another valid stream is not noticed; the protocol has a checksum for that.
            SymbolError: if the shape is not one of the model.
            CoderUnavailable: if ``coder`` is "native" and the compiled coder is not there.
        """
        symbols: Symbols = self.decode_all([data], shape, coder=coder)[0]
        return symbols

    def decode_all(
        self, streams: Sequence[bytes | memoryview], shape: tuple[int, ...], *, coder: Coder = "auto"
    ) -> Symbols:
        """The symbols in each of ``streams``, at least one, along a new first dimension; all are of this shape.

        Raises as `decode`, for the first of them that is wrong.
        """
        plan = self._plan(shape)
        library = _library(coder)
        if library is None:
            decoded = [_rans_numpy.decode(bytes(data), plan.layout, plan.tables) for data in streams]
            return np.stack(decoded).reshape(len(streams), *shape)
        return library.decode(streams, plan).reshape(len(streams), *shape)

    def to_bytes(self) -> bytes:
        """The model as a file, about a hundred bytes per table; layout in docs/bitstream.md."""
        return _serial.dump(self._tables, self._map, self._rate)

    @classmethod
    def from_bytes(cls, data: bytes) -> EntropyModel:
        """The inverse of `to_bytes`.

        Raises:
            TableError: for bytes that `to_bytes` does not write.
        """
        return cls(*_serial.load(data))

    def _plan(self, shape: tuple[int, ...]) -> Plan:
        if len(shape) != 2 or shape[0] != self.channels or shape[1] < 0 or self.positions not in (None, shape[1]):
            wanted = "any number of positions" if self.positions is None else f"{self.positions} positions"
            raise SymbolError(f"symbols have shape {shape}, the model is for {self.channels} channels, {wanted}")
        positions = int(shape[1])
        plan = self._plans.get(positions)
        if plan is None:
            if positions * self.channels > MAX_SYMBOLS:
                raise SymbolError(f"{shape} is more than {MAX_SYMBOLS} symbols")
            table_of = self._map.ravel() if self._map.ndim == 2 else np.repeat(self._map, positions)
            plan = Plan(Layout.build(np.ascontiguousarray(table_of), self._tables, self._rate), self._tables)
            self._plans[positions] = plan
            while len(self._plans) > _LAYOUTS_KEPT:
                self._plans.popitem(last=False)
        return plan


def _library(coder: Coder) -> NativeCoder | None:
    """The compiled coder, or None to use numpy."""
    if coder == "numpy":
        return None
    library = native()
    if library is None and coder == "native":
        raise CoderUnavailable(
            "the compiled entropy coder is not installed: install cutpoint where there is a C compiler"
        )
    return library


def _rate(pooled: npt.NDArray[np.int64], tables: Tables) -> int:
    """The mean cost of a symbol that is not silent, literals of escapes apart, in 1/1024 bit."""
    coded = tables.constants < 0
    counts, frequencies = pooled[coded], tables.effective[coded]
    bits = -(counts * np.log2(frequencies / PROB_SUM)).sum()
    return min(round(1024 * float(bits) / max(int(counts.sum()), 1)), (1 << 16) - 1)
