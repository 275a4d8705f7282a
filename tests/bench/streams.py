"""What `delta` saves on video: bytes per frame with and without references to earlier frames, at equal symbols.

Streams, all procedural: *drive* moves through a street frame by frame; *hand* is one street seen by a hand-held camera
(up to a pixel of motion, sensor noise); *cuts* shows an unrelated street in every frame. Decoded symbols are checked to
be the encoder's, so accuracy is the same with and without `delta`.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import as_file, files
from typing import Any

import numpy as np
from rich.table import Table

from cutpoint.codecs import Array, DeltaCodec, SymbolMemory
from cutpoint.demo.scenes import render, video
from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.pictures import to_boundary0
from cutpoint.sdk.runtimes import create_runtime

TITLE = "Bytes per frame of a stream, delta against key frames only"

_FRAMES = 40
_SEED = 2**33


def _drive(seed: int) -> Iterator[Array]:
    return (scene.image for scene in video(seed, _FRAMES))


def _hand(seed: int) -> Iterator[Array]:
    rng = np.random.default_rng(seed)
    still = render(seed, (264, 264)).image
    for _ in range(_FRAMES):
        down, right = rng.integers(3, 6, 2)
        frame = still[down : down + 256, right : right + 256] + rng.normal(0, 1.5, (256, 256, 3))
        yield np.clip(np.rint(frame), 0, 255).astype(np.uint8)


def _cuts(seed: int) -> Iterator[Array]:
    return (render(seed + i).image for i in range(_FRAMES))


_STREAMS = {"drive": _drive, "hand": _hand, "cuts": _cuts}


def _sizes(codec: DeltaCodec, frames: list[tuple[Array, ...]], level: int) -> tuple[int, int]:
    """Bytes with key frames only, and with `delta`."""
    memory, reference = SymbolMemory(), None
    key = delta = 0
    for tensors in frames:
        payload, symbols = codec.encode_frame(tensors, level, reference)
        codec.decode_frame(payload, level, memory)
        decoded = memory.last() or ()
        assert all(np.array_equal(a, b) for a, b in zip(symbols, decoded, strict=True))
        reference = symbols
        # A codec without streams has no first byte.
        key += len(codec.encode(tensors, level)) - 1
        delta += len(payload)
    return key, delta


def run() -> dict[str, Any]:
    """Measures; see the module's docstring."""
    rows = []
    with as_file(files("cutpoint.demo").joinpath("scenes.cutpoint")) as path:
        bundle = Bundle.open(path)
        graphs = BundleGraphs(bundle, [create_runtime("onnx")])
        how = bundle.manifest.preprocessing
        assert how is not None
        pictures = {
            name: [to_boundary0(frame, how) for k in range(3) for frame in make(_SEED + 1000 * k)]
            for name, make in _STREAMS.items()
        }
        for entry in bundle.manifest.codecs:
            codec = graphs.codec(entry.id)
            if not isinstance(codec, DeltaCodec):
                continue
            # A codec that starts at the picture needs no head.
            head = graphs.span(0, entry.start, "fp32").run if entry.start else tuple
            for name, frames in pictures.items():
                tensors = [head([frame]) for frame in frames]
                for level in range(len(entry.levels)):
                    # Three streams of each kind, one after the other: each begins with a cut.
                    key, delta = _sizes(codec, tensors, level)
                    row = {"codec": entry.id, "level": entry.levels[level], "stream": name}
                    rows.append(row | {"key": key / len(frames), "delta": delta / len(frames)})
    return {"frames": _FRAMES, "rows": rows}


def table(result: dict[str, Any]) -> Table:
    """A row a codec and level, a column a stream."""
    shown = Table("codec", "level", *(f"{name}: key → delta" for name in _STREAMS))
    by_level: dict[tuple[str, str], list[str]] = {}
    for row in result["rows"]:
        change = 100 * (row["delta"] / row["key"] - 1)
        cell = f"{row['key']:,.0f} → {row['delta']:,.0f} ({change:+.0f} %)"
        by_level.setdefault((row["codec"], row["level"]), []).append(cell)
    for (codec, level), cells in by_level.items():
        shown.add_row(codec, level, *cells)
    return shown
