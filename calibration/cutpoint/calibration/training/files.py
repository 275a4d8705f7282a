"""The bundle's entry and files of a trained codec."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cutpoint.calibration.codecs.entries import FittedCodec, symbol_codec
from cutpoint.calibration.training.bottleneck import Bottleneck
from cutpoint.calibration.training.graphs import build_bottleneck
from cutpoint.calibration.training.loop import Curves
from cutpoint.codecs import Array, EntropyModel, TensorSpec
from cutpoint.sdk.bundle import Boundary, Part

__all__ = ["write_trained"]

#: Values that entropy tables are fitted to at most, per level.
_TABLE_VALUES = 2**24
_CHUNK = 32


def write_trained(
    start: Boundary, end: Boundary, module: Bottleneck, features: Sequence[Tensor], curves: Curves
) -> FittedCodec:
    """Graphs, entropy tables and loss curves.

    Args:
        start: boundary where the codec starts.
        end: boundary where it ends.
        module: trained, on the processor.
        features: tensors of the start boundary (samples, …) that the tables are fitted to.
        curves: of the training.
    """
    levels = module.family.levels
    sizes = [code.components * code.plane.rows.side * code.plane.columns.side for code in module.codes]
    count = max(1, min(len(features[0]), _TABLE_VALUES // sum(sizes)))
    found = [_symbols(module, [tensor[:count] for tensor in features], level) for level in range(len(levels))]
    specs, models = [], []
    for number, code in enumerate(module.codes):
        largest = max(int(np.abs(planes[number]).max()) for planes in found)
        # Room for what training did not see.
        dtype = np.dtype(np.int8 if largest < 64 else np.int16)
        shape = (1, code.components, *code.plane.shape[1:])
        specs.append(TensorSpec(f"{code.plane.name}/symbols", shape, dtype.name))
        tables = []
        for planes in found:
            values: npt.NDArray[Any] = planes[number].astype(dtype.type)
            contexts = code.with_contexts(values.astype(np.float32)).context_map.reshape(code.components, -1)
            tables.append(EntropyModel.fit(values.reshape(len(values), code.components, -1), index=contexts))
        models.append(tables)
    graphs = build_bottleneck(module, specs, end.tensors)
    fitted = symbol_codec(module.family.codec, start, end, levels, specs, graphs, models)
    report: dict[str, tuple[Part, bytes]] = {
        f"report/{module.family.codec}-{start.index}.json": ("report", json.dumps(curves, sort_keys=True).encode())
    }
    return msgspec.structs.replace(fitted, files=fitted.files | report)


def _symbols(module: Bottleneck, features: Sequence[Tensor], level: int) -> list[Array]:
    """Symbols of each plane at a level, int16 (samples, components, height, width)."""
    parts = []
    with torch.no_grad():
        for which in torch.split(torch.arange(len(features[0])), _CHUNK):
            symbols = module.symbols([tensor[which].float() for tensor in features], level)
            parts.append([plane.to(torch.int16).numpy() for plane in symbols])
    return [np.concatenate(planes) for planes in zip(*parts, strict=True)]
