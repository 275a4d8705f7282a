"""The entropy coder against constriction, zstd and CompressAI's rANS: sizes and speeds on one core, calls included.

All contestants take turns inside each round and medians are kept, so that the ratios hold on a busy machine.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table

from cutpoint.codecs._native import native
from cutpoint.codecs.entropy import EntropyModel

TITLE = "Entropy coder"

Symbols = npt.NDArray[np.int8]
Pair = tuple[Callable[[], Any], Callable[[], Any], int]
ROUNDS = 30


def large_symbols() -> Symbols:
    """64 × 3136 Laplacian symbols, a scale per channel from 0.3 to 8."""
    rng = np.random.default_rng(0)
    scales = np.exp(rng.uniform(np.log(0.3), np.log(8), 64))
    return np.clip(np.rint(rng.laplace(0, 1, (64, 3136)) * scales[:, None]), -127, 127).astype(np.int8)


def small_symbols(scale: float, samples: int = 300) -> Symbols:
    """64 × 196 transform coefficients: energy falling with the channel, a dead zone, many zeros."""
    rng = np.random.default_rng(1)
    values = rng.laplace(0, 1, (samples, 64, 196)) * (scale * np.exp(-np.arange(64) / 10))[:, None]
    return np.clip(np.fix(values + np.sign(values) * 0.4), -127, 127).astype(np.int8)


def entropy_bytes(samples: Symbols) -> float:
    """Order-0 entropy of each channel over all samples, bytes per sample."""
    bits = 0.0
    for channel in range(samples.shape[1]):
        counts = np.unique(samples[:, channel], return_counts=True)[1]
        bits -= float((counts * np.log2(counts / counts.sum())).sum())
    return bits / 8 / len(samples)


def run() -> dict[str, object]:
    """Measure; sizes in bytes, speeds in million symbols per second, times in microseconds."""
    symbols = large_symbols()
    return {"large": _large(symbols), "small": [_small(scale) for scale in (0.6, 1.5, 3.0, 6.0, 12.0, 20.0)]}


def _large(symbols: Symbols) -> dict[str, object]:
    model = EntropyModel.fit(symbols)
    contestants: dict[str, Pair] = {}
    if native() is not None:
        contestants["cutpoint"] = _ours(model, symbols, "auto")
        contestants |= _paths(model, symbols)
    contestants["numpy"] = _ours(model, symbols, "numpy")
    for name, make in (("constriction", _constriction), ("zstd -1", _zstd), ("CompressAI", _compressai)):
        try:
            contestants[name] = make(symbols)
        except ImportError:
            continue
    times = _interleaved(contestants)
    rows = {
        name: {
            "bytes": contestants[name][2],
            "encode_msym_s": symbols.size / encode / 1e6,
            "decode_msym_s": symbols.size / decode / 1e6,
        }
        for name, (encode, decode) in times.items()
    }
    return {
        "symbols": symbols.size,
        "entropy_bytes": entropy_bytes(symbols[None]),
        "tables": model.tables,
        "coders": rows,
    }


def _small(scale: float) -> dict[str, object]:
    seen, unseen = np.split(small_symbols(scale), [200])
    model = EntropyModel.fit(seen)
    streams = [model.encode(sample) for sample in unseen]
    sample, stream = unseen[0], streams[0]
    encode, decode = _interleaved(
        {"cutpoint": (lambda: model.encode(sample), lambda: model.decode(stream, sample.shape), 0)}, rounds=300
    )["cutpoint"]
    return {
        "entropy_bytes": entropy_bytes(unseen),
        "mean_bytes": statistics.mean(map(len, streams)),
        "lanes": 1 << (stream[0] & 0x0F),
        "encode_us": encode * 1e6,
        "decode_us": decode * 1e6,
    }


def _ours(model: EntropyModel, symbols: Symbols, coder: Any) -> Pair:
    stream = model.encode(symbols, coder=coder)
    assert np.array_equal(model.decode(stream, symbols.shape, coder=coder), symbols)
    return (
        lambda: model.encode(symbols, coder=coder),
        lambda: model.decode(stream, symbols.shape, coder=coder),
        len(stream),
    )


def _paths(model: EntropyModel, symbols: Symbols) -> dict[str, Pair]:
    library = native()
    assert library is not None
    flat, plan = symbols.reshape(-1), model._plan(symbols.shape)

    def pair(path: str) -> Pair:
        stream = library.encode(flat, plan, path)
        return lambda: library.encode(flat, plan, path), lambda: library.decode([stream], plan, path), len(stream)

    return {f"C {path}": pair(path) for path in library.paths}


def _constriction(symbols: Symbols) -> Pair:
    """One table per channel, fitted to its counts."""
    import constriction

    stream = constriction.stream
    low = int(symbols.min())
    models = []
    for row in symbols:
        counts = np.bincount(row.astype(np.int64) - low, minlength=int(symbols.max()) - low + 1)
        models.append(stream.model.Categorical(counts / counts.sum(), perfect=False))
    rows = [(row.astype(np.int32) - low) for row in symbols]

    def encode() -> npt.NDArray[np.uint32]:
        coder = stream.stack.AnsCoder()
        for row, model in zip(reversed(rows), reversed(models), strict=True):
            coder.encode_reverse(row, model)
        return coder.get_compressed()  # type: ignore[no-any-return]

    words = encode()

    def decode() -> list[npt.NDArray[np.int32]]:
        coder = stream.stack.AnsCoder(words)
        return [coder.decode(model, len(row)) for row, model in zip(rows, models, strict=True)]

    assert all(np.array_equal(a, b) for a, b in zip(decode(), rows, strict=True))
    return encode, decode, 4 * len(words)


def _zstd(symbols: Symbols) -> Pair:
    import zstandard

    raw = symbols.tobytes()
    packer, unpacker = zstandard.ZstdCompressor(level=1), zstandard.ZstdDecompressor()
    packed = packer.compress(raw)
    return lambda: packer.compress(raw), lambda: unpacker.decompress(packed), len(packed)


def _compressai(symbols: Symbols) -> Pair:
    """Lists go in and come out, as its Python interface has it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch says about itself while it is imported
        from compressai import ans

    low, high = int(symbols.min()), int(symbols.max())
    tables, sizes = [], []
    for row in symbols:
        counts = np.bincount(row.astype(np.int64) - low, minlength=high - low + 1).astype(np.float64)
        freq = np.maximum(np.rint(counts / counts.sum() * (65535 - len(counts))), 1).astype(np.int64)
        freq = np.append(freq, 1)
        freq[freq.argmax()] += 65536 - freq.sum()
        tables.append([0, *np.cumsum(freq).tolist()])
        sizes.append(len(freq) + 1)
    values = symbols.reshape(-1).astype(int).tolist()
    indexes = np.repeat(np.arange(len(symbols)), symbols.shape[1]).tolist()
    offsets = [low] * len(symbols)
    encoder, decoder = ans.RansEncoder(), ans.RansDecoder()
    packed = encoder.encode_with_indexes(values, indexes, tables, sizes, offsets)
    assert decoder.decode_with_indexes(packed, indexes, tables, sizes, offsets) == values
    return (
        lambda: encoder.encode_with_indexes(values, indexes, tables, sizes, offsets),
        lambda: decoder.decode_with_indexes(packed, indexes, tables, sizes, offsets),
        len(packed),
    )


