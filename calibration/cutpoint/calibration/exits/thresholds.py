"""From which confidence on an exit may answer, so that what it spoils is bounded on inputs that nobody has seen.

The thresholds of a grid that is fixed beforehand are tested from the most careful one on, each against the hypothesis
that the share of all inputs that it spoils is above the allowed one, and the testing ends with the first that is not
rejected: the probability that any of the accepted ones breaks its promise is that of a single test (fixed sequence
testing: Angelopoulos, Bates, Candès, Jordan and Lei, Learn then Test, arXiv 2110.01052). The test is the exact binomial
one, that is: the Clopper–Pearson bound of the share is at most the allowed one.
"""

from __future__ import annotations

from math import ceil, log, log1p
from typing import NamedTuple

import numpy as np

from cutpoint.codecs import Array

__all__ = ["GRID", "Chosen", "choose_threshold", "least_drop", "samples_needed"]

#: Confidences that are tried, the most careful first: evenly spaced in their log-odds.
GRID = 1 / (1 + np.exp(-np.linspace(12.0, -3.0, 1501)))


class Chosen(NamedTuple):
    """A threshold that keeps its promise.

    Attributes:
        confidence: least one with which the exit answers.
        rate: share of the samples that it answered.
        spoilt: share of the samples that it spoilt.
    """

    confidence: float
    rate: float
    spoilt: float


def choose_threshold(confidence: Array, spoilt: Array, drop: float, certainty: float) -> Chosen | None:
    """The lowest threshold that can be promised.

    Args:
        confidence: of the exit, for samples that it was not made with, float (samples,).
        spoilt: whether its answer is worse than the uncut model's, bool (samples,).
        drop: share of all inputs that it may spoil, 0 … 1.
        certainty: of the promise, 0 … 1.

    Returns:
        None if there is none, because the samples are too few or the exit is not good enough.
    """
    from scipy.stats import binom

    count = len(confidence)
    order = np.argsort(-confidence)
    # At each threshold of the grid, how many samples are answered, and how many of those spoilt.
    answered = np.searchsorted(-confidence[order], -GRID, side="right")
    errors = np.concatenate([[0], np.cumsum(spoilt[order])])[answered]
    passed = binom.cdf(errors, count, drop) <= 1 - certainty
    accepted = len(GRID) if passed.all() else int(np.argmin(passed))
    if not accepted or not answered[accepted - 1]:
        return None
    last = accepted - 1
    return Chosen(float(GRID[last]), float(answered[last] / count), float(errors[last] / count))


def samples_needed(drop: float, certainty: float) -> int:
    """How many samples it takes to promise `drop` if none of them is spoilt."""
    return ceil(log(1 - certainty) / log1p(-drop))


def least_drop(samples: int, certainty: float) -> float:
    """The least share that so many samples can promise."""
    return float(1 - (1 - certainty) ** (1 / samples))
