"""The files of a bundle, and graphs that lie in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

__all__ = ["FileEntry", "GraphFile", "Part"]

#: Which machine needs a file: the device, the server, both, or neither (the report).
Part = Literal["device", "server", "both", "report"]


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One file of the bundle.

    Attributes:
        path: relative, forward slashes, no dot at the start of a component.
        size: bytes.
        sha256: lower-case hex.
        part: which machine needs it.
    """

    path: str
    size: int
    sha256: str
    part: Part


class GraphFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A graph in the format of one runtime.

    Attributes:
        format: ``onnx`` or ``tflite``.
        file: path in the bundle.
        weights: files that spans share; same folder as `file`. ``onnx``: external data, which the graph names.
            ``tflite``: what follows the graph in memory, in this order.
    """

    format: Literal["onnx", "tflite"]
    file: str
    weights: tuple[str, ...] = ()

    def paths(self) -> Iterator[str]:
        """All files the graph needs."""
        yield self.file
        yield from self.weights
