"""One protocol over onnxruntime and LiteRT."""

from __future__ import annotations

from cutpoint.sdk.errors import InputError
from cutpoint.sdk.runtimes.base import Graph, Runtime, Stop

__all__ = ["RUNTIMES", "Graph", "Runtime", "Stop", "create_runtime"]

#: Names that `create_runtime` knows.
RUNTIMES = ("onnx", "litert", "ai-edge-litert", "tflite-runtime")


def create_runtime(name: str = "onnx", threads: int = 1) -> Runtime:
    """The runtime called `name`.

    Args:
        name: ``onnx``; ``litert`` for whichever LiteRT package is installed; ``ai-edge-litert`` or ``tflite-runtime``
            for that one.
        threads: threads within one call.

    Raises:
        RuntimeUnavailable: if it is not installed.
        InputError: if there is no runtime of that name.
    """
    if threads < 1:
        raise InputError(f"threads must be at least 1, not {threads}")
    if name == "onnx":
        from cutpoint.sdk.runtimes.onnx import OnnxRuntime

        return OnnxRuntime(threads)
    if name in RUNTIMES:
        from cutpoint.sdk.runtimes.litert import LiteRtRuntime

        package = {"ai-edge-litert": "litert", "tflite-runtime": "tflite-runtime"}.get(name)
        return LiteRtRuntime(threads, package)
    raise InputError(f"runtime {name!r} is not one of {', '.join(RUNTIMES)}")
