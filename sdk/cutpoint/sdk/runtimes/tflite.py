"""A `.tflite` file and the weights that it shares with others, as the one piece of memory that LiteRT reads.

In such a file a constant may have an offset and a size in place of values. Offsets count from the beginning of the file
and lead behind the structure that the file consists of otherwise; there the weights are put, file after file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flatbuffers import encode, packer
from flatbuffers.number_types import Uint64Flags, UOffsetTFlags
from flatbuffers.table import Table

from cutpoint.sdk.errors import GraphError

__all__ = ["ALIGN", "join"]

#: A graph with weights behind it, and each of their files, has a multiple of so many bytes: vector loads like that.
ALIGN = 64
#: Most operators and constants of a graph, so that one that repeats itself without end is refused at once.
_TABLES = 1 << 17

# Fields by their place in a table of the schema.
_SUBGRAPHS, _BUFFERS = 2, 4  # of the model
_OPERATORS = 3  # of a subgraph
_BUFFER_PLACE = 1, 2  # offset and size of a constant
_OPTIONS_PLACE = 9, 10  # offset and size of an operator's own options


def join(graph: bytes, weights: Mapping[str, bytes]) -> bytes:
    """The graph with its weights behind it.

    Args:
        graph: content of the graph file.
        weights: file name → content, in the order in which the bundle lists them.

    Raises:
        GraphError: if the graph cannot be read, a file is not of whole blocks, or the graph refers to what lies behind
            the last of them. LiteRT would read there: its sum of offset and size overflows.
    """
    if weights:
        for name, data in (("the graph", graph), *weights.items()):
            if len(data) % ALIGN:
                raise GraphError(f"{name} has {len(data)} bytes, no multiple of {ALIGN}: write the bundle anew")
    joined = b"".join((graph, *weights.values())) if weights else graph
    try:
        end = max((offset + size for offset, size in _places(graph)), default=0)
    except Exception as error:  # Reading at places that do not exist raises whatever it raises.
        raise GraphError(f"LiteRT refuses the graph: it cannot be read: {error}") from error
    if end > len(joined):
        there = f"{len(weights)} files of weights" if weights else "no weights"
        raise GraphError(
            f"the graph refers to bytes up to {end}, and with {there} has {len(joined)}: "
            "they are incomplete, or of another graph"
        )
    return joined


def _places(graph: bytes) -> Iterator[tuple[int, int]]:
    """Offset and size of whatever may lie behind the structure; zeros where it does not."""
    model = Table(graph, encode.Get(packer.uoffset, graph, 0))
    left = _TABLES
    owners = [(model, _BUFFERS, _BUFFER_PLACE)]
    owners += [(subgraph, _OPERATORS, _OPTIONS_PLACE) for subgraph in _tables(model, _SUBGRAPHS, left)]
    for owner, field, (offset, size) in owners:
        for table in _tables(owner, field, left):
            left -= 1
            yield _number(table, offset), _number(table, size)


def _tables(owner: Table, field: int, most: int) -> Iterator[Table]:
    """The tables of a field that is a list of them."""
    place = owner.Offset(4 + 2 * field)
    count = owner.VectorLen(place) if place else 0
    if count > most:
        raise ValueError(f"more than {_TABLES} parts")
    for number in range(count):
        start = owner.Vector(place) + number * UOffsetTFlags.bytewidth
        yield Table(owner.Bytes, owner.Indirect(start))


def _number(table: Table, field: int) -> int:
    place = table.Offset(4 + 2 * field)
    return int(table.Get(Uint64Flags, table.Pos + place)) if place else 0
