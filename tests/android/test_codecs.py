"""The bridge's codecs write the payloads that this SDK's do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cutpoint.codecs import (
    Array,
    CodecParts,
    DeltaCodec,
    EntropyModel,
    TensorSpec,
    codec_ids,
    create_codec,
    pack_tables,
)

from . import jvm


def identity(tensors: Sequence[Array], level: int) -> tuple[Array, ...]:
    return tuple(tensors)


def case(codec: str, parts: CodecParts, level: int, tensors: Sequence[Array], reference: Sequence[Array]) -> bytes:
    described = [{"dtype": tensor.dtype.name, "shape": list(tensor.shape)} for tensor in tensors]
    head = {"codec": codec, "levels": list(parts.levels), "level": level, "tensors": described}
    data = [jvm.block(json.dumps(head).encode()), jvm.block(parts.tables)]
    for number, tensor in enumerate(tensors):
        before = reference[number].tobytes() if reference else b""
        data += [jvm.block(tensor.tobytes()), jvm.block(before)]
    return b"".join(data)


def symbol_parts(rng: np.random.Generator, rows: int, dtypes: Sequence[str]) -> CodecParts:
    specs = tuple(
        TensorSpec(f"symbols{number}", (1, int(rng.integers(1, 6)), int(rng.integers(1, 9)), 4), dtype)
        for number, dtype in enumerate(dtypes)
    )
    signed = {"uint8": "int8", "uint16": "int16"}
    models = []
    for row in range(2 * rows):
        kinds = dtypes if row < rows else [signed.get(dtype, dtype) for dtype in dtypes]
        fits = [(draw(rng, (spec.shape[1], 32), kind)) for spec, kind in zip(specs, kinds, strict=True)]
        models.append([EntropyModel.fit(symbols) for symbols in fits])
    levels = tuple(f"q{row}" for row in range(rows))
    return CodecParts(specs, specs, levels, specs, tables=pack_tables(models), analysis=identity)


def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    limits = np.iinfo(dtype)
    middle = 0 if limits.min < 0 else 100
    return np.clip(np.rint(rng.laplace(0, 2, shape)) + middle, limits.min, limits.max).astype(dtype)


def test_every_codec_is_known(tmp_path: Path) -> None:
    ids = (*codec_ids(), "no-such-codec")
    known = [word.decode() for word in jvm.transform("codec.KnownCodecs", (name.encode() for name in ids), tmp_path)]
    expected = {"jpeg": "pictures", "webp": "pictures", "no-such-codec": "never"}
    assert dict(zip(ids, known, strict=True)) == {name: expected.get(name, "always") for name in ids}


def test_streams_refer_to_earlier_frames(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    cases, expected = [], []
    for number in range(300):
        parts = symbol_parts(rng, 2, [["int8"], ["uint8", "int16"], ["uint16", "int32", "int8"]][number % 3])
        codec, level = DeltaCodec(parts), int(rng.integers(2))
        tensors = [draw(rng, spec.shape, spec.dtype) for spec in parts.symbols]
        reference = []
        if number % 4:
            changed = [rng.random(tensor.shape) < 0.2 for tensor in tensors]
            reference = [
                np.where(mask, draw(rng, tensor.shape, tensor.dtype.name), tensor)
                for mask, tensor in zip(changed, tensors, strict=True)
            ]
        cases.append(case("delta", parts, level, tensors, reference))
        expected.append(codec.encode_frame(tensors, level, tuple(reference) or None)[0])
    assert {payload[0] for payload in expected} == {0, 1}
    assert jvm.transform("codec.Payloads", cases, tmp_path) == expected


def test_symbols_of_several_tensors(tmp_path: Path) -> None:
    rng = np.random.default_rng(10)
    cases, expected = [], []
    for number in range(100):
        parts = symbol_parts(rng, 1, ["int8"] * (1 + number % 3))
        one = CodecParts(parts.source, parts.target, parts.levels, parts.symbols, tables=half(parts), analysis=identity)
        tensors = [draw(rng, spec.shape, spec.dtype) for spec in parts.symbols]
        cases.append(case("klt", one, 0, tensors, []))
        expected.append(create_codec("klt", one).encode(tensors, 0))
    assert jvm.transform("codec.Payloads", cases, tmp_path) == expected


def half(parts: CodecParts) -> bytes:
    """The tables of the levels alone, without those for differences."""
    models = DeltaCodec(parts)._models
    return pack_tables(models[: len(parts.levels)])


def test_raw_values_and_half_precision(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    special = [0.0, -0.0, np.inf, -np.inf, 65504, 65519.99, 65520, 6e-8, 2.98e-8, 2.9802322e-8, 6.1e-5, 1e-40, 2049]
    bits = rng.integers(0, 2**32, 20_000, dtype=np.uint64).astype(np.uint32).view(np.float32)
    values = np.concatenate([np.array(special, np.float32), bits[~np.isnan(bits)]])
    spec = TensorSpec("features", values.shape, "float32")
    parts = CodecParts((spec,), (spec,), ("fp16", "exact"))
    codec = create_codec("raw", parts)
    with np.errstate(over="ignore"):
        expected = [codec.encode([values], level) for level in (0, 1)]
    cases = [case("raw", parts, level, [values], []) for level in (0, 1)]
    assert jvm.transform("codec.Payloads", cases, tmp_path) == expected
