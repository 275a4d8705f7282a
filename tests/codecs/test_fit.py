"""Frequencies and clusters are as good as they claim."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cutpoint.codecs._fit import best_origin, cluster, count_entries, quantise
from cutpoint.codecs._tables import PROB_SUM


def cost(counts: np.ndarray, freq: np.ndarray) -> float:
    used = counts > 0
    return float(-(counts[used] * np.log2(freq[used] / PROB_SUM)).sum())


@pytest.mark.parametrize("seed", range(8))
def test_no_move_of_one_unit_improves_a_table(seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = np.zeros(256, np.int64)
    counts[: rng.integers(3, 40)] = 1
    counts[:40] *= rng.geometric(0.002, 40)
    freq = quantise(counts).astype(np.int64)
    assert freq.sum() == PROB_SUM
    assert freq[0] >= 1
    kept = np.flatnonzero(freq)
    best = cost(np.where(freq > 0, counts, 0), freq)
    for a, b in itertools.permutations(kept, 2):
        if freq[a] > 1:
            moved = freq.copy()
            moved[a] -= 1
            moved[b] += 1
            assert cost(np.where(freq > 0, counts, 0), moved) >= best - 1e-6 * best


@pytest.mark.parametrize(
    "counts",
    [
        {},
        {0: 100},
        {5: 1},
        {5: 10**12},
        {5: 10**9, 6: 1},
        {entry: 1 for entry in range(256)},
        {entry: 4 ** min(entry, 25) for entry in range(1, 256)},
    ],
)
def test_tables_are_valid_whatever_the_counts(counts: dict[int, int]) -> None:
    row = np.zeros(256, np.int64)
    for entry, count in counts.items():
        row[entry] = count
    freq = quantise(row)
    assert freq.sum(dtype=int) == PROB_SUM
    assert 1 <= freq[0] < PROB_SUM


def test_constant_counts_make_a_silent_table() -> None:
    row = np.zeros(256, np.int64)
    row[9] = 1000
    freq = quantise(row)
    assert freq[0] == 1
    assert freq[9] == PROB_SUM - 1


def test_origin_takes_the_densest_window() -> None:
    assert best_origin(np.array([-3, 5, 9], np.int8)) == -3
    values = np.concatenate([np.full(5, -30000), np.arange(100, 350), np.full(9, 30000)]).astype(np.int32)
    origin = best_origin(values)
    assert origin <= 100
    assert origin + 254 >= 349
    assert best_origin(np.arange(-128, 128).astype(np.int8)) == -128


def test_counts_per_context() -> None:
    samples = np.array([[1, 1, 7], [2, 1, 300]], np.int16)
    counts = count_entries(samples, np.array([0, 0, 1]), origin=1)
    assert counts.shape == (2, 256)
    assert counts[0, 1] == 3
    assert counts[0, 2] == 1
    assert counts[1, 7] == 1
    assert counts[1, 0] == 1


def test_clustering_meets_its_tolerance() -> None:
    rng = np.random.default_rng(4)
    counts = np.stack([rng.multinomial(20000, p) for p in rng.dirichlet(np.ones(30) * 0.4, 50)])
    counts = np.pad(counts, ((0, 0), (1, 225)))
    own = sum(cost(row, row * (PROB_SUM / row.sum())) for row in counts)
    for tolerance in (0.0, 0.01, 0.1):
        pooled, table = cluster(counts, tolerance, 255)
        shared = sum(cost(row, pooled[t] * (PROB_SUM / pooled[t].sum())) for row, t in zip(counts, table, strict=True))
        assert shared <= own * (1 + tolerance) * (1 + 1e-9)
        np.testing.assert_array_equal(pooled.sum(axis=0), counts.sum(axis=0))
    assert len(cluster(counts, 0.1, 255)[0]) < 50
    assert len(cluster(counts, 0.0, 7)[0]) == 7


def test_constant_contexts_keep_to_themselves() -> None:
    counts = np.zeros((5, 256), np.int64)
    counts[0, 4] = counts[3, 4] = 50
    counts[1, 6] = 20
    counts[2, 1:20] = 100
    counts[4, 0] = 10  # all escapes: not constant
    pooled, table = cluster(counts, 0.5, 10)
    assert table[0] == table[3] != table[1]
    assert table[2] not in (table[0], table[1])
    assert len(pooled) == int(table.max()) + 1
