"""The `affine` codec: uniform quantisation per channel, its ranges from calibration data.

A value x of channel c becomes the symbol ``q = clip(round((x - low[c]) / step[c]), 0, 2**bits - 1)`` and comes back as
``q * step[c] + low[c]``. Both directions are graphs; `level` picks the row of ranges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from cutpoint.calibration.codecs.graph_halves import GraphBuilder
from cutpoint.codecs import Array, TensorSpec

__all__ = ["LEVELS", "AffineGraphs", "Ranges", "build_affine", "channel_rows", "fit_ranges", "symbol_spec"]

#: Level name → bits, the smallest first.
LEVELS = {"4bit": 4, "6bit": 6, "8bit": 8}
#: Shrunken ranges that `fit_ranges` tries, as shares of the range seen. Clipping rare values buys finer steps.
_SHRINK = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)
#: Values per channel that the choice is made on: enough for a mean squared error, little enough for seconds.
_SAMPLE = 4096


@dataclass(frozen=True)
class Ranges:
    """Quantisation of one tensor at every level.

    Attributes:
        low: float32 (levels, channels), the value of symbol 0.
        step: float32 (levels, channels), above 0.
        top: the highest symbol of each level.
    """

    low: Array
    step: Array
    top: tuple[int, ...]


@dataclass(frozen=True)
class AffineGraphs:
    """The two halves of the codec at one boundary, and the symbols between them."""

    encoder: onnx.ModelProto
    decoder: onnx.ModelProto
    symbols: tuple[TensorSpec, ...]


def _channels_behind(spec: TensorSpec) -> bool:
    """Whether the last axis is the channels: (1, tokens, channels)."""
    return len(spec.shape) == 3


def symbol_spec(spec: TensorSpec) -> TensorSpec:
    """The symbol tensor for a boundary's tensor: uint8, channels on axis 1."""
    shape = (spec.shape[0], spec.shape[2], spec.shape[1]) if _channels_behind(spec) else spec.shape
    return TensorSpec(f"{spec.name}/symbols", shape, "uint8")


def channel_rows(spec: TensorSpec, tensor: Array) -> Array:
    """`tensor` as (channels, positions), in the order of its symbols."""
    if _channels_behind(spec):
        tensor = tensor.swapaxes(1, 2)
    channels = tensor.shape[1] if tensor.ndim > 1 else 1
    return tensor.reshape(channels, -1)


def fit_ranges(rows: Array, bits: Sequence[int]) -> Ranges:
    """The range of each channel at each level with the least mean squared error among shrunken ones.

    Args:
        rows: float (channels, values) from calibration data.
        bits: of each level.
    """
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    low, high = rows.min(axis=1), rows.max(axis=1)
    stride = max(1, rows.shape[1] // _SAMPLE)
    # The extremes stay in the sample: they are what shrinking costs.
    sample = np.concatenate([rows[:, ::stride], low[:, None], high[:, None]], axis=1)
    lows, steps, tops = [], [], []
    for width in bits:
        top = 2**width - 1
        best_error = np.full(low.shape, np.inf)
        best_low, best_step = low.copy(), np.ones_like(low)
        for share in _SHRINK:
            # Shrink towards zero, or towards the nearer end where the range does not hold it: the anchor is the value
            # that networks put most weight on.
            anchor = np.clip(0, low, high)
            bottom, ceiling = anchor + (low - anchor) * share, anchor + (high - anchor) * share
            step = np.maximum((ceiling - bottom) / top, np.float32(1e-12)).astype(np.float32)
            symbols = np.clip(np.rint((sample - bottom[:, None]) / step[:, None]), 0, top)
            error = np.square(symbols * step[:, None] + bottom[:, None] - sample).mean(axis=1)
            better = error < best_error
            best_error = np.where(better, error, best_error)
            best_low, best_step = np.where(better, bottom, best_low), np.where(better, step, best_step)
        lows.append(best_low)
        steps.append(best_step)
        tops.append(top)
    return Ranges(np.stack(lows).astype(np.float32), np.stack(steps).astype(np.float32), tuple(tops))


def build_affine(specs: Sequence[TensorSpec], ranges: Sequence[Ranges]) -> AffineGraphs:
    """Encoder and decoder graph of a boundary.

    Args:
        specs: the boundary's tensors, float.
        ranges: of each tensor.
    """
    symbols = tuple(symbol_spec(spec) for spec in specs)
    encoder, decoder = GraphBuilder(), GraphBuilder()
    for number, (spec, symbol, fit) in enumerate(zip(specs, symbols, ranges, strict=True)):
        _encode(encoder, f"t{number}", spec, symbol, fit)
        _decode(decoder, f"t{number}", spec, symbol, fit)
    return AffineGraphs(encoder.model(specs, symbols), decoder.model(symbols, specs, batch=True), symbols)


def _side(spec: TensorSpec) -> list[int]:
    """Shape of a per-channel constant that goes with the tensor, without the batch axis."""
    if _channels_behind(spec):
        return [1, spec.shape[2]]
    return [spec.shape[1], *(1 for _ in spec.shape[2:])] if len(spec.shape) > 1 else [1]


def _encode(graph: GraphBuilder, key: str, spec: TensorSpec, symbol: TensorSpec, fit: Ranges) -> None:
    value = spec.name
    if spec.dtype != "float32":
        value = graph.add("Cast", [value], f"{key}/float", to=TensorProto.FLOAT)
    # x * (1 / step) + (-low / step): the table of the second holds what is added, so that one pass less is needed.
    inverse = (1.0 / fit.step.astype(np.float64)).astype(np.float32)
    shift = (-fit.low.astype(np.float64) / fit.step.astype(np.float64)).astype(np.float32)
    value = graph.add("Mul", [value, graph.row(f"{key}/gain", inverse, _side(spec))], f"{key}/scaled")
    value = graph.add("Add", [value, graph.row(f"{key}/shift", shift, _side(spec))], f"{key}/shifted")
    value = graph.add("Round", [value], f"{key}/rounded")
    zero = graph.constant(f"{key}/zero", np.array(0, np.float32))
    tops = graph.constant(f"{key}/tops", np.array(fit.top, np.float32))
    top = graph.add("Gather", [tops, "level"], f"{key}/top", axis=0)
    value = graph.add("Clip", [value, zero, top], f"{key}/clipped")
    if _channels_behind(spec):
        value = graph.add("Cast", [value], f"{key}/small", to=TensorProto.UINT8)
        graph.add("Transpose", [value], symbol.name, perm=[0, 2, 1])
    else:
        graph.add("Cast", [value], symbol.name, to=TensorProto.UINT8)


def _decode(graph: GraphBuilder, key: str, spec: TensorSpec, symbol: TensorSpec, fit: Ranges) -> None:
    value = symbol.name
    if _channels_behind(spec):
        value = graph.add("Transpose", [value], f"{key}/tokens", perm=[0, 2, 1])
    value = graph.add("Cast", [value], f"{key}/float", to=TensorProto.FLOAT)
    value = graph.add("Mul", [value, graph.row(f"{key}/step", fit.step, _side(spec))], f"{key}/scaled")
    low = graph.row(f"{key}/low", fit.low, _side(spec))
    if spec.dtype == "float32":
        graph.add("Add", [value, low], spec.name)
        return
    value = graph.add("Add", [value, low], f"{key}/value")
    graph.add("Cast", [value], spec.name, to=helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype)))
