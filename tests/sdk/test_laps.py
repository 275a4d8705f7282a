"""Computations in a row, timed; and stretched where a device is emulated."""

from __future__ import annotations

import numpy as np
import pytest

from cutpoint.sdk.errors import GraphError
from cutpoint.sdk.laps import Laps, TypicalTimes
from cutpoint.sdk.runtimes import Stop

#: Of several laps in which nothing is computed, other work on the machine spares one.
LAPS = 20


def compute() -> None:
    np.linalg.svd(np.random.default_rng(0).normal(size=(200, 200)))


def test_a_lap_is_what_was_computed_since_the_last() -> None:
    laps = Laps(Stop())
    compute()
    first = laps.lap("what")
    assert first > 0.5
    assert min(laps.lap("what") for _ in range(LAPS)) < first / 5
    begun = []
    for _ in range(LAPS):
        compute()
        laps.begin()
        begun.append(laps.lap("what"))
    assert min(begun) < first / 5


def test_what_stretches_hears_the_times_of_each_lap() -> None:
    heard: list[tuple[object, float, float]] = []
    laps = Laps(Stop(), lambda what, processor, wall, stop: heard.append((what, processor, wall)))
    compute()
    for _ in range(LAPS):
        laps.lap("what")
    (what, busy, wall), *idle = heard
    assert what == "what"
    assert 0 < busy <= wall * 1.5
    assert min(processor for _, processor, _ in idle) < busy / 5


def test_stopped_in_the_middle() -> None:
    stop = Stop()
    laps = Laps(stop, lambda what, processor, wall, given: given.set())
    with pytest.raises(GraphError, match="called off"):
        laps.lap("what")


def test_typical_times_are_of_the_first_few_runs() -> None:
    times = TypicalTimes()
    assert [times.of("a", seconds) for seconds in (4.0, 2.0, 90.0, 3.0, 2.5)] == [4.0, 3.0, 4.0, 3.5, 3.0]
    assert times.of("a", 50.0) == 3.0
    assert times.of("b", 50.0) == 50.0
