"""The toy with an exit: pictures of a clear colour are answered at boundary 1, noise goes on."""

from __future__ import annotations

import msgspec
import numpy as np
from onnx import TensorProto, helper
from tests.support.toy import features_to_scores, graph_bytes, toy_bundle

from cutpoint.sdk.bundle import Bundle, Exit, GraphFile, Part, Point, ServerExit, Threshold

__all__ = ["EXIT", "SERVED", "exit_bundle"]

EXIT = "exit1-fp32"
#: Points whose requests servers may answer from the exit.
SERVED = ("cut0-raw-exact", "cut1-fp32-raw-exact", "cut1-fp32-delta-fine")
#: Of softmax over the scores; noise stays below, `picture` of any label above.
_CONFIDENCE = 0.9


def exit_bundle(
    rate: float = 0.5, confidence: float = _CONFIDENCE, sharpness: float = 1.0, tail_repeats: int = 0
) -> Bundle:
    """`toy_bundle` with an exit at boundary 1, and three points that ask it: on the device, and with two codecs.

    Args:
        rate: share of the requests that calibration is said to have seen end there.
        confidence: least confidence with which the exit answers.
        sharpness: factor in front of the scores whose softmax the confidence is.
        tail_repeats: makes the tail slow, as in `toy_bundle`.
    """
    bundle = toy_bundle(tail_repeats=tail_repeats)
    files: dict[str, tuple[Part, bytes]] = {
        entry.path: (entry.part, bundle.read(entry.path)) for entry in bundle.manifest.files
    }
    files["exits/exit1-fp32.onnx"] = "both", _exit_graph(sharpness)
    # What lies behind the exit runs on the device, too, and what lies before it on servers.
    for path in ("spans/0-1.fp32.onnx", "spans/1-2.fp32.onnx"):
        files[path] = "both", files[path][1]
    threshold = Threshold(confidence, drop=0.01, certainty=0.95, samples=1000, rate=rate, metric=0.99)
    servers = tuple(ServerExit(point, threshold, ms=0.15) for point in SERVED)
    graphs = (GraphFile("onnx", "exits/exit1-fp32.onnx"),)
    exit = Exit(EXIT, 1, "fp32", graphs, (threshold,), ms=0.05, servers=servers)

    def with_exit(point: Point) -> Point:
        measured = msgspec.structs.replace(point.measured, exit_rate=rate, exit_ms=0.15)
        return msgspec.structs.replace(point, id=f"{point.id}-exit1", measured=measured, exit=EXIT)

    asking = ("cut2-fp32", "cut1-fp32-raw-exact", "cut1-fp32-delta-fine")
    points = (*bundle.points, *(with_exit(point) for point in bundle.points if point.id in asking))
    return Bundle.create(msgspec.structs.replace(bundle.manifest, points=points, exits=(exit,), files=()), files)


def _exit_graph(sharpness: float) -> bytes:
    nodes, constants = features_to_scores()
    nodes += [
        helper.make_node("Mul", ["scores", "sharpness"], ["sharp"]),
        helper.make_node("Softmax", ["sharp"], ["probabilities"], axis=1),
        helper.make_node("ReduceMax", ["probabilities"], ["confidence"], axes=[1], keepdims=0),
    ]
    inputs = [helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, 8, 4, 4])]
    outputs = [
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 3]),
        helper.make_tensor_value_info("confidence", TensorProto.FLOAT, [1]),
    ]
    return graph_bytes(nodes, inputs, outputs, constants | {"sharpness": np.float32(sharpness)})
