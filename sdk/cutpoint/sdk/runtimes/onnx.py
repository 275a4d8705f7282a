"""onnxruntime behind the `Runtime` protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import onnxruntime as ort

from cutpoint.codecs import Array
from cutpoint.sdk.errors import GraphError
from cutpoint.sdk.runtimes.base import Stop

__all__ = ["OnnxRuntime"]


class OnnxGraph:
    """One onnxruntime session; `run` is safe from several threads.

    Attributes:
        metadata: what the file says of itself.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self.input_names = tuple(node.name for node in session.get_inputs())
        self.output_names = tuple(node.name for node in session.get_outputs())
        self.metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map

    def run(self, inputs: Sequence[Array], stop: Stop | None = None) -> tuple[Array, ...]:
        if len(inputs) != len(self.input_names):
            raise GraphError(f"graph takes {len(self.input_names)} tensors, {len(inputs)} given")
        feeds = dict(zip(self.input_names, inputs, strict=True))
        options = None
        if stop is not None:
            options = ort.RunOptions()
            stop.ends_with(partial(setattr, options, "terminate", True))
        try:
            return tuple(self._session.run(None, feeds, options))
        except Exception as error:  # onnxruntime's exceptions share no base below Exception
            raise GraphError(f"onnxruntime: {error}") from error
        finally:
            if stop is not None:
                stop.ends_with(None)


class OnnxRuntime:
    """onnxruntime on the CPU.

    Args:
        threads: threads within one call.
        providers: onnxruntime execution providers, best first.
    """

    name = "onnxruntime"
    format = "onnx"

    def __init__(self, threads: int = 1, providers: Sequence[str] = ("CPUExecutionProvider",)) -> None:
        self._threads = threads
        self._providers = list(providers)

    def load(self, graph: bytes, weights: Mapping[str, bytes]) -> OnnxGraph:
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Threads that spin for work after a call would take the processor from everything else on a small device.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            if weights:
                names = list(weights)
                options.add_external_initializers_from_files_in_memory(
                    names, [weights[name] for name in names], [len(weights[name]) for name in names]
                )
            return OnnxGraph(ort.InferenceSession(graph, options, providers=self._providers))
        except Exception as error:  # onnxruntime's exceptions share no base below Exception
            raise GraphError(f"onnxruntime refuses the graph: {error}") from error