def _interleaved(contestants: dict[str, Pair], rounds: int = ROUNDS) -> dict[str, tuple[float, float]]:
    """Median seconds to encode and to decode.

    Each turn begins with a call that does not count: what the one before left in the caches is not the coder's speed.
    """
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in contestants}
    for _ in range(rounds):
        for name, (encode, decode, _size) in contestants.items():
            for action, taken in zip((encode, decode), times[name], strict=True):
                action()
                start = time.perf_counter()
                action()
                taken.append(time.perf_counter() - start)
    return {name: (statistics.median(e), statistics.median(d)) for name, (e, d) in times.items()}


def table(result: dict[str, Any]) -> Table:
    """The result as a table: contestants first (ratios are to constriction), small payloads below."""
    large = result["large"]
    coders = large["coders"]
    reference = coders.get("constriction")
    out = Table(title=f"{TITLE}: {large['symbols']:,} int8 symbols, entropy {large['entropy_bytes']:,.0f} bytes")
    for column in ("coder", "bytes", "over", "encode Msym/s", "decode Msym/s", "ratios"):
        out.add_column(column, justify="left" if column == "coder" else "right")
    for name, row in coders.items():
        ratio = "–"
        if reference:
            encode = row["encode_msym_s"] / reference["encode_msym_s"]
            ratio = f"{encode:.1f} / {row['decode_msym_s'] / reference['decode_msym_s']:.1f}"
        over = f"{100 * (row['bytes'] / large['entropy_bytes'] - 1):.2f} %"
        speeds = (f"{row['encode_msym_s']:,.0f}", f"{row['decode_msym_s']:,.0f}")
        out.add_row(name, f"{row['bytes']:,}", over, *speeds, ratio)
    out.add_section()
    for row in result["small"]:
        over = f"{row['mean_bytes'] - row['entropy_bytes']:.1f} B"
        times = (f"{row['encode_us']:.1f} µs", f"{row['decode_us']:.1f} µs")
        out.add_row(f"12,544 in {row['lanes']} lanes", f"{row['mean_bytes']:,.0f}", over, *times, "")
    return out
