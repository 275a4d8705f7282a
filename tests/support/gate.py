"""A worker that is held up for as long as a test likes."""

from __future__ import annotations

import threading

from cutpoint.codecs import Array, SymbolMemory
from cutpoint.sdk.bundle import Bundle, Point
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.sdk.tail import Tail

__all__ = ["Gate"]


class Gate(Tail):
    """A tail whose decoders wait while the gate is shut."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(BundleGraphs(bundle, [create_runtime("onnx")]))
        self.open = threading.Event()
        self.entered = 0

    def decode(
        self, point: Point, payload: bytes | memoryview, memory: SymbolMemory | None = None
    ) -> tuple[Array, ...]:
        self.entered += 1
        assert self.open.wait(20)
        return super().decode(point, payload, memory)
