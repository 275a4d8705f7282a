"""Whatever the symbols and tables: all implementations write the same bytes and read back the same symbols."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.codecs.coders import available

from cutpoint.codecs._layout import STAGE_STEPS, Layout, lanes_log2, stage_first, stages
from cutpoint.codecs._tables import DTYPES, PROB_SUM, Tables
from cutpoint.codecs.entropy import EntropyModel
from cutpoint.codecs.errors import TableError

Symbols = npt.NDArray[np.integer[Any]]


def random_frequencies(rng: np.random.Generator, tables: int, entries: int) -> npt.NDArray[np.uint16]:
    """Valid tables over the first ``entries`` values: some flat, some steep, some silent, with holes."""
    out = np.zeros((tables, 256), np.uint16)
    for row in out:
        if rng.random() < 0.2:
            row[0], row[1 + rng.integers(entries)] = 1, PROB_SUM - 1
            continue
        weights = rng.exponential(1, entries) ** rng.integers(1, 6) * (rng.random(entries) < 0.8)
        freq = np.floor(weights / max(weights.sum(), 1e-9) * (PROB_SUM - entries - 1)).astype(int)
        row[1 : 1 + entries] = freq
        escape = int(rng.integers(1, 40))
        row[1] += max(PROB_SUM - int(row.sum()) - escape, 0) or 1
        row[0] = PROB_SUM - int(row[1:].sum())
    return out


def random_case(seed: int, dtype: np.dtype[Any], channels: int, positions: int) -> tuple[EntropyModel, Symbols]:
    """A model with random tables, and symbols of which some are silent strays and some escapes."""
    rng = np.random.default_rng(seed)
    tables = int(rng.integers(1, 6))
    entries = int(rng.integers(1, 120))
    limits = np.iinfo(dtype)
    origin = int(rng.integers(limits.min, limits.max - 126)) if rng.random() < 0.5 else max(limits.min, -20)
    model = EntropyModel(
        Tables(random_frequencies(rng, tables, entries), origin, dtype),
        rng.integers(0, tables, (channels, positions) if positions and rng.random() < 0.5 else channels).astype(
            np.uint8
        ),
        int(rng.choice([0, 500, 4000, 65535])),
    )
    layout = model._plan((channels, positions)).layout
    symbols = origin + np.minimum(rng.exponential(entries / 4, layout.count), entries).astype(np.int64)
    strays = rng.random(layout.count) < rng.choice([0, 0.001, 0.2, 1])
    symbols = np.where(strays, rng.integers(limits.min, limits.max, layout.count, endpoint=True), symbols)
    symbols = np.clip(symbols, limits.min, limits.max).astype(dtype)
    if layout.constants is not None and rng.random() < 0.7:
        silent = np.ones(layout.count, bool)
        silent[layout.active] = False
        symbols[silent] = layout.constants[silent]
    return model, symbols.reshape(channels, positions)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    dtype=st.sampled_from(DTYPES),
    channels=st.integers(1, 9),
    positions=st.integers(0, 40) | st.integers(0, 1500),
)
def test_round_trip_and_same_bytes(seed: int, dtype: np.dtype[Any], channels: int, positions: int) -> None:
    model, symbols = random_case(seed, dtype, channels, positions)
    coders = available()
    stream = coders[0].encode(model, symbols)
    for coder in coders:
        assert coder.encode(model, symbols) == stream, coder.name
        decoded = coder.decode(model, stream, (channels, positions))
        assert decoded.dtype == dtype
        np.testing.assert_array_equal(decoded, symbols, err_msg=coder.name)


def test_reciprocals_are_exact() -> None:
    """For every frequency, at the states around each place where the quotient changes most delicately."""
    freq = np.arange(1, PROB_SUM, dtype=np.uint64)
    rows = np.zeros((len(freq), 256), np.uint16)
    rows[:, 1], rows[:, 0] = freq, PROB_SUM - freq
    rng = np.random.default_rng(0)
    for chunk in np.array_split(np.arange(len(freq)), 16):
        reciprocal, rest = np.moveaxis(
            Tables(rows[chunk], 0, np.dtype(np.int8)).encoding[:, 1].astype(np.uint64), -1, 0
        )
        f = freq[chunk, None]
        multiples = rng.integers(0, 1 << 19, (len(chunk), 500)).astype(np.uint64)
        multiples[:, :3] = [1, (1 << 19) - 1, 1 << 19]
        for x in (multiples * f - np.uint64(1), multiples * f):
            x = np.minimum(x, (f << np.uint64(19)) - np.uint64(1))
            x = np.maximum(x, 1 << 15)
            shift = rest[:, None] >> np.uint64(25) & np.uint64(15)
            quotient = (x * reciprocal[:, None] >> np.uint64(32)) >> shift
            bias = rest[:, None] >> np.uint64(12) & np.uint64(0x1FFF)
            start = rows[chunk, 0, None].astype(np.uint64)
            following = x + quotient * (np.uint64(PROB_SUM) - f) + bias
            np.testing.assert_array_equal(following, x // f * np.uint64(PROB_SUM) + x % f + start)


@pytest.mark.parametrize("final", range(9))
def test_stages_cover_all_symbols_once(final: int) -> None:
    count = stage_first(final) + 21
    covered = stages(count, final)
    assert [lanes for _, _, lanes in covered] == [1 << k for k in range(final + 1)]
    assert sum(symbols for _, symbols, _ in covered) == count
    for (first, symbols, lanes), (following, _, _) in itertools.pairwise(covered):
        assert first + symbols == following
        assert symbols == STAGE_STEPS * lanes


def test_lanes_leave_room_for_their_stages() -> None:
    for count in (0, 1, 31, 32, 64, 1000, 100_000, 10_000_000):
        for rate in (0, 10, 1000, 65535):
            log2 = lanes_log2(count, rate)
            assert 0 <= log2 <= 8
            assert stage_first(log2) <= count
    assert lanes_log2(200_704, 3 * 1024) == 8


def test_layout_without_silent_positions_is_the_identity() -> None:
    frequencies = np.zeros((1, 256), np.uint16)
    frequencies[0, :2] = 2048
    layout = Layout.build(np.zeros(10, np.uint8), Tables(frequencies, 0, np.dtype(np.int8)), 100)
    assert layout.active is None
    assert layout.runs is None
    assert layout.active_tables is layout.tables


@pytest.mark.parametrize(
    ("changes", "origin", "dtype"),
    [
        ({0: 0, 1: 4096}, 0, "int8"),
        ({0: 4096}, 0, "int8"),
        ({0: 1, 1: 4094}, 0, "int8"),
        ({0: 1, 1: 4095}, 128, "int8"),
        ({0: 1, 1: 4095}, -1, "uint8"),
        ({0: 1, 2: 4095}, 127, "int8"),
        ({0: 1, 1: 4095}, 0, "int64"),
    ],
)
def test_tables_that_break_a_rule(changes: dict[int, int], origin: int, dtype: str) -> None:
    row = np.zeros((1, 256), np.uint16)
    for entry, frequency in changes.items():
        row[0, entry] = frequency
    with pytest.raises(TableError):
        Tables(row, origin, np.dtype(dtype))
