"""onnxruntime behind the `Runtime` protocol."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

# From the moment it is imported, onnxruntime reports its use to its makers, unless it is told not to.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

from cutpoint.codecs import Array
from cutpoint.sdk.errors import GraphError, InputError, RuntimeUnavailable
from cutpoint.sdk.runtimes.base import Stop

__all__ = ["PROVIDERS", "OnnxRuntime"]


class OnnxGraph:
    """One onnxruntime session; `run` is safe from several threads.

    Attributes:
        metadata: what the file says of itself.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        try:
            self.input_names = tuple(node.name for node in session.get_inputs())
            self.output_names = tuple(node.name for node in session.get_outputs())
            first = [node.shape[0] for node in session.get_inputs() if node.shape]
            self.batches = bool(first) and not any(isinstance(size, int) for size in first)
            self.metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map
        except UnicodeDecodeError as error:
            raise GraphError(f"names or metadata of the graph are no text: {error}") from error

    def run(self, inputs: Sequence[Array], stop: Stop | None = None) -> tuple[Array, ...]:
        if len(inputs) != len(self.input_names):
            raise GraphError(f"graph takes {len(self.input_names)} tensors, {len(inputs)} given")
        feeds = dict(zip(self.input_names, inputs, strict=True))
        options = None
        if stop is not None:
            options = ort.RunOptions()
            stop.ends_with(partial(setattr, options, "terminate", True))
        try:
            return tuple(self._session.run(self.output_names, feeds, options))
        except Exception as error:  # onnxruntime's exceptions share no base below Exception
            raise GraphError(f"onnxruntime: {error}") from error
        finally:
            if stop is not None:
                stop.ends_with(None)


#: Execution providers by the names that people use.
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}


class OnnxRuntime:
    """onnxruntime.

    Args:
        threads: threads within one call.
        providers: where graphs run, best first, of `PROVIDERS`; what the first cannot run goes to the next, and what
            none of them can to the CPU.
        arena: whether memory is kept between calls: faster, and never given back.

    Raises:
        InputError: if there is no provider of that name.
        RuntimeUnavailable: if the onnxruntime that is installed comes without one of them.
    """

    name = "onnxruntime"
    format = "onnx"

    def __init__(self, threads: int = 1, providers: Sequence[str] = ("cpu",), arena: bool = True) -> None:
        self._threads = threads
        self._arena = arena
        self._providers = [_provider(name) for name in dict.fromkeys([*providers, "cpu"])]

    def load(self, graph: bytes, weights: Mapping[str, bytes]) -> OnnxGraph:
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = self._arena
        options.log_severity_level = 3
        # Threads that spin for work after a call would take the processor from everything else on a small device.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            if weights:
                names = list(weights)
                options.add_external_initializers_from_files_in_memory(
                    names, [weights[name] for name in names], [len(weights[name]) for name in names]
                )
            session = ort.InferenceSession(graph, options, providers=self._providers)
        except Exception as error:  # onnxruntime's exceptions share no base below Exception
            raise GraphError(f"onnxruntime refuses the graph: {error}") from error
        # A provider whose libraries or device are missing is passed over in silence.
        if session.get_providers()[0] != self._providers[0]:
            raise RuntimeUnavailable(
                f"{self._providers[0]} does not work here: are its device and libraries there? "
                f"Instead, {', '.join(session.get_providers())} would"
            )
        return OnnxGraph(session)


def _provider(name: str) -> str:
    if name not in PROVIDERS:
        raise InputError(f"provider {name!r} is not one of {', '.join(PROVIDERS)}")
    available = ort.get_available_providers()
    if PROVIDERS[name] not in available:
        known = ", ".join(short for short, long in PROVIDERS.items() if long in available)
        raise RuntimeUnavailable(
            f"the onnxruntime that is installed has no provider {name!r}, only {known}: pip install onnxruntime-gpu"
        )
    return PROVIDERS[name]
