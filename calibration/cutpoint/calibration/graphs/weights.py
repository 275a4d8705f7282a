"""Weights of many spans in few files: a tensor that several spans use lies in the bundle once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from onnx import numpy_helper

from cutpoint.sdk.bundle import Part

__all__ = ["INLINE", "SharedSpans", "share_weights"]

#: Smaller tensors stay inside their graph, where they are read without another look-up.
INLINE = 1024
#: Start of each tensor in a weight file, in bytes: what vector loads like.
_ALIGN = 64


@dataclass(frozen=True)
class SharedSpans:
    """Spans without their large weights, and the files that hold these.

    Attributes:
        graphs: span key → serialised graph.
        uses: span key → names of the weight files it refers to.
        weights: file name → (which machine needs it, content).
    """

    graphs: Mapping[str, bytes]
    uses: Mapping[str, tuple[str, ...]]
    weights: Mapping[str, tuple[Part, bytes]]


def share_weights(spans: Mapping[str, tuple[Part, onnx.ModelProto]], stem: str) -> SharedSpans:
    """Moves the weights of `spans` into files that they share.

    Args:
        spans: key → (which machine runs it, graph).
        stem: file names are ``{stem}.bin``, or ``{stem}.device.bin`` and so on where machines need different tensors.
    """
    parts: dict[str, set[str]] = {}
    contents: dict[str, bytes] = {}
    for part, model in spans.values():
        for tensor in model.graph.initializer:
            data = _raw(tensor)
            if len(data) >= INLINE:
                key = hashlib.sha256(data).hexdigest()
                contents[key] = data
                parts.setdefault(key, set()).update({"device", "server"} if part == "both" else {part})

    group: dict[str, Part] = {
        key: "both" if len(users) > 1 else "device" if "device" in users else "server" for key, users in parts.items()
    }
    single = len(set(group.values())) == 1
    files: dict[str, bytearray] = {}
    places: dict[str, tuple[str, int]] = {}
    owner: dict[str, Part] = {}
    for key, part in group.items():
        name = f"{stem}.bin" if single else f"{stem}.{part}.bin"
        file = files.setdefault(name, bytearray())
        owner[name] = part
        file.extend(bytes(-len(file) % _ALIGN))
        places[key] = name, len(file)
        file.extend(contents[key])

    graphs = {}
    uses = {}
    for span, (_, model) in spans.items():
        graphs[span], uses[span] = _refer(model, places)
    return SharedSpans(graphs, uses, {name: (owner[name], bytes(data)) for name, data in files.items()})


def _raw(tensor: onnx.TensorProto) -> bytes:
    """A tensor's values, little endian. Where they lie in a typed field they are moved into `raw_data`."""
    if not tensor.HasField("raw_data"):
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), name))
    return tensor.raw_data


def _refer(model: onnx.ModelProto, places: Mapping[str, tuple[str, int]]) -> tuple[bytes, tuple[str, ...]]:
    """The serialised graph with references in place of large weights, and the files that it refers to."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    used = []
    for tensor in result.graph.initializer:
        data = _raw(tensor)
        if len(data) < INLINE:
            continue
        name, offset = places[hashlib.sha256(data).hexdigest()]
        used.append(name)
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", name), ("offset", offset), ("length", len(data))):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)
    return result.SerializeToString(deterministic=True), tuple(sorted(set(used)))
