"""The public face of the entropy coder: fitting, sizes, types, shapes and errors."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from cutpoint.codecs import _native
from cutpoint.codecs.entropy import EntropyModel
from cutpoint.codecs.errors import BitstreamError, CodecError, CoderUnavailable, SymbolError, TableError


def latents(
    samples: int, scale: float, seed: int = 0, channels: int = 64, positions: int = 196
) -> npt.NDArray[np.int8]:
    """What a transform codec makes: energy falling with the channel, a dead zone, many zeros."""
    rng = np.random.default_rng(seed)
    values = rng.laplace(0, 1, (samples, channels, positions)) * (scale * np.exp(-np.arange(channels) / 10))[:, None]
    return np.clip(np.fix(values + np.sign(values) * 0.4), -127, 127).astype(np.int8)


def entropy_bytes(samples: npt.NDArray[np.int8]) -> float:
    """Order-0 entropy of each channel over all samples, in bytes per sample."""
    bits = 0.0
    for channel in range(samples.shape[1]):
        counts = np.unique(samples[:, channel], return_counts=True)[1]
        bits -= float((counts * np.log2(counts / counts.sum())).sum())
    return bits / 8 / len(samples)


def test_large_payload_is_within_half_a_percent_of_the_entropy() -> None:
    rng = np.random.default_rng(0)
    scales = np.exp(rng.uniform(np.log(0.3), np.log(8), 64))
    symbols = np.clip(np.rint(rng.laplace(0, 1, (64, 3136)) * scales[:, None]), -127, 127).astype(np.int8)
    stream = EntropyModel.fit(symbols).encode(symbols)
    assert len(stream) <= 1.005 * entropy_bytes(symbols[None])


@pytest.mark.parametrize("scale", [0.3, 0.8, 1.6, 4.0, 8.0, 12.0])
def test_small_payloads_are_within_one_percent_and_twelve_bytes(scale: float) -> None:
    seen, unseen = np.split(latents(300, scale), [200])
    model = EntropyModel.fit(seen)
    mean = np.mean([len(model.encode(sample)) for sample in unseen])
    assert mean <= 1.01 * entropy_bytes(unseen) + 12


def test_constant_symbols_cost_one_byte() -> None:
    zeros = np.zeros((10, 64, 100), np.int8)
    model = EntropyModel.fit(zeros)
    assert model.encode(zeros[0]) == b"\0"
    zeros[0, 3, 4] = 1
    stream = model.encode(zeros[0])
    assert len(stream) < 10
    np.testing.assert_array_equal(model.decode(stream, (64, 100)), zeros[0])


def test_alike_contexts_share_tables_and_others_do_not() -> None:
    rng = np.random.default_rng(1)
    scales = np.tile([0.5, 2.0, 9.0], 20)
    symbols = np.rint(rng.laplace(0, 1, (40, 60, 500)) * scales[:, None]).astype(np.int16)
    model = EntropyModel.fit(symbols)
    assert 3 <= model.tables <= 6
    assert EntropyModel.fit(symbols, tolerance=0.5).tables == 1
    assert EntropyModel.fit(symbols, tolerance=0.0, max_tables=20).tables == 20


def test_static_context_map() -> None:
    rng = np.random.default_rng(2)
    zone = np.add.outer(np.zeros(8, int), np.arange(64) // 16)
    symbols = np.rint(rng.laplace(0, 1, (50, 8, 64)) * (8.0 / (1 + 3 * zone))).astype(np.int8)
    by_zone = EntropyModel.fit(symbols, index=zone)
    assert by_zone.positions == 64
    assert len(by_zone.encode(symbols[0])) < 0.95 * len(EntropyModel.fit(symbols).encode(symbols[0]))
    by_group = EntropyModel.fit(symbols, index=np.arange(8) % 2)
    assert by_group.positions is None
    for model in (by_zone, by_group):
        np.testing.assert_array_equal(model.decode(model.encode(symbols[3]), (8, 64)), symbols[3])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32"])
@pytest.mark.parametrize("coder", ["auto", "numpy"])
def test_types_are_kept_and_anything_survives(dtype: str, coder: str) -> None:
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(3)
    near = np.clip(np.rint(rng.laplace(50, 10, (3, 400))), limits.min, limits.max).astype(dtype)
    model = EntropyModel.fit(near)
    far = rng.integers(limits.min, limits.max, (3, 400), endpoint=True).astype(dtype)
    for symbols in (near, far):
        decoded = model.decode(model.encode(symbols, coder=coder), symbols.shape, coder=coder)  # type: ignore[arg-type]
        assert decoded.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(decoded, symbols)


def test_any_memory_layout_is_taken() -> None:
    symbols = latents(1, 4.0)[0].astype(np.int32)
    model = EntropyModel.fit(symbols)
    stream = model.encode(symbols)
    raw = b"\0" + symbols.tobytes()
    unaligned = np.ndarray(symbols.shape, np.int32, raw, 1)
    for view in (np.asfortranarray(symbols), np.repeat(symbols, 2, axis=1)[:, ::2], unaligned):
        assert model.encode(view) == stream
    with pytest.raises(SymbolError):
        model.encode(symbols.astype(">i4"))


def test_model_file_round_trip() -> None:
    symbols = latents(20, 6.0)
    for model in (
        EntropyModel.fit(symbols),
        EntropyModel.fit(symbols, index=np.arange(64 * 196).reshape(64, 196) % 17),
    ):
        again = EntropyModel.from_bytes(model.to_bytes())
        assert again.encode(symbols[0]) == model.encode(symbols[0])
        assert (again.channels, again.positions, again.dtype, again.tables) == (
            model.channels,
            model.positions,
            model.dtype,
            model.tables,
        )
        assert len(model.to_bytes()) < 150 * model.tables + 2000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b[:10], "cut short"),
        (lambda b: b"XXXX" + b[4:], "not entropy tables"),
        (lambda b: b[:4] + b"\x02" + b[5:], "version 2"),
        (lambda b: b[:5] + b"\x09" + b[6:], "unknown type"),
        (lambda b: b[:20] + b"\0\0" + b[22:], "unknown type"),
        (lambda b: b[:12] + b"\0\0\0\0" + b[16:], "0 places"),
        (lambda b: b[:12] + b"\1\0\0\0" + b[16:], "longer or shorter"),
        (lambda b: b[:30] + b"\xff\xff" + b[32:], "damaged|longer or shorter"),
        (lambda b: b[:-1], "longer or shorter"),
        (lambda b: b + b"\0", "longer or shorter"),
    ],
)
def test_broken_model_files(change, message: str) -> None:  # type: ignore[no-untyped-def]
    blob = EntropyModel.fit(latents(3, 2.0)).to_bytes()
    with pytest.raises(TableError, match=message):
        EntropyModel.from_bytes(change(blob))


def test_wrong_arguments() -> None:
    symbols = latents(1, 4.0)[0]
    model = EntropyModel.fit(symbols)
    with pytest.raises(SymbolError, match="int16"):
        model.encode(symbols.astype(np.int16))
    with pytest.raises(SymbolError, match="64 channels"):
        model.encode(symbols[:5])
    with pytest.raises(SymbolError, match="64 channels"):
        model.decode(b"\0", (196,))
    with pytest.raises(SymbolError, match="196 positions"):
        EntropyModel.fit(symbols, index=np.zeros((64, 196), int)).decode(b"\0", (64, 195))
    with pytest.raises(SymbolError, match="more than"):
        model.decode(b"\0", (64, 1 << 30))
    with pytest.raises(SymbolError):
        EntropyModel.fit(symbols.astype(np.float32))
    with pytest.raises(SymbolError, match="index"):
        EntropyModel.fit(symbols, index=np.zeros(3, int))
    with pytest.raises(SymbolError, match="index"):
        EntropyModel.fit(symbols, index=np.full(64, -1))
    with pytest.raises(TableError, match="no symbols"):
        EntropyModel.fit(symbols[:, :0])
    with pytest.raises(TableError, match="max_tables"):
        EntropyModel.fit(symbols, max_tables=0)
    with pytest.raises(BitstreamError):
        model.decode(b"", (64, 196))
    assert issubclass(SymbolError, CodecError)


def test_without_the_compiled_coder_numpy_takes_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    symbols = latents(1, 4.0)[0]
    model = EntropyModel.fit(symbols)
    stream = model.encode(symbols)
    monkeypatch.setattr(_native, "LIBRARY", tmp_path / "none.so")
    assert model.encode(symbols) == stream
    np.testing.assert_array_equal(model.decode(stream, symbols.shape), symbols)
    with pytest.raises(CoderUnavailable, match="not installed"):
        model.encode(symbols, coder="native")
    with pytest.raises(CoderUnavailable, match="not installed"):
        model.decode(stream, symbols.shape, coder="native")
    with pytest.raises(CoderUnavailable, match="does not load"):
        _native.NativeCoder(tmp_path / "none.so")


def test_threads_share_a_model() -> None:
    samples = latents(8, 5.0, channels=32, positions=400)
    model = EntropyModel.fit(samples)
    failures = []

    def work(sample: npt.NDArray[np.int8]) -> None:
        for positions in range(300, 400, 7):
            part = sample[:, :positions]
            if not np.array_equal(model.decode(model.encode(part), part.shape), part):
                failures.append(positions)

    threads = [threading.Thread(target=work, args=(sample,)) for sample in samples]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
