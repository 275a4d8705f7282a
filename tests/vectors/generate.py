"""Write the golden vectors: ``python -m tests.vectors.generate`` from the repository's root.

Once written they bind every implementation; a change of an existing file is a change of the format.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from tests.vectors.vectors import FOLDER, Vector

from cutpoint.codecs._tables import Tables
from cutpoint.codecs.entropy import EntropyModel

Symbols = npt.NDArray[np.integer[Any]]


def laplace(shape: tuple[int, int], scale: float, dtype: str = "int8", seed: int = 0) -> Symbols:
    """Rounded Laplacian numbers whose scale falls with the channel."""
    rng = np.random.default_rng(seed)
    scales = scale * np.exp(-np.arange(shape[0]) / max(shape[0] / 3, 1))
    values = np.rint(rng.laplace(0, 1, shape) * scales[:, None])
    limits = np.iinfo(dtype)
    return np.clip(values + (40 if limits.min == 0 else 0), limits.min, limits.max).astype(dtype)


def with_table(freq: dict[int, int], map_: npt.ArrayLike, *, origin: int = 0, dtype: str = "int8", rate: int = 4096):
    """A model with one hand-made table: entry → frequency, the rest of the 4096 being the escape's."""
    row = np.zeros(256, np.uint16)
    for entry, frequency in freq.items():
        row[entry] = frequency
    row[0] = 4096 - int(row.sum())
    return EntropyModel(Tables(row[None], origin, np.dtype(dtype)), np.asarray(map_, np.uint8), rate)


