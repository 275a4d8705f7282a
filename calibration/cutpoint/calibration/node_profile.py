"""What each node of the model takes, from onnxruntime's own profile, and what a head should therefore take."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from statistics import median

import onnxruntime as ort

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graph import ModelGraph
from cutpoint.codecs import Array

__all__ = ["node_times", "prefix_times"]

#: Runs that times are medians of, after one that warms up.
_RUNS = 9
_ENDING = "_kernel_time"


def node_times(graph: ModelGraph, sample: Sequence[Array], threads: int = 1) -> list[float]:
    """Milliseconds of each node of the fp32 model, in the order of the graph.

    The runtime fuses nodes and adds some that change layouts. A fused node's time goes to the node that it is named
    after, an added one's to the node that ran before it.

    Args:
        graph: the fp32 model.
        sample: tensors of boundary 0.
        threads: of the runtime.

    Raises:
        CalibrationError: if the model does not run.
    """
    with tempfile.TemporaryDirectory(prefix="cutpoint-") as folder:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        try:
            data = graph.model.SerializeToString()
            session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
            feeds = {spec.name: tensor for spec, tensor in zip(graph.inputs, sample, strict=True)}
            for _ in range(_RUNS + 1):
                session.run(None, feeds)
        except Exception as error:  # onnxruntime's exceptions share no base below Exception
            raise CalibrationError(f"the model does not run in onnxruntime: {error}") from error
        events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    runs: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_ENDING):
            runs[event["name"].removesuffix(_ENDING)].append(event["dur"] / 1e3)
    return _attribute([node.name for node in graph.model.graph.node], runs)


def _attribute(nodes: Sequence[str], runs: dict[str, list[float]]) -> list[float]:
    """Times by position of a node, from times by the names of what ran, in the order in which it ran."""
    places = {name: place for place, name in enumerate(nodes) if name}
    by_length = sorted(places, key=len, reverse=True)
    times = [0.0] * len(nodes)
    last = 0
    for name, values in runs.items():
        origin = name if name in places else next((known for known in by_length if known in name), None)
        last = places[origin] if origin is not None else last
        times[last] += median(values[1:] or values)
    return times


def prefix_times(times: Sequence[float]) -> list[float]:
    """Entry p: what the first p nodes take together."""
    return [0.0, *accumulate(times)]
