"""What each node of the model takes, from onnxruntime's own profile, and what a head should therefore take."""

from __future__ import annotations

import errno
import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from statistics import median

import onnxruntime as ort

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.graph import ModelGraph
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
        OSError: if there is no room for the runtime's profile.
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
        path = session.end_profiling()
        try:
            events = json.loads(Path(path).read_text("utf-8"))
        except json.JSONDecodeError as error:  # The runtime does not notice that it could not write all of it.
            raise OSError(errno.ENOSPC, "the runtime's profile is cut short, no space left", path) from error
    runs: dict[tuple[str, int], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_ENDING):
            key = event["name"].removesuffix(_ENDING), int(event["args"]["node_index"])
            runs[key].append(event["dur"] / 1e3)
    medians = [(name, median(values[1:] or values)) for (name, _), values in runs.items()]
    return _attribute([(node.name, *node.output) for node in graph.model.graph.node], medians)


def _attribute(nodes: Sequence[Sequence[str]], ran: Sequence[tuple[str, float]]) -> list[float]:
    """Milliseconds of each node.

    Args:
        nodes: names of each node: its own and its outputs', which the runtime calls what it makes of them after.
        ran: name and milliseconds of what ran, in this order.
    """
    places = {name: place for place, names in enumerate(nodes) for name in names if name}
    by_length = sorted(places, key=len, reverse=True)
    times = [0.0] * len(nodes)
    last = 0
    for name, milliseconds in ran:
        origin = next((known for known in by_length if _holds(name, known)), None)
        last = places[origin] if origin is not None else last
        times[last] += milliseconds
    return times


def _holds(name: str, known: str) -> bool:
    """Whether `known` is `name` or a word in it."""
    return known in name and re.search(rf"(?<![A-Za-z0-9]){re.escape(known)}(?![A-Za-z0-9])", name) is not None


def prefix_times(times: Sequence[float], whole: float) -> list[float]:
    """Entry p: what the first p nodes take together.

    Args:
        times: of each node; profiling makes all of them longer.
        whole: milliseconds of all nodes together without profiling; times are scaled to it.
    """
    scale = whole / sum(times) if sum(times) else 0.0
    return [0.0, *accumulate(scale * time for time in times)]
