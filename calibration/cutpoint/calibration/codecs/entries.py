"""Codecs of a bundle: which go where, and what the calibration data makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import onnx

from cutpoint.calibration.codecs.affine import LEVELS, build_affine, channel_rows, fit_ranges, symbol_spec
from cutpoint.codecs import Array, EntropyModel, TensorSpec, pack_tables
from cutpoint.sdk.bundle import Boundary, CodecEntry, GraphFile, Part

__all__ = ["FittedCodec", "fit_affine", "on_servers", "picture_codec", "raw_codec", "symbol_codec"]

#: Quality of the picture codecs' levels, from "recognisable" to "as the camera made it".
_QUALITY = (10, 30, 60, 85, 95)
#: Values of a boundary that fitting holds in memory at most, all samples together (float32: 1 GB).
_FIT_VALUES = 2**28


class FittedCodec(msgspec.Struct, frozen=True):
    """A codec entry and its files.

    Attributes:
        entry: for the manifest.
        files: path in the bundle → (which machine needs it, content).
    """

    entry: CodecEntry
    files: dict[str, tuple[Part, bytes]] = {}


def symbol_codec(
    codec: str,
    start: Boundary,
    end: Boundary,
    levels: Sequence[str],
    symbols: Sequence[TensorSpec],
    graphs: tuple[onnx.ModelProto, onnx.ModelProto],
    models: Sequence[Sequence[EntropyModel]],
) -> FittedCodec:
    """A codec with symbols.

    Args:
        codec: id in the registry.
        start: boundary whose tensors the encoder takes.
        end: boundary whose tensors the decoder gives.
        levels: names.
        symbols: tensors between encoder graph and entropy coder.
        graphs: encoder and decoder.
        models: of each symbol tensor at each level, (symbols, levels).
    """
    stem = f"codecs/{start.index}-{codec}"
    encoder, decoder, tables = f"{stem}.enc.onnx", f"{stem}.dec.onnx", f"{stem}.tables"
    entry = CodecEntry(
        id=f"{start.index}-{codec}",
        codec=codec,
        start=start.index,
        end=end.index,
        levels=tuple(levels),
        symbols=tuple(symbols),
        encoder=(GraphFile("onnx", encoder),),
        decoder=(GraphFile("onnx", decoder),),
        tables=tables,
    )
    rows = [[tensor[level] for tensor in models] for level in range(len(levels))]
    files: dict[str, tuple[Part, bytes]] = {
        encoder: ("device", graphs[0].SerializeToString(deterministic=True)),
        decoder: ("server", graphs[1].SerializeToString(deterministic=True)),
        tables: ("both", pack_tables(rows)),
    }
    return FittedCodec(entry, files)


def on_servers(codec: FittedCodec) -> FittedCodec:
    """The codec, its ONNX encoder for servers, too: those with a next tier write payloads themselves."""
    encoders = {graph.file for graph in codec.entry.encoder if graph.format == "onnx"}
    files: dict[str, tuple[Part, bytes]] = {
        path: ("both" if path in encoders else part, data) for path, (part, data) in codec.files.items()
    }
    return msgspec.structs.replace(codec, files=files)


def raw_codec(boundary: Boundary) -> FittedCodec:
    """`raw`, exact, and at half precision where any of the tensors are single precision."""
    halves = any(spec.dtype in ("float32", "float64") for spec in boundary.tensors)
    levels = ("fp16", "exact") if halves else ("exact",)
    return FittedCodec(CodecEntry(f"{boundary.index}-raw", "raw", boundary.index, boundary.index, levels))


def picture_codec(boundary: Boundary, codec: str) -> FittedCodec:
    """`jpeg` or `webp` at boundary 0."""
    config: dict[str, Any] = {"quality": list(_QUALITY)}
    if codec == "webp":
        # On a device the encoder's time counts: method 2 takes half of Pillow's default and costs a twentieth in bytes.
        config["method"] = 2
    levels = tuple(f"q{quality}" for quality in _QUALITY)
    return FittedCodec(
        CodecEntry(f"{boundary.index}-{codec}", codec, boundary.index, boundary.index, levels, config=config)
    )


def fit_affine(boundary: Boundary, samples: Sequence[Sequence[Array]]) -> FittedCodec:
    """`affine` with ranges and entropy tables from calibration data.

    Args:
        boundary: of float tensors.
        samples: the boundary's tensors for each calibration sample.
    """
    size = sum(spec.size for spec in boundary.tensors)
    samples = samples[: max(1, _FIT_VALUES // size)]
    bits = tuple(LEVELS.values())
    ranges, models = [], []
    for number, spec in enumerate(boundary.tensors):
        rows = np.stack([channel_rows(spec, sample[number]) for sample in samples]).astype(np.float32, copy=False)
        fit = fit_ranges(rows.swapaxes(0, 1).reshape(rows.shape[1], -1), bits)
        ranges.append(fit)
        models.append([EntropyModel.fit(symbols) for symbols in _symbols(rows, fit.low, fit.step, fit.top)])
    graphs = build_affine(boundary.tensors, ranges)
    symbols = [symbol_spec(spec) for spec in boundary.tensors]
    halves = graphs.encoder, graphs.decoder
    return symbol_codec("affine", boundary, boundary, tuple(LEVELS), symbols, halves, models)


def _symbols(rows: Array, lows: Array, steps: Array, tops: Sequence[int]) -> Iterator[Array]:
    """The symbols (samples, channels, positions) of each level, as the encoder graph makes them."""
    for low, step, top in zip(lows, steps, tops, strict=True):
        yield np.clip(np.rint((rows - low[:, None]) / step[:, None]), 0, top).astype(np.uint8)
