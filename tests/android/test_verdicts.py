"""Both readers take and refuse the same frames, manifests and `.tflite` graphs."""

from __future__ import annotations

import copy
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.exits import exit_bundle
from tests.support.profiles import profiled_bundle
from tests.support.slices import sliced_bundle
from tests.vectors import conversations

from cutpoint.sdk.bundle import Bundle, decode_manifest, encode_manifest
from cutpoint.sdk.errors import BundleError, GraphError, RemoteProtocolError
from cutpoint.sdk.protocol import Error, Hello, Result, Welcome, decode_frame
from cutpoint.sdk.protocol.frames import HEADER_SIZE, Opening, PartOpening
from cutpoint.sdk.runtimes.tflite import join

from . import jvm

FRAMES = 100_000
MANIFESTS = 4000
GRAPHS = 10_000


def recorded_frames() -> list[bytes]:
    return [
        bytes.fromhex(frame)
        for path in sorted(conversations.FOLDER.glob("*.json"))
        for conversation in json.loads(path.read_text())
        for step in conversation["steps"]
        for frame in step.get("frames", [])
    ]


def damage(frame: bytes, rng: np.random.Generator) -> bytes:
    """Turns bits, cuts or lengthens; most of the time length and checksum are put right afterwards."""
    data = bytearray(frame)
    if rng.random() < 0.25:
        size = int(rng.integers(len(data) + 8))
        data = data[:size] + bytes(max(0, size - len(data)))
    for _ in range(int(rng.integers(0, 4))):
        if data:
            data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    if len(data) >= 16 and rng.random() < 0.8:
        data[8:12] = struct.pack("<I", len(data) - 16)
        data[12:16] = struct.pack("<I", zlib.crc32(data[16:], zlib.crc32(data[:12])))
    return bytes(data)


def verdict(frame: bytes) -> str:
    """What is expected of the bridge. It reads all of a JSON body; here text that is skipped may be any bytes."""
    try:
        decoded = decode_frame(frame)
        if isinstance(decoded, Hello | Welcome | Error):
            frame[HEADER_SIZE:].decode()
        # The bridge offers no extensions, so that no frame to or from it has a context, comes in parts, or names exits.
        if isinstance(decoded, Opening) and (decoded.trace is not None or decoded.sliced or decoded.exits):
            return "bad_request"
        if isinstance(decoded, PartOpening) or (isinstance(decoded, Result) and decoded.exit):
            return "bad_request"
        # No array has such sides, but numpy knows empty ones.
        if isinstance(decoded, Result) and any(max(t.shape, default=0) >= 2**31 for t in decoded.outputs):
            return "bad_request"
    except UnicodeDecodeError:
        return "bad_request"
    except RemoteProtocolError as error:
        return "6" if "array of size 0 into shape" in str(error) else error.code
    return str(frame[0])


def test_damaged_frames(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    recorded = recorded_frames()
    frames = [damage(recorded[int(rng.integers(len(recorded)))], rng) for _ in range(FRAMES)]
    theirs = [word.decode() for word in jvm.transform("protocol.FrameVerdicts", frames, tmp_path)]
    ours = [verdict(frame) for frame in frames]
    assert {"bad_request", "bad_payload", "1", "6", "7"} <= set(ours)
    differing = [(f.hex(), a, b) for f, a, b in zip(frames, ours, theirs, strict=True) if a != b]
    assert not differing, (len(differing), differing[:5])


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a JSON value, as container and key."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [place for key in keys for place in [(value, key), *places(value[key])]]


def spoil(manifest: Any, rng: np.random.Generator) -> bytes:
    """The manifest with one thing changed."""
    spoiled = copy.deepcopy(manifest)
    found = places(spoiled)
    container, key = found[int(rng.integers(len(found)))]
    values = [0, 1, -1, 2, 0.5, 1e30, True, None, "", "x", "int8", "fp32", "../x", "a/.b", [], {}, [1], {"a": 1}]
    match int(rng.integers(0, 5)):
        case 0:
            del container[key]
        case 1 if isinstance(container, list):
            container.append(copy.deepcopy(container[key]))
        case 2 if isinstance(container, dict):
            container["unknown"] = 1
        case 3:
            other, name = found[int(rng.integers(len(found)))]
            container[key] = copy.deepcopy(other[name])
        case _:
            container[key] = values[int(rng.integers(len(values)))]
    text = json.dumps(spoiled).encode()
    return text[: int(rng.integers(len(text)))] if rng.random() < 0.02 else text


def taken(data: bytes) -> str:
    try:
        decode_manifest(data)
    except BundleError:
        return "refused"
    return "taken"


@pytest.mark.parametrize("bundle", [profiled_bundle, exit_bundle, sliced_bundle])
def test_spoiled_manifests(bundle: Callable[[], Bundle], tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    text = encode_manifest(bundle().manifest)
    manifest = json.loads(text)
    data = [text, *(spoil(manifest, rng) for _ in range(MANIFESTS))]
    ours = [taken(text) for text in data]
    theirs = [word.decode() for word in jvm.transform("bundle.ManifestVerdicts", data, tmp_path)]
    assert ours[0] == "taken"
    assert ours.count("taken") > 100
    differing = [(d.decode(), a, b) for d, a, b in zip(data, ours, theirs, strict=True) if a != b]
    assert not differing, (len(differing), differing[:1])


def graph_taken(data: bytes) -> str:
    try:
        join(data, {})
    except GraphError:
        return "refused"
    return "taken"


def test_damaged_tflite_graphs(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="needs cutpoint[tflite]")
    from tests.support.tflite import adding_net, packed, schema

    model = schema.ModelT.InitFromPackedBuf(adding_net([np.ones((1, 16), np.float32)] * 3), 0)
    model.buffers[1].data, model.buffers[1].offset, model.buffers[1].size = None, 64, 64
    values = [0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 64]
    rng = np.random.default_rng(5)
    graphs = [packed(model)]
    while len(graphs) < GRAPHS:
        graph = bytearray(graphs[0])
        for _ in range(int(rng.integers(1, 3))):
            place = int(rng.integers(len(graph)))
            if rng.random() < 0.5:
                graph[place] ^= 1 << int(rng.integers(8))
            else:
                graph[place : place + 8] = values[int(rng.integers(len(values)))].to_bytes(8, "little")
        graphs.append(bytes(graph[: int(rng.integers(len(graph)))] if rng.random() < 0.05 else graph))
    ours = [graph_taken(graph) for graph in graphs]
    theirs = [word.decode() for word in jvm.transform("runtime.TfliteVerdicts", graphs, tmp_path)]
    assert ours[0] == "taken"
    assert min(ours.count("taken"), ours.count("refused")) > 500
    differing = [(g.hex(), a, b) for g, a, b in zip(graphs, ours, theirs, strict=True) if a != b]
    assert not differing, (len(differing), differing[:1])
