"""From counts to tables: which contexts share one, which values are worth a place, and 12-bit frequencies.

Fitting is the one place of the entropy coder that uses floating point. Its result is shipped as integers, so nothing
depends on two machines agreeing here.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cutpoint.codecs._tables import ENTRIES, PROB_SUM, Symbols, entries_of

__all__ = ["best_origin", "cluster", "count_entries", "quantise"]

#: A value rarer than this is escaped: its place would cost the others more than its escapes cost.
RAREST = 2.0**-14
#: What a value that a table lacks is taken to cost while contexts are compared: an escape and its literal, in bits.
MISSING_BITS = 20.0
#: Tables kept for contexts that hold one value only, before such contexts share tables with others.
MAX_SILENT = 32

Counts = npt.NDArray[np.int64]


def best_origin(symbols: Symbols) -> int:
    """The first of the 255 consecutive values that hold most symbols; the smallest value if all are within 255."""
    values, counts = np.unique(symbols, return_counts=True)
    values = values.astype(np.int64)
    ends = np.searchsorted(values, values + (ENTRIES - 1))
    total = np.concatenate([[0], np.cumsum(counts)])
    return int(values[np.argmax(total[ends] - total[:-1])])


def count_entries(samples: Symbols, contexts: npt.NDArray[np.int64], origin: int) -> Counts:
    """How often each entry occurs in each context.

    Args:
        samples: shape (samples, positions).
        contexts: shape (positions,), numbered from 0.
        origin: the value of entry 1.

    Returns:
        Shape (contexts, 256).
    """
    size = (int(contexts.max()) + 1) * ENTRIES
    counts = np.zeros(size, np.int64)
    for sample in samples:
        counts += np.bincount(contexts * ENTRIES + entries_of(sample, origin), minlength=size)
    return counts.reshape(-1, ENTRIES)


def quantise(counts: Counts) -> npt.NDArray[np.uint16]:
    """Frequencies for one table that sum to 4096 and cost fewest bits for these counts (shape (256,)).

    Cost is convex in each frequency, so moving single units while that pays ends at the optimum.
    """
    total = max(int(counts.sum()), 1)
    kept = counts >= max(total * RAREST, 1)
    kept[0] = True
    if kept.sum() == 1:  # nothing but escapes: the format asks for a value
        kept[1 if counts[1:].max(initial=0) == 0 else 1 + int(counts[1:].argmax())] = True
    weights = np.where(kept, counts, 0).astype(np.float64)
    weights[0] = max(total - weights[1:].sum(), 1e-3)
    freq = np.where(kept, np.maximum(np.rint(weights * (PROB_SUM / weights.sum())), 1), 0)
    weights = np.where(kept, np.maximum(weights, 1e-9), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        while True:
            gain = np.where(kept, weights * np.log2((freq + 1) / freq), -np.inf)
            loss = np.where(freq > 1, weights * np.log2(freq / (freq - 1)), np.inf)
            excess = freq.sum() - PROB_SUM
            up, down = int(gain.argmax()), int(loss.argmin())
            if excess == 0 and (up == down or gain[up] <= loss[down] * (1 + 1e-9)):
                return freq.astype(np.uint16)
            if excess <= 0:
                freq[up] += 1
            if excess >= 0:
                freq[down] -= 1


def cluster(counts: Counts, tolerance: float, max_tables: int) -> tuple[Counts, npt.NDArray[np.int64]]:
    """Let contexts share tables as long as that costs at most ``tolerance`` of all bits.

    Contexts that only ever hold one value share tables among themselves: their positions will not be coded at all.
    The others are grouped by Lloyd's algorithm with coding cost as the distance, the number of groups growing until
    the tolerance is met; each round adds the contexts that their tables serve worst.

    Returns:
        The counts of each table, shape (tables, 256), and the table of each context, shape (contexts,).
    """
    totals = counts.sum(axis=1)
    constant = (counts[:, 1:].max(axis=1) == totals) & (totals > 0)
    entry = counts.argmax(axis=1)
    weight = np.bincount(entry[constant], weights=totals[constant], minlength=ENTRIES)
    silent = [int(e) for e in np.argsort(-weight, kind="stable")[: min(MAX_SILENT, max_tables - 1)] if weight[e] > 0]
    table = np.full(len(counts), -1, np.int64)
    for number, value in enumerate(silent):
        table[constant & (entry == value)] = number
    rest = np.flatnonzero(table < 0)
    if len(rest):
        table[rest] = len(silent) + _lloyd(counts[rest].astype(np.float64), tolerance, max_tables - len(silent))
    pooled = np.zeros((int(table.max()) + 1, ENTRIES), np.int64)
    np.add.at(pooled, table, counts)
    return pooled, table


def _lloyd(counts: npt.NDArray[np.float64], tolerance: float, max_tables: int) -> npt.NDArray[np.int64]:
    """The group of each context, shape (contexts,), groups numbered from 0 without gaps."""
    own = (counts * _costs(counts)).sum(axis=1)
    budget = own.sum() * (1 + tolerance)
    group = np.zeros(len(counts), np.int64)
    while True:
        pooled = _pool(counts, group)
        spent = counts @ _costs(pooled).T
        mine = spent[np.arange(len(counts)), group]
        if mine.sum() <= budget or len(pooled) >= min(max_tables, len(counts)):
            return group
        more = min(max(1, len(pooled) // 4), max_tables - len(pooled), len(counts) - len(pooled))
        worst = np.argsort(own - mine, kind="stable")[:more]
        group[worst] = len(pooled) + np.arange(more)
        for _ in range(4):
            spent = counts @ _costs(_pool(counts, group)).T
            group = np.unique(spent.argmin(axis=1), return_inverse=True)[1].reshape(-1)


def _pool(counts: npt.NDArray[np.float64], group: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    pooled = np.zeros((int(group.max()) + 1, ENTRIES))
    np.add.at(pooled, group, counts)
    return pooled


def _costs(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Bits per occurrence of each entry under each row's own distribution."""
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = -np.log2(counts / counts.sum(axis=1, keepdims=True))
    return np.where(counts > 0, np.minimum(bits, MISSING_BITS), MISSING_BITS)
