import random

import pytest

from cutpoint.server.pricing import CongestionPrice


def test_free_while_nobody_waits() -> None:
    price = CongestionPrice(workers=2)
    assert price.price(5.0) == 0
    price.observe(0, 2, 5.0)
    assert price.price(100.0) == 0


def test_follows_the_queue_with_delay_and_comes_back() -> None:
    price = CongestionPrice(workers=1, memory=1.0)
    price.observe(10, 1, 0.0)
    seen = [price.price(t / 10) for t in range(1, 80)]
    assert seen == sorted(seen)
    assert seen[0] < 2
    assert seen[-1] == pytest.approx(10 / (1 - 0.9), rel=0.01)
    price.observe(0, 0, 8.0)
    assert price.price(15.0) < 0.02 * seen[-1]


def test_more_workers_share_the_delay() -> None:
    def settled(workers: int) -> float:
        price = CongestionPrice(workers)
        price.observe(6, workers, 0.0)
        return price.price(50.0)

    assert settled(3) == pytest.approx(settled(1) / 3)


def test_is_what_an_extra_millisecond_costs_the_others_in_a_simulated_queue() -> None:
    """One worker, first come first served: makes each job longer by a little and adds up what that does to the rest."""
    rng = random.Random(4)
    load, count, extra = 0.6, 40_000, 1e-6
    gaps = [rng.expovariate(load) for _ in range(count)]
    works = [rng.expovariate(1.0) for _ in range(count)]
    price, arrivals, starts, ends = CongestionPrice(1, memory=2000.0), [], [], []
    now = free = 0.0
    for gap, work in zip(gaps, works, strict=True):
        now += gap
        free = max(now, free) + work
        arrivals.append(now)
        starts.append(free - work)
        ends.append(free)
    changes = sorted([(t, 1, 0) for t in arrivals] + [(t, -1, 1) for t in starts] + [(t, 0, -1) for t in ends])
    waiting = running = 0
    prices = []
    for t, queued, begun in changes:
        waiting, running = waiting + queued, running + begun
        price.observe(max(0, waiting), max(0, running), t)
        prices.append(price.price(t))
    # A longer job postpones everybody behind it in the same busy period, once.
    behind, longest = 0, 0
    for i in reversed(range(count)):
        longest = longest + 1 if i + 1 < count and starts[i + 1] > arrivals[i + 1] + extra else 0
        behind += longest
    measured = behind / count
    # In an M/M/1 queue the formula gives busy² / (1 − busy)², the true cost being busy / (1 − busy)².
    mean = sum(prices[len(prices) // 2 :]) / (len(prices) - len(prices) // 2)
    assert mean == pytest.approx(measured * load, rel=0.25)
