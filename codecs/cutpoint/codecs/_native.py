"""The compiled coder ``_rans.c``, through ctypes.

The library sits beside this file if the install found a C compiler (``hatch_build.py``). ctypes releases the GIL while
the coder runs, and the library keeps no state between calls, so threads code in parallel.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cutpoint.codecs._layout import Layout
from cutpoint.codecs._tables import DTYPES, Symbols, Tables
from cutpoint.codecs.errors import BitstreamError, CoderUnavailable

__all__ = ["LIBRARY", "PATHS", "NativeCoder", "Plan", "load", "native"]

LIBRARY = Path(__file__).with_name("_rans.so")

#: The code paths a library may hold, with their numbers there. "auto" takes the fastest this machine runs.
PATHS = {"auto": 0, "portable": 1, "avx2": 2, "avx512": 3, "neon": 4}

_ERROR_STREAM, _ERROR_MEMORY = -1, -2

#: Symbols that are decoded with the GIL kept: to get it back from a busy thread takes longer than so many do.
_BRIEF = 1 << 15


class _CLayout(ctypes.Structure):
    """``cp_layout`` of _rans.c."""

    _fields_ = (
        ("encoding", ctypes.c_void_p),
        ("decoding", ctypes.c_void_p),
        ("tables", ctypes.c_void_p),
        ("active_tables", ctypes.c_void_p),
        ("runs", ctypes.c_void_p),
        ("constants", ctypes.c_void_p),
        ("count", ctypes.c_uint64),
        ("active_count", ctypes.c_uint64),
        ("run_count", ctypes.c_uint64),
        ("origin", ctypes.c_int32),
        ("kind", ctypes.c_uint32),
        ("lanes_log2", ctypes.c_uint32),
    )


_Lookup = npt.NDArray[np.uint32] | None


def _address(array: npt.NDArray[Any] | None) -> int | None:
    return None if array is None else array.ctypes.data


@dataclass(frozen=True, slots=True)
class _Call:
    """A structure for the library, and what must live as long as its pointers are used."""

    structure: _CLayout
    kept: tuple[object, ...]

    @property
    def address(self) -> int:
        return ctypes.addressof(self.structure)


class Plan:
    """A layout and its tables as the library wants them.

    What encoding and decoding need is made when first used: the device only encodes, and tables for decoding are large.
    Two threads may make it twice; each goes on with a whole `_Call`.
    """

    def __init__(self, layout: Layout, tables: Tables) -> None:
        self.layout = layout
        self.tables = tables
        self._encoding: _Call | None = None
        self._decoding: _Call | None = None

    def encoding(self) -> _Call:
        """For ``cp_rans_encode``."""
        call = self._encoding
        if call is None:
            call = self._encoding = self._call(self.tables.encoding, None)
        return call

    def decoding(self) -> _Call:
        """For ``cp_rans_decode``."""
        call = self._decoding
        if call is None:
            call = self._decoding = self._call(None, self.tables.decoding)
        return call

    def _call(self, encoding: _Lookup, decoding: _Lookup) -> _Call:
        layout = self.layout
        structure = _CLayout(
            _address(encoding),
            _address(decoding),
            _address(layout.tables),
            _address(layout.active_tables),
            _address(layout.runs),
            _address(layout.constants),
            layout.count,
            len(layout.active_tables),
            0 if layout.runs is None else len(layout.runs),
            self.tables.origin,
            DTYPES.index(self.tables.dtype),
            layout.lanes_log2,
        )
        return _Call(structure, (layout, encoding, decoding))


class NativeCoder:
    """One loaded library.

    Args:
        library: the shared library's path.

    Raises:
        CoderUnavailable: if it cannot be loaded.
    """

    def __init__(self, library: Path) -> None:
        try:
            handle = ctypes.CDLL(str(library))
            self._encode, self._bound = handle.cp_rans_encode, handle.cp_rans_bound
            self._decode = handle.cp_rans_decode_all
            pointer = ctypes.c_void_p
            self._encode.argtypes = [pointer, pointer, pointer, ctypes.c_uint64, ctypes.c_int]
            self._decode.argtypes = [pointer, ctypes.c_char_p, pointer, ctypes.c_uint64, pointer, ctypes.c_int]
            self._bound.argtypes = [ctypes.c_void_p]
            self._encode.restype = self._decode.restype = ctypes.c_int64
            self._bound.restype = ctypes.c_uint64
            #: The same function, called without releasing the GIL.
            self._decode_brief = ctypes.PyDLL(str(library)).cp_rans_decode_all
            self._decode_brief.argtypes, self._decode_brief.restype = self._decode.argtypes, self._decode.restype
            handle.cp_rans_paths.restype = ctypes.c_uint32
            supported = int(handle.cp_rans_paths())
        except (OSError, AttributeError) as error:
            raise CoderUnavailable(f"the compiled entropy coder does not load: {error}") from error
        #: The names of the code paths that this machine runs, slowest first.
        self.paths = tuple(name for name, number in PATHS.items() if supported >> number & 1)
        self._fastest = PATHS[self.paths[-1]]

    def _path(self, name: str) -> int:
        if name == "auto":
            return self._fastest
        if name not in self.paths:
            raise CoderUnavailable(f"the code path {name!r} is not one of {', '.join(self.paths)}")
        return PATHS[name]

    def encode(self, symbols: Symbols, plan: Plan, path: str = "auto") -> bytes:
        """Code flat, contiguous ``symbols`` of the plan's type and count."""
        number = self._path(path)
        call = plan.encoding()
        out = np.empty(self._bound(call.address), np.uint8)
        size = self._encode(call.address, symbols.ctypes.data, out.ctypes.data, len(out), number)
        if size < 0:
            raise _failure(size)
        return out[:size].tobytes()

    def decode(self, streams: Sequence[bytes | memoryview], plan: Plan, path: str = "auto") -> Symbols:
        """The symbols in each of ``streams``: shape (streams, symbols).

        Raises:
            BitstreamError: for bytes that `encode` does not write for this plan.
        """
        number, count = self._path(path), len(streams)
        symbols: Symbols = np.empty((count, plan.layout.count), plan.tables.dtype)
        call = plan.decoding()
        decode = self._decode_brief if symbols.size <= _BRIEF else self._decode
        sizes = (ctypes.c_uint64 * count)(*map(len, streams))
        result = decode(call.address, b"".join(streams), sizes, count, symbols.ctypes.data, number)
        if result < 0:
            raise _failure(result)
        return symbols


def _failure(code: int) -> Exception:
    if code == _ERROR_STREAM:
        return BitstreamError("these bytes were not written for this model and shape")
    if code == _ERROR_MEMORY:
        return MemoryError("no memory for the entropy coder")
    return RuntimeError(f"the compiled entropy coder refused its arguments ({code})")


@cache
def load(library: Path) -> NativeCoder | None:
    """The coder in ``library``, or None if there is none."""
    try:
        return NativeCoder(library)
    except CoderUnavailable:
        return None


def native() -> NativeCoder | None:
    """The coder that was compiled at install time, or None."""
    return load(LIBRARY)
