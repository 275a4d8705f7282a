"""Makes a symbol codec one for streams: `delta`, with tables for the differences between neighbouring frames.

Calibration data are single pictures, so the frames are made: each picture is moved by a pixel or two, as a camera in
the hand or on a slow car moves it, and gets a little sensor noise. The graphs stay as they are; only tables are added.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from cutpoint.calibration.codecs.entries import FittedCodec
from cutpoint.codecs import Array, EntropyModel, TensorSpec, difference, pack_tables, unpack_tables
from cutpoint.sdk.bundle import Part
from cutpoint.sdk.runtimes import Graph, create_runtime

__all__ = ["for_streams", "neighbour"]

#: Pixels that a picture moves between two frames, at most; and the standard deviation of the noise, in grey values.
_MOVE, _NOISE = 2, 1.5


def neighbour(picture: Array, rng: np.random.Generator) -> Array:
    """The frame that might come after `picture`.

    Args:
        picture: uint8 (1, height, width, 3).
        rng: decides where it moves.
    """
    down, right = (int(n) for n in rng.integers(-_MOVE, _MOVE + 1, 2))
    padded = np.pad(picture[0], ((_MOVE, _MOVE), (_MOVE, _MOVE), (0, 0)), mode="edge")
    height, width = picture.shape[1:3]
    moved = padded[_MOVE + down : _MOVE + down + height, _MOVE + right : _MOVE + right + width]
    noisy = moved + rng.normal(0.0, _NOISE, moved.shape)
    frame: Array = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)[np.newaxis]
    return frame


def for_streams(codec: FittedCodec, frames: Sequence[tuple[Sequence[Array], Sequence[Array]]]) -> FittedCodec:
    """`codec` as a `delta` codec; its id stays.

    Args:
        codec: a fitted symbol codec.
        frames: pairs of neighbouring frames: the tensors of the codec's start boundary for each.
    """
    entry = codec.entry
    assert entry.tables is not None, "only codecs with symbols are made codecs for streams"
    (file,) = (graph for graph in entry.encoder if graph.format == "onnx")
    graph = create_runtime("onnx").load(codec.files[file.file][1], {})
    part, tables = codec.files[entry.tables]
    intra = unpack_tables(tables, len(entry.levels), len(entry.symbols))
    rows = [list(row) for row in intra]
    for level, row in enumerate(intra):
        pairs = [(_symbols(graph, a, level), _symbols(graph, b, level)) for a, b in frames]
        changes = [difference(b, a) for a, b in pairs]
        rows.append(
            [
                # What is alike in single frames is alike in differences: contexts stay as they are.
                EntropyModel.fit(np.stack([_plane(spec, change[i]) for change in changes]), index=model.table_map)
                for i, (spec, model) in enumerate(zip(entry.symbols, row, strict=True))
            ]
        )
    files: dict[str, tuple[Part, bytes]] = codec.files | {entry.tables: (part, pack_tables(rows))}
    wrapped = msgspec.structs.replace(entry, codec="delta", config=entry.config | {"of": entry.codec})
    return FittedCodec(wrapped, files)


def _symbols(graph: Graph, tensors: Sequence[Array], level: int) -> tuple[Array, ...]:
    takes_level = "level" in graph.input_names
    symbols: tuple[Array, ...] = graph.run([*tensors, np.array(level, dtype=np.int64)] if takes_level else tensors)
    return symbols


def _plane(spec: TensorSpec, values: Array) -> Array:
    """(1, channels, …) as the entropy coder sees it."""
    plane: Array = values.reshape(spec.shape[1] if len(spec.shape) > 1 else 1, -1)
    return plane
