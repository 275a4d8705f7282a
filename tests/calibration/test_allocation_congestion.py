import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutpoint.calibration.allocation import Congestion, DividedServer, SharedQueue

CONGESTIONS = st.one_of(
    st.builds(SharedQueue, st.integers(1, 12), st.floats(0, 3)), st.builds(DividedServer, st.integers(1, 12))
)


def at(congestion: Congestion, load: float) -> float:
    return float(congestion.cost(np.array(load)))


@given(CONGESTIONS, st.floats(0.01, 0.97), st.floats(0.01, 0.97))
def test_is_convex_and_increasing_and_the_slope_is_its_slope(c: Congestion, one: float, other: float) -> None:
    scale = min(c.capacity, 5.0)
    a, b = sorted((one * scale, other * scale))
    assert 0 <= at(c, a) <= at(c, b) + 1e-9
    assert at(c, (a + b) / 2) <= (at(c, a) + at(c, b)) / 2 + 1e-9
    step = 1e-5 * scale
    assert c.slope(a) == pytest.approx((at(c, a + step) - at(c, a - step)) / (2 * step), rel=1e-3, abs=1e-4)
    assert at(c, 0.0) == 0.0


def test_queue_of_one_worker_is_that_of_pollaczek_and_khinchine() -> None:
    for load in (0.3, 0.8):
        assert at(SharedQueue(1), load) == pytest.approx(1e3 * load**2 / (2 * (1 - load)))
        assert at(SharedQueue(1, variation=1.0), load) == pytest.approx(1e3 * load**2 / (1 - load))
    assert at(SharedQueue(2), 2.0) == math.inf


def test_queue_of_several_workers_is_that_of_a_simulated_one() -> None:
    rng = random.Random(3)
    workers, load, count = 3, 2.4, 200_000
    free, now, waited = [0.0] * workers, 0.0, 0.0
    for _ in range(count):
        now += rng.expovariate(load)
        first = min(range(workers), key=free.__getitem__)
        start = max(now, free[first])
        waited += start - now
        free[first] = start + rng.expovariate(1.0)
    assert at(SharedQueue(workers, variation=1.0), load) == pytest.approx(1e3 * waited / now, rel=0.05)


@given(st.lists(st.floats(0.01, 3), min_size=1, max_size=6), st.integers(1, 8), st.integers(0, 99))
def test_no_other_division_of_the_server_costs_less(loads: list[float], workers: int, seed: int) -> None:
    server, each = DividedServer(workers), np.array(loads)
    shares = server.shares(each)
    assert shares.sum() == pytest.approx(workers)
    cost = float((1e3 * each**2 / shares).sum())
    assert cost == pytest.approx(at(server, float(each.sum())))
    other = np.random.default_rng(seed).dirichlet(np.ones(len(each))) * workers + 1e-9
    assert float((1e3 * each**2 / other).sum()) >= cost * (1 - 1e-6)


def test_nobody_who_asks_for_nothing_has_a_share() -> None:
    assert DividedServer(2).shares(np.zeros(3)).tolist() == [0, 0, 0]
