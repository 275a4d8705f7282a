"""Computations in a row, timed; and stretched where a device is emulated."""

from __future__ import annotations

import numpy as np
import pytest

from cutpoint.sdk.errors import GraphError
from cutpoint.sdk.laps import Laps
from cutpoint.sdk.runtimes import Stop

#: Of several laps in which nothing is computed, other work on the machine spares one.
LAPS = 20


def compute() -> None:
    np.linalg.svd(np.random.default_rng(0).normal(size=(200, 200)))


def test_a_lap_is_what_was_computed_since_the_last() -> None:
    laps = Laps(Stop())
    compute()
    first = laps.lap()
    assert first > 0.5
    assert min(laps.lap() for _ in range(LAPS)) < first / 5
    begun = []
    for _ in range(LAPS):
        compute()
        laps.begin()
        begun.append(laps.lap())
    assert min(begun) < first / 5


def test_what_stretches_hears_the_times_of_each_lap() -> None:
    heard: list[tuple[float, float]] = []
    laps = Laps(Stop(), lambda processor, wall, stop: heard.append((processor, wall)))
    compute()
    for _ in range(LAPS):
        laps.lap()
    (busy, wall), *idle = heard
    assert 0 < busy <= wall * 1.5
    assert min(processor for processor, _ in idle) < busy / 5


def test_stopped_in_the_middle() -> None:
    stop = Stop()
    laps = Laps(stop, lambda processor, wall, given: given.set())
    with pytest.raises(GraphError, match="called off"):
        laps.lap()