def accepted() -> dict[str, tuple[EntropyModel, Symbols]]:
    """Models and symbols whose streams the encoder writes."""
    out: dict[str, tuple[EntropyModel, Symbols]] = {}
    # Every lane count; a rate of 8 bits makes the number of symbols decide, and 13 more leave a partial step.
    for log2 in range(9):
        symbols = laplace((1, (32 << log2) + 13), 6, seed=log2)
        fitted = EntropyModel.fit(symbols)
        out[f"lanes-{1 << log2:03}"] = EntropyModel(fitted._tables, fitted._map, 65535), symbols
    out["lanes-256-whole-steps"] = _with_rate(EntropyModel.fit(laplace((8, 2048), 5)), 65535), laplace((8, 2048), 5)
    out["lanes-016-few-words"] = with_table({1: 4000, 2: 90}, [0], rate=65535), np.zeros((1, 700), np.int8)
    for positions in (0, 1, 2, 31, 63, 64, 65):
        model = EntropyModel.fit(laplace((1, 400), 3))
        out[f"symbols-{positions:02}"] = model, laplace((1, positions), 3, seed=positions)
    for dtype in ("int8", "uint8", "int16", "uint16", "int32"):
        symbols = laplace((4, 300), 9, dtype)
        out[f"type-{dtype}"] = EntropyModel.fit(symbols), symbols
        limits = np.iinfo(dtype)
        strays = symbols.copy()
        strays[:, ::37] = limits.max
        strays[1, ::41] = limits.min
        strays[2, 5] = limits.max // 2
        out[f"escapes-{dtype}"] = EntropyModel.fit(symbols), strays
    out["escapes-only"] = with_table({1: 4000}, [0], origin=7), laplace((1, 100), 5)
    out["escapes-wide"] = EntropyModel.fit(laplace((2, 500), 2, "int16")), laplace((2, 500), 4000, "int16", 3)
    out["escapes-holes"] = with_table({1: 1000, 3: 2000, 5: 1000}, [0], origin=-2), laplace((1, 333), 2)

    zero = np.zeros((3, 200), np.int8)
    out["silent-all"] = EntropyModel.fit(zero), zero
    stray = zero.copy()
    stray[1, 77] = -3
    out["silent-all-dense"] = EntropyModel.fit(zero), stray
    some = laplace((6, 150), 4)
    some[1::2] = 0
    some[3] = 5
    out["silent-some"] = EntropyModel.fit(some), some
    stray = some.copy()
    stray[3, 149] = 6
    out["silent-some-dense"] = EntropyModel.fit(some), stray
    index = np.add.outer(np.arange(5), np.arange(120) // 7) % 4
    zoned = laplace((5, 120), 8)
    zoned[index == 2] = 0
    out["silent-by-position"] = EntropyModel.fit(zoned, index=index), zoned
    out["silent-at-the-ends"] = (
        EntropyModel.fit(np.pad(laplace((3, 90), 8), ((1, 1), (0, 0)))),
        np.pad(laplace((3, 90), 8, seed=4), ((1, 1), (0, 0))),
    )

    big = laplace((12, 900), 12, seed=9)
    out["by-position"] = EntropyModel.fit(big, index=np.arange(900 * 12).reshape(12, 900) % 11), big
    out["by-channel-any-size"] = EntropyModel.fit(big), big[:, :333].copy()
    rng = np.random.default_rng(5)
    out["uniform-int8"] = _with_fit(rng.integers(-128, 128, (2, 2000)).astype(np.int8))
    out["uniform-uint8"] = _with_fit(rng.integers(0, 256, (2, 2000)).astype(np.uint8))
    out["skewed"] = _with_fit((rng.random((1, 5000)) < 0.002).astype(np.int8))
    out["skewed-two-sided"] = _with_fit(
        ((rng.random((2, 3000)) < 0.03) * rng.integers(-1, 2, (2, 3000))).astype(np.int16)
    )
    ones = {entry: 1 for entry in range(2, 256)}
    out["frequency-one"] = (
        with_table({1: 3000, **ones}, [0], origin=-20, dtype="int16"),
        laplace((1, 600), 14, "int16"),
    )
    out["frequency-4094"] = with_table({1: 4094, 2: 1}, [0]), (rng.random((1, 900)) < 0.01).astype(np.int8)
    many = np.zeros((256, 256), np.uint16)
    many[:, 0] = 1
    many[:, 1:17] = 250
    many[np.arange(256), 1 + np.arange(256) % 16] += 95
    model = EntropyModel(Tables(many, 0, np.dtype(np.uint8)), np.arange(256, dtype=np.uint8), 4096)
    out["tables-256"] = model, rng.integers(0, 16, (256, 9)).astype(np.uint8)
    return out


def _with_fit(symbols: Symbols) -> tuple[EntropyModel, Symbols]:
    return EntropyModel.fit(symbols), symbols


def _with_rate(model: EntropyModel, rate: int) -> EntropyModel:
    return EntropyModel(model._tables, model._map, rate)


def refused() -> dict[str, tuple[EntropyModel, tuple[int, int], bytes]]:
    """Models, shapes and streams that a decoder must refuse, each for one reason."""
    symbols = laplace((2, 400), 5)
    model = EntropyModel.fit(symbols)
    shape = (2, 400)
    good = model.encode(symbols, coder="numpy")
    strays = symbols.copy()
    strays[0, 3] = 100
    escaped = model.encode(strays, coder="numpy")
    zero = EntropyModel.fit(np.zeros((2, 50), np.int8))
    one_lane = EntropyModel.fit(laplace((1, 400), 3))
    streams = (one_lane.encode(laplace((1, 20), 3, seed=seed), coder="numpy") for seed in range(20))
    tiny = next(stream for stream in streams if stream[0] == 0 and stream[1] < 0x80)  # one lane, a short state
    assert escaped[0] & 0x20
    flipped = bytearray(good)
    flipped[-9] ^= 0x10
    return {
        "empty": (model, shape, b""),
        "cut-short": (model, shape, good[:-2]),
        "cut-odd": (model, shape, good[:-1]),
        "cut-in-states": (model, shape, good[:4]),
        "word-too-many": (model, shape, good + b"\0\0"),
        "version-1": (model, shape, bytes([good[0] | 0x40]) + good[1:]),
        "dense-without-silent": (model, shape, bytes([good[0] | 0x10]) + good[1:]),
        "lanes-too-many": (model, shape, bytes([6]) + good[1:]),
        "lanes-512": (model, (2, 40000), bytes([9]) + good[1:]),
        "flipped-bit": (model, shape, bytes(flipped)),
        "escapes-missing": (model, shape, bytes([escaped[0] & ~0x20]) + escaped[2:-2]),
        "escapes-length-zero": (model, shape, bytes([good[0] | 0x20, 0]) + good[1:]),
        "escapes-unused": (model, shape, bytes([good[0] | 0x20, 1]) + good[1:] + b"\2"),
        "escapes-overlong-varint": (
            model,
            shape,
            bytes([escaped[0], 3]) + escaped[2:-1] + bytes([escaped[-1] | 128, 0]),
        ),
        "escapes-beyond-type": (model, shape, escaped[:-1] + b"\x03"),
        "state-too-small": (one_lane, (1, 20), b"\0\0\x7f\xff" + tiny[4:]),
        "state-four-bytes-for-three": (one_lane, (1, 20), b"\0\x80" + tiny[1:]),
        "silent-with-bytes": (zero, (2, 50), b"\0\0"),
    }


def main() -> None:
    """Write all vectors."""
    for name, (model, symbols) in accepted().items():
        stream = model.encode(symbols, coder="numpy")
        vector = Vector(model.to_bytes(), (symbols.shape[0], symbols.shape[1]), symbols, stream)
        (FOLDER / f"{name}.vec").write_bytes(vector.to_bytes())
    for name, (model, shape, stream) in refused().items():
        (FOLDER / f"refused-{name}.vec").write_bytes(Vector(model.to_bytes(), shape, None, stream).to_bytes())


if __name__ == "__main__":
    main()
