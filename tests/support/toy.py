"""A bundle small enough to build in milliseconds, with everything a real one has.

The "network" shrinks a 16×16 picture to 4×4, mixes the channels, and scores three classes by mean colour.
Boundaries: 0 the picture, 1 the mixed 4×4 features (1, 8, 4, 4), 2 the scores (1, 3).
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

from cutpoint.codecs import EntropyModel, TensorSpec, pack_tables
from cutpoint.sdk.bundle import (
    Boundary,
    Bundle,
    CodecEntry,
    GraphFile,
    Manifest,
    Measurement,
    Part,
    Point,
    Preprocessing,
    Span,
    Task,
)

__all__ = [
    "LABELS",
    "SIDE",
    "features_to_scores",
    "graph_bytes",
    "moody_head",
    "noise",
    "picture",
    "toy_bundle",
    "two_format_bundle",
]

SIDE = 16
LABELS = ("red", "green", "blue")
_PICTURE = TensorSpec("image", (1, SIDE, SIDE, 3), "uint8")
_FEATURES = TensorSpec("features", (1, 8, 4, 4), "float32")
_SCORES = TensorSpec("scores", (1, 3), "float32")
_SYMBOLS = TensorSpec("symbols", (1, 8, 4, 4), "uint8")
_STEPS = (16.0, 1.0)


def picture(label: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A 16×16 picture in which colour `label` is the strongest."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 120, (SIDE, SIDE, 3))
    values[:, :, label] += 110
    return values.astype(np.uint8)


def noise(seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A 16×16 picture of nothing."""
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)


def _info(spec: TensorSpec, batch: int | str = 1) -> Any:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
    return helper.make_tensor_value_info(spec.name, kind, (batch, *spec.shape[1:]))


def _mixing() -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(7).normal(size=(8, 3, 1, 1)).astype(np.float32)


def graph_bytes(nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, Any]) -> bytes:
    """A checked graph as a file."""
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "toy", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model)
    return bytes(model.SerializeToString())


