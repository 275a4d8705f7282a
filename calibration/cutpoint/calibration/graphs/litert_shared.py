"""Weights of many `.tflite` heads in few files: what heads of one precision have in common lies in the bundle once.

Heads are nested, and each is made as a file of its own. The weights of the deepest are laid out in the order in which
it uses them, so that another head uses those at the beginning; as files, they are divided where a head ends. A head's
graph refers to places in that order, and is therefore the same whatever other heads there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import flatbuffers
import numpy as np

from cutpoint.calibration.graphs.weights import INLINE, SharedSpans
from cutpoint.codecs import Array
from cutpoint.sdk.runtimes.tflite import ALIGN

__all__ = ["HeadWeights", "share_heads"]


class HeadWeights:
    """The weights of the deepest head, in the order in which it uses them.

    Args:
        deepest: its file.

    Attributes:
        data: all of them, each at a multiple of `ALIGN` bytes.
    """

    def __init__(self, deepest: bytes) -> None:
        model = _read(deepest)
        self._places: dict[bytes, int] = {}
        parts: list[bytes] = []
        length = 0
        for subgraph in model.subgraphs:
            used = [subgraph.tensors[n].buffer for op in subgraph.operators for n in op.inputs if n >= 0]
            for number in used:
                data = _content(model.buffers[number])
                key = hashlib.sha256(data).digest()
                if len(data) >= INLINE and key not in self._places:
                    self._places[key] = length
                    parts.append(_padded(data))
                    length += len(parts[-1])
        self.data = b"".join(parts)

    def refer(self, head: bytes) -> tuple[bytes, int]:
        """A head without the weights that are among these.

        Args:
            head: a `.tflite` file with weights of its own.

        Returns:
            The file, and how much of `data` is to follow it.
        """
        model = _read(head)
        places: list[tuple[Any, int]] = []
        end = 0
        for buffer in model.buffers:
            data = _content(buffer)
            place = self._places.get(hashlib.sha256(data).digest())
            if place is not None:
                buffer.data, buffer.size = None, len(data)
                places.append((buffer, place))
                end = max(end, place + len(_padded(data)))
        packed = b""
        for _ in range(2):  # Its length does not depend on where the weights begin.
            for buffer, place in places:
                buffer.offset = max(len(packed), ALIGN) + place
            packed = _padded(_pack(model))
        return packed, end


def share_heads(heads: Mapping[str, bytes]) -> SharedSpans:
    """Moves the weights of `heads` into files that they share.

    Args:
        heads: span key → `.tflite` file; the deepest comes last.
    """
    weights = HeadWeights(list(heads.values())[-1])
    graphs: dict[str, bytes] = {}
    ends: dict[str, int] = {}
    for key, head in heads.items():
        graphs[key], ends[key] = weights.refer(head)
    files: dict[str, bytes] = {}
    divided: dict[int, str] = {}
    start = 0
    for key in sorted(heads, key=lambda key: (ends[key], key)):
        if (end := ends[key]) > start:
            divided[end] = f"{key}.tflite.bin"
            files[divided[end]] = weights.data[start:end]
            start = end
    uses = {key: tuple(name for end, name in divided.items() if end <= ends[key]) for key in heads}
    return SharedSpans(graphs, uses, {name: ("device", data) for name, data in files.items()})


class _Builder(flatbuffers.Builder):  # type: ignore[misc]
    """Writes equal vectors once: of int8 weights every channel has a zero point, and all of them are 0."""

    def __init__(self) -> None:
        super().__init__(1024)
        self._written: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: Array) -> int:
        key = x.dtype.str, x.tobytes()
        if key not in self._written:
            if x.dtype == np.uint8:  # Values of a constant, which the schema aligns to 16 bytes.
                self.Prep(16, x.nbytes)
            self._written[key] = super().CreateNumpyVector(x)
        return self._written[key]


def _read(file: bytes) -> Any:
    from ai_edge_litert.tools import flatbuffer_utils

    return flatbuffer_utils.read_model_from_bytearray(bytearray(file))


def _pack(model: Any) -> bytes:
    builder = _Builder()
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _content(buffer: Any) -> bytes:
    return b"" if buffer.data is None else bytes(buffer.data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % ALIGN)
