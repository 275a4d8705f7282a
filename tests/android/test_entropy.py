"""The bridge's entropy coder and this one, on random tensors, both ways."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tests.codecs.test_rans import random_case

from cutpoint.codecs._tables import DTYPES
from cutpoint.codecs.entropy import EntropyModel

from . import jvm

TENSORS = 100_000
PER_MODEL = 500
TYPES = ("int8", "uint8", "int16", "uint16", "int32")

Symbols = npt.NDArray[np.integer]


def draw(rng: np.random.Generator, dtype: str, shape: tuple[int, int], scale: float) -> Symbols:
    """Laplacian symbols, with a tail that needs escapes now and then, in any part of the type's range."""
    limits = np.iinfo(dtype)
    values = rng.laplace(0, scale, shape) * np.where(rng.random(shape) < 0.01, 300, 1)
    middle = 0 if limits.min < 0 else 128
    return np.clip(np.rint(values) + middle, limits.min, limits.max).astype(dtype)


def exchange(groups: list[tuple[EntropyModel, list[Symbols]]], folder: Path) -> None:
    """Each side decodes what the other encoded, and both encode alike."""
    parts, streams = [struct.pack(">I", len(groups))], []
    for model, tensors in groups:
        parts += [jvm.block(model.to_bytes()), struct.pack(">I", len(tensors))]
        for symbols in tensors:
            streams.append(model.encode(symbols))
            parts += [struct.pack(">II", *symbols.shape), jvm.block(symbols.tobytes()), jvm.block(streams[-1])]
    (folder / "tensors").write_bytes(b"".join(parts))

    jvm.run("interop.EntropyExchange", folder / "tensors", folder / "streams")

    theirs = jvm.blocks((folder / "streams").read_bytes())
    sent = [(model, symbols) for model, tensors in groups for symbols in tensors]
    for (model, symbols), ours, stream in zip(sent, streams, theirs, strict=True):
        assert stream == ours
        assert np.array_equal(model.decode(stream, symbols.shape), symbols)


def test_random_tensors_cross_both_ways(tmp_path: Path) -> None:
    rng = np.random.default_rng(20)
    groups: list[tuple[EntropyModel, list[Symbols]]] = []
    for number in range(TENSORS // PER_MODEL):
        dtype = TYPES[number % len(TYPES)]
        channels, positions = int(rng.integers(1, 12)), int(rng.integers(1, 60))
        scale = np.exp(rng.uniform(-3, 3, (channels, 1)))
        by_position = rng.integers(0, 5, (channels, positions)) if number % 3 == 0 else None
        model = EntropyModel.fit(draw(rng, dtype, (20, channels, positions), scale), index=by_position)
        widths = [positions if by_position is not None else int(rng.integers(0, 90)) for _ in range(PER_MODEL)]
        tensors = [draw(rng, dtype, (channels, width), scale * rng.uniform(0.5, 2)) for width in widths]
        groups.append((model, tensors))
    assert sum(len(tensors) for _, tensors in groups) == TENSORS
    exchange(groups, tmp_path)


def test_random_tables_cross_both_ways(tmp_path: Path) -> None:
    rng = np.random.default_rng(21)
    groups = []
    for seed in range(3000):
        positions = int(rng.integers(0, 40 if seed % 2 else 1500))
        model, symbols = random_case(seed, DTYPES[seed % len(DTYPES)], int(rng.integers(1, 9)), positions)
        groups.append((model, [symbols]))
    exchange(groups, tmp_path)
