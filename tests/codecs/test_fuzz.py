"""Hostile bytes: symbols or a typed error, never anything else; and all implementations agree on which.

CUTPOINT_FUZZ sets the number of streams (default 20000); the sanitizer run in test_sanitizers.py uses it as well.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from tests.codecs.coders import Implementation, Symbols, available
from tests.vectors import vectors

from cutpoint.codecs.entropy import EntropyModel
from cutpoint.codecs.errors import BitstreamError, TableError

STREAMS = int(os.environ.get("CUTPOINT_FUZZ", "20000"))


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """A few random edits: bits, bytes, cuts, insertions, repeats."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(0, len(out) + 1))
        # Half of the edits go for the head, where structure is densest.
        if rng.random() < 0.5:
            at = min(at, int(rng.integers(0, 12)))
        match int(rng.integers(0, 6)):
            case 0 if at < len(out):
                out[at] ^= 1 << int(rng.integers(0, 8))
            case 1 if at < len(out):
                out[at] = int(rng.integers(0, 256))
            case 2:
                del out[at:]
            case 3:
                out[at:at] = rng.bytes(int(rng.integers(1, 5)))
            case 4:
                del out[at : at + int(rng.integers(1, 5))]
            case _:
                out += out[at : at + int(rng.integers(1, 9))]
    return bytes(out)


def outcome(coder: Implementation, model: EntropyModel, data: bytes, shape: tuple[int, int]) -> Symbols | None:
    """What decoding gives; None if the bytes are refused."""
    try:
        return coder.decode(model, data, shape)
    except BitstreamError:
        return None


@pytest.mark.timeout(0)
def test_mutated_streams() -> None:
    rng = np.random.default_rng(2024)
    numpy_coder, *others = available()
    fast = others[-1:] or [numpy_coder]
    cases = [(EntropyModel.from_bytes(v.model), v) for v in map(vectors.load, vectors.names()) if v.stream]
    accepted = 0
    for n in range(STREAMS if others else STREAMS // 50):
        model, vector = cases[n % len(cases)]
        data = mutated(vector.stream, rng)
        results = [outcome(coder, model, data, vector.shape) for coder in (others or fast)]
        if n % 40 == 0:
            results.append(outcome(numpy_coder, model, data, vector.shape))
        accepted += results[0] is not None
        for result in results:
            assert (result is None) == (results[0] is None)
            if result is not None:
                assert result.shape == vector.shape
                np.testing.assert_array_equal(result, results[0])
    assert accepted > 0  # otherwise the edits are too wild to test anything but the header


def test_random_bytes() -> None:
    rng = np.random.default_rng(7)
    vector = vectors.load("escapes-int8")
    model = EntropyModel.from_bytes(vector.model)
    coders = available()
    for size in (0, 1, 2, 3, 5, 20, 300):
        for _ in range(40):
            data = bytes([int(rng.integers(0, 64))]) + rng.bytes(size) if size else b""
            results = [outcome(coder, model, data, vector.shape) for coder in coders]
            assert len({None if r is None else r.tobytes() for r in results}) == 1


@pytest.mark.timeout(0)
def test_mutated_models() -> None:
    rng = np.random.default_rng(99)
    blobs = [v.model for v in map(vectors.load, vectors.names())]
    for n in range(STREAMS // 10):
        blob = blobs[n % len(blobs)]
        try:
            model = EntropyModel.from_bytes(mutated(blob, rng))
        except TableError:
            continue
        assert model.tables >= 1


def test_model_file_cannot_ask_for_much_memory() -> None:
    blob = bytearray(vectors.load("silent-all").model)
    blob[12:20] = b"\xff" * 8
    with pytest.raises(TableError, match="places"):
        EntropyModel.from_bytes(bytes(blob))