def _head_nodes() -> list[Any]:
    return [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["small"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Conv", ["small", "mixing"], ["features"]),
    ]


def _tail_nodes() -> list[Any]:
    return [
        helper.make_node("Conv", ["features", "unmixing"], ["colours"]),
        helper.make_node("GlobalAveragePool", ["colours"], ["means"]),
        helper.make_node("Flatten", ["means"], ["scores"]),
    ]


def _unmixing() -> np.ndarray[Any, np.dtype[np.float32]]:
    inverse = np.linalg.pinv(_mixing()[:, :, 0, 0])
    return (inverse / 16.0)[:, :, None, None].astype(np.float32)


def moody_head() -> bytes:
    """A head that takes pictures of nothing but zeros, and fails on all others."""
    nodes = [
        *_head_nodes()[:-1],
        helper.make_node("Conv", ["small", "mixing"], ["mixed"]),
        helper.make_node("ReduceMax", ["float"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["nothing"]),
        helper.make_node("Add", ["mixed", "nothing"], ["features"]),
    ]
    constants = {"mixing": _mixing(), "table": np.zeros(1, np.float32)}
    return graph_bytes(nodes, [_info(_PICTURE)], [_info(_FEATURES)], constants)


def features_to_scores() -> tuple[list[Any], dict[str, Any]]:
    """Nodes and constants from ``features`` to ``scores``."""
    return _tail_nodes(), {"unmixing": _unmixing()}


def _encoder() -> bytes:
    nodes = [
        helper.make_node("Gather", ["steps", "level"], ["step"]),
        helper.make_node("Div", ["features", "step"], ["scaled"]),
        helper.make_node("Round", ["scaled"], ["rounded"]),
        helper.make_node("Add", ["rounded", "middle"], ["shifted"]),
        helper.make_node("Clip", ["shifted", "low", "high"], ["clipped"]),
        helper.make_node("Cast", ["clipped"], ["symbols"], to=TensorProto.UINT8),
    ]
    level = helper.make_tensor_value_info("level", TensorProto.INT64, [])
    return graph_bytes(nodes, [_info(_FEATURES), level], [_info(_SYMBOLS)], _codec_constants())


def _decoder(front: int | str) -> bytes:
    nodes = [
        helper.make_node("Gather", ["steps", "level"], ["step"]),
        helper.make_node("Cast", ["symbols"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["float", "middle"], ["centred"]),
        helper.make_node("Mul", ["centred", "step"], ["features"]),
    ]
    level = helper.make_tensor_value_info("level", TensorProto.INT64, [])
    return graph_bytes(nodes, [_info(_SYMBOLS, front), level], [_info(_FEATURES, front)], _codec_constants())


def _codec_constants() -> dict[str, Any]:
    return {
        "steps": np.array(_STEPS, np.float32),
        "middle": np.float32(128),
        "low": np.float32(0),
        "high": np.float32(255),
    }


def _tables(differences: bool) -> bytes:
    def symbols(step: float) -> np.ndarray[Any, np.dtype[np.uint8]]:
        planes = []
        for seed in range(60):
            data = picture(seed % 3, seed).astype(np.float32).transpose(2, 0, 1)
            small = data.reshape(3, 4, 4, 4, 4).mean(axis=(2, 4)).reshape(3, 16)
            planes.append(_mixing()[:, :, 0, 0] @ small)
        features = np.stack(planes).transpose(1, 0, 2).reshape(8, -1)
        return np.clip(np.round(features / step) + 128, 0, 255).astype(np.uint8)

    rows = [symbols(step) for step in _STEPS]
    if differences:
        # A stream that changes a little: every fourth symbol goes up or down by one.
        rng = np.random.default_rng(1)
        rows += [rng.choice(np.array([-1, 0, 0, 0, 0, 0, 0, 1], np.int8), row.shape) for row in rows]
    return pack_tables([[EntropyModel.fit(row)] for row in rows])


def toy_bundle(
    name: str = "toy", tail_repeats: int = 0, free_batch: bool = False, version: int = 0, **replaced: bytes
) -> Bundle:
    """The bundle.

    Args:
        name: of the model; another name makes another hash.
        tail_repeats: makes the tail slow, by this many convolutions that change nothing and cost milliseconds each.
        free_batch: whether decoder and tail at boundary 1 take any number of samples at once.
        version: makes another hash under the same name.
        replaced: content of files, in place of what belongs there; ``head`` and ``whole`` are the device's graphs.
    """
    both = {"mixing": _mixing(), "unmixing": _unmixing()}
    front = "N" if free_batch else 1
    tail_nodes, tail_constants = features_to_scores()
    if tail_repeats:
        tail_nodes, slow_constants = _slow(tail_nodes, tail_repeats)
        tail_constants |= slow_constants
    files: dict[str, tuple[Part, bytes]] = {
        "spans/0-1.fp32.onnx": (
            "device",
            graph_bytes(_head_nodes(), [_info(_PICTURE)], [_info(_FEATURES)], {"mixing": both["mixing"]}),
        ),
        "spans/0-2.fp32.onnx": (
            "both",
            graph_bytes(_head_nodes() + _tail_nodes(), [_info(_PICTURE)], [_info(_SCORES)], both),
        ),
        "spans/1-2.fp32.onnx": (
            "server",
            graph_bytes(tail_nodes, [_info(_FEATURES, front)], [_info(_SCORES, front)], tail_constants),
        ),
        "codecs/1-affine.enc.onnx": ("device", _encoder()),
        "codecs/1-affine.dec.onnx": ("server", _decoder(front)),
        "codecs/1-affine.tables": ("both", _tables(differences=False)),
        "codecs/1-delta.tables": ("both", _tables(differences=True)),
    }

    for graph, path in (("head", "spans/0-1.fp32.onnx"), ("whole", "spans/0-2.fp32.onnx")):
        files[path] = (files[path][0], replaced.pop(graph, files[path][1]))
    assert not replaced

    def span(start: int, end: int) -> Span:
        return Span(start, end, "fp32", (GraphFile("onnx", f"spans/{start}-{end}.fp32.onnx"),))

    def point(point_id: str, start: int, codec: str, level: int, nbytes: float, metric: float) -> Point:
        measured = Measurement(metric, nbytes, nbytes * 1.1, device_ms=0.1 * start, encode_ms=0.1, tail_ms=0.1)
        precision = "fp32" if start else None
        return Point(point_id, start, start, measured, precision, codec, level, "fp32")

    local = Point("cut2-fp32", 2, 2, Measurement(0.98, 0, 0, device_ms=0.2), precision="fp32")
    manifest = Manifest(
        schema=1,
        name=name,
        created_by=f"tests {version}",
        task=Task("classification", "top1", uncut=0.98, samples=60, labels=LABELS),
        boundaries=(Boundary(0, (_PICTURE,)), Boundary(1, (_FEATURES,)), Boundary(2, (_SCORES,))),
        spans=(span(0, 1), span(0, 2), span(1, 2)),
        codecs=(
            CodecEntry("0-raw", "raw", 0, 0, ("exact",)),
            CodecEntry("0-jpeg", "jpeg", 0, 0, ("q30", "q90"), config={"quality": [30, 90]}),
            CodecEntry("0-webp", "webp", 0, 0, ("q30", "q90"), config={"quality": [30, 90]}),
            CodecEntry("1-raw", "raw", 1, 1, ("fp16", "exact")),
            *(
                CodecEntry(
                    f"1-{codec}",
                    codec,
                    1,
                    1,
                    ("coarse", "fine"),
                    symbols=(_SYMBOLS,),
                    encoder=(GraphFile("onnx", "codecs/1-affine.enc.onnx"),),
                    decoder=(GraphFile("onnx", "codecs/1-affine.dec.onnx"),),
                    tables=f"codecs/1-{codec}.tables",
                )
                for codec in ("affine", "delta")
            ),
        ),
        points=(
            local,
            point("cut0-raw-exact", 0, "0-raw", 0, 768, 0.98),
            point("cut0-jpeg-q90", 0, "0-jpeg", 1, 500, 0.98),
            point("cut1-fp32-raw-exact", 1, "1-raw", 1, 512, 0.98),
            point("cut1-fp32-affine-coarse", 1, "1-affine", 0, 60, 0.90),
            point("cut1-fp32-affine-fine", 1, "1-affine", 1, 110, 0.98),
            point("cut1-fp32-delta-fine", 1, "1-delta", 1, 111, 0.98),
        ),
        preprocessing=Preprocessing(height=SIDE, width=SIDE, scale=1.0),
    )
    return Bundle.create(manifest, files)


def two_format_bundle() -> Bundle:
    """The toy with files beside its heads that stand for those of another runtime, and a head at a second precision."""
    bundle = toy_bundle()
    files: dict[str, tuple[Part, bytes]] = {
        entry.path: (entry.part, bundle.read(entry.path)) for entry in bundle.manifest.files
    }
    spans = []
    for span in bundle.manifest.spans:
        if span.start == 0:
            path = f"spans/0-{span.end}.fp32.tflite"
            files[path] = "device", f"what LiteRT reads of span {span.end}".encode()
            files[f"{path}.bin"] = "device", f"weights of span {span.end}".encode()
            weights = tuple(f"spans/0-{end}.fp32.tflite.bin" for end in range(1, span.end + 1))
            spans.append(msgspec.structs.replace(span, graphs=(*span.graphs, GraphFile("tflite", path, weights))))
        else:
            spans.append(span)
    for end in (1, 2):
        path = f"spans/0-{end}.int8.onnx"
        files[path] = "device", bundle.read(f"spans/0-{end}.fp32.onnx")
        shared = "spans/weights.int8.bin"
        files[shared] = "device", b"weights"
        spans.append(Span(0, end, "int8", (GraphFile("onnx", path, (shared,)),)))
    return Bundle.create(msgspec.structs.replace(bundle.manifest, spans=tuple(spans), files=()), files)


def _slow(tail: list[Any], repeats: int) -> tuple[list[Any], dict[str, Any]]:
    """A tail behind convolutions of 256 channels whose result is multiplied by zero and added."""
    nodes = [
        helper.make_node("Resize", ["features", "", "", "big"], ["r"], mode="nearest"),
        helper.make_node("Conv", ["r", "up"], ["wide_0"]),
    ]
    constants: dict[str, Any] = {
        "big": np.array([1, 8, 64, 64], np.int64),
        "up": np.full((64, 8, 1, 1), 1e-3, np.float32),
        "same": np.full((64, 64, 3, 3), 1e-4, np.float32),
        "down": np.zeros((8, 64, 1, 1), np.float32),
        "target": np.array([1, 8, 4, 4], np.int64),
    }
    for i in range(repeats):
        nodes.append(helper.make_node("Conv", [f"wide_{i}", "same"], [f"wide_{i + 1}"], pads=[1, 1, 1, 1]))
    nodes += [
        helper.make_node("Conv", [f"wide_{repeats}", "down"], ["narrow"]),
        helper.make_node("Resize", ["narrow", "", "", "target"], ["nothing"], mode="nearest"),
        helper.make_node("Add", ["features", "nothing"], ["same_features"]),
    ]
    first, *rest = tail
    nodes.append(helper.make_node("Conv", ["same_features", "unmixing"], list(first.output)))
    return nodes + rest, constants
