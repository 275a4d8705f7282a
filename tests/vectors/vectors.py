"""Read and write the golden vectors; docs/bitstream.md §8 has their layout."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cutpoint.codecs.entropy import EntropyModel

FOLDER = Path(__file__).parent
MAGIC = b"CPTV"


@dataclass(frozen=True)
class Vector:
    """One vector.

    Attributes:
        model: a serialised model.
        shape: (channels, positions).
        symbols: what the stream decodes to; None if a decoder must refuse it.
        stream: the bitstream.
    """

    model: bytes
    shape: tuple[int, int]
    symbols: npt.NDArray[np.integer[Any]] | None
    stream: bytes

    def to_bytes(self) -> bytes:
        """The content of a vector file."""
        symbols = b"" if self.symbols is None else self.symbols.astype(self.symbols.dtype.newbyteorder("<")).tobytes()
        head = MAGIC + bytes([self.symbols is None]) + struct.pack("<I", len(self.model)) + self.model
        return head + struct.pack("<II", *self.shape) + symbols + struct.pack("<I", len(self.stream)) + self.stream

    @classmethod
    def from_bytes(cls, data: bytes) -> Vector:
        """The inverse of `to_bytes`."""
        assert data[:4] == MAGIC
        refused = bool(data[4])
        (length,) = struct.unpack_from("<I", data, 5)
        at = 9 + length
        model = data[9:at]
        channels, positions = struct.unpack_from("<II", data, at)
        at += 8
        symbols = None
        if not refused:
            dtype = EntropyModel.from_bytes(model).dtype
            symbols = np.frombuffer(data, dtype.newbyteorder("<"), channels * positions, at).astype(dtype)
            symbols = symbols.reshape(channels, positions)
            at += symbols.nbytes
        (length,) = struct.unpack_from("<I", data, at)
        assert len(data) == at + 4 + length
        return cls(model, (channels, positions), symbols, data[at + 4 :])


def names() -> list[str]:
    """The names of all vectors, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.vec"))


def load(name: str) -> Vector:
    """The vector ``name``."""
    return Vector.from_bytes((FOLDER / f"{name}.vec").read_bytes())
