"""An entropy model as bytes; docs/bitstream.md has the layout."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt

from cutpoint.codecs._tables import DTYPES, ENTRIES, MAX_TABLES, Tables
from cutpoint.codecs.errors import TableError

__all__ = ["MAX_MAP", "dump", "load"]

MAGIC = b"CPET"
VERSION = 1
#: magic, version, type code, rate, origin, channels, positions (0: any), tables
HEADER = struct.Struct("<4sBBHiIIH")
#: Places of a table map. Bounds the memory that a small, hostile file can ask for.
MAX_MAP = 1 << 24


def dump(tables: Tables, table_map: npt.NDArray[np.uint8], rate: int) -> bytes:
    """Serialise."""
    positions = table_map.shape[1] if table_map.ndim == 2 else 0
    head = HEADER.pack(
        MAGIC,
        VERSION,
        DTYPES.index(tables.dtype),
        rate,
        tables.origin,
        table_map.shape[0],
        positions,
        len(tables.frequencies),
    )
    # Low bytes and high bytes apart, table by table: runs of zeros, which deflate takes well.
    planes = tables.frequencies.astype("<u2").view(np.uint8).reshape(-1, ENTRIES, 2).transpose(0, 2, 1)
    return head + zlib.compress(table_map.tobytes() + planes.tobytes(), 9)


def load(data: bytes) -> tuple[Tables, npt.NDArray[np.uint8], int]:
    """Parse and check.

    Returns:
        The arguments of `EntropyModel`.

    Raises:
        TableError: if anything about the bytes is wrong.
    """
    if len(data) < HEADER.size:
        raise TableError("entropy tables are cut short")
    magic, version, code, rate, origin, channels, positions, count = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise TableError("these bytes are not entropy tables")
    if version != VERSION:
        raise TableError(f"entropy tables have version {version}; this cutpoint reads version {VERSION}")
    if code >= len(DTYPES) or not 1 <= count <= MAX_TABLES:
        raise TableError("entropy tables have an unknown type, or none or too many tables")
    places = channels * max(positions, 1)
    if not 1 <= places <= MAX_MAP:
        raise TableError(f"entropy tables have a map of {places} places, not 1 to {MAX_MAP}")
    size = places + count * ENTRIES * 2
    unpacker = zlib.decompressobj()
    try:
        body = unpacker.decompress(data[HEADER.size :], size + 1)
    except zlib.error as error:
        raise TableError(f"entropy tables are damaged: {error}") from error
    if len(body) != size or not unpacker.eof or unpacker.unused_data:
        raise TableError("entropy tables are longer or shorter than they say")
    table_map = np.frombuffer(body, np.uint8, places)
    if positions:
        table_map = table_map.reshape(channels, positions)
    planes = np.frombuffer(body, np.uint8, offset=places).reshape(count, 2, ENTRIES).astype(np.uint16)
    return Tables(planes[:, 0] | planes[:, 1] << np.uint16(8), origin, DTYPES[code]), table_map, rate
