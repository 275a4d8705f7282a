"""LiteRT behind the `Runtime` protocol: `ai-edge-litert`, or the older `tflite-runtime`."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cutpoint.codecs import Array
from cutpoint.sdk.errors import GraphError, RuntimeUnavailable
from cutpoint.sdk.runtimes.base import Stop
from cutpoint.sdk.runtimes.tflite import join

__all__ = ["LiteRtRuntime"]

#: Import path of the interpreter by runtime name, best first.
_PACKAGES = {"litert": "ai_edge_litert.interpreter", "tflite-runtime": "tflite_runtime.interpreter"}


def _natural(name: str) -> tuple[int, str]:
    """Sorts ``args_10`` behind ``args_2``."""
    return len(name), name


class LiteRtGraph:
    """One interpreter. It is not safe from several threads, so calls take turns.

    Tensors are ordered by their names in the signature (``args_0``, ``args_1``, … and ``output_0``, …), because the
    order within the file is the converter's own.
    """

    def __init__(self, interpreter: Any) -> None:
        signatures = interpreter.get_signature_list()
        if len(signatures) != 1:
            raise GraphError(f"a .tflite graph with {len(signatures)} signatures; exactly one is expected")
        (key, names) = next(iter(signatures.items()))
        self._interpreter = interpreter  # the runner keeps only a weak hold on it
        self._runner = interpreter.get_signature_runner(key)
        self._lock = threading.Lock()
        details = self._runner.get_input_details()
        #: Converters narrow int64 inputs, such as a codec's level.
        self._narrowed = {name for name, detail in details.items() if detail["dtype"] == np.int32}
        self.input_names = tuple(sorted(names["inputs"], key=_natural))
        self.output_names = tuple(sorted(names["outputs"], key=_natural))
        self.batches = False  # shapes are fixed when a file is made

    def run(self, inputs: Sequence[Array], stop: Stop | None = None) -> tuple[Array, ...]:
        # `stop` comes too late: the interpreter cannot be interrupted.
        if len(inputs) != len(self.input_names):
            raise GraphError(f"graph takes {len(self.input_names)} tensors, {len(inputs)} given")
        try:
            with self._lock:
                named = dict(zip(self.input_names, inputs, strict=True))
                named |= {name: named[name].astype(np.int32) for name in self._narrowed}
                outputs = self._runner(**named)
                # The interpreter reuses its buffers in the next call.
                return tuple(np.array(outputs[name]) for name in self.output_names)
        except (ValueError, RuntimeError) as error:
            raise GraphError(f"LiteRT: {error}") from error


class LiteRtRuntime:
    """LiteRT with XNNPACK on the CPU.

    Args:
        threads: threads within one call.
        package: ``litert`` (ai-edge-litert), ``tflite-runtime``, or None for the first that is installed.

    Raises:
        RuntimeUnavailable: if none is installed.
    """

    format = "tflite"

    def __init__(self, threads: int = 1, package: str | None = None) -> None:
        self._threads = threads
        for name in [package] if package else list(_PACKAGES):
            try:
                self._module = importlib.import_module(_PACKAGES[name])
            except ImportError:
                continue
            self.name = name
            return
        raise RuntimeUnavailable(
            f"{package or 'LiteRT'} is not installed: pip install 'cutpoint[tflite]' (or tflite-runtime>=2.14)"
        )

    def load(self, graph: bytes, weights: Mapping[str, bytes]) -> LiteRtGraph:
        content = join(graph, weights)
        try:
            interpreter = self._module.Interpreter(model_content=content, num_threads=self._threads)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise GraphError(f"LiteRT refuses the graph: {error}") from error
        return LiteRtGraph(interpreter)
