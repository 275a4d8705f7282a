import random
from heapq import heappop, heappush
from itertools import accumulate

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
    assert seen[-1] == pytest.approx(10 * (1 / (1 - 0.9) + 1 / 0.9), rel=0.01)
    price.observe(0, 0, 8.0)
    assert price.price(15.0) < 0.02 * seen[-1]


def test_does_not_move_faster_than_clients_hear_of_it() -> None:
    price = CongestionPrice(workers=1)
    price.observe(10, 1, 0.0)
    settled = price.price(1e3)
    # Clients hear of it once a second: what one of them does meanwhile must not turn the others around.
    steps = [price.price(t + 1.0) - price.price(float(t)) for t in range(60)]
    assert max(steps) < 0.35 * settled
    assert price.price(20.0) > 0.95 * settled


def test_hardly_anything_that_waits_is_no_quotient_of_nothings() -> None:
    price = CongestionPrice(workers=1)
    price.observe(1, 0, 0.0)
    price.observe(0, 0, 1e-3)
    assert 0 < price.price(2e-3) < 0.01


@pytest.mark.parametrize("workers", [1, 3])
def test_is_what_an_extra_millisecond_costs_the_others_in_a_simulated_queue(workers: int) -> None:
    """First come first served: makes single jobs longer by a little and adds up what that does to the rest."""
    rng = random.Random(4)
    load, count, extra = 0.7, 40_000, 1e-4
    gaps = [rng.expovariate(load * workers) for _ in range(count)]
    works = [rng.expovariate(1.0) for _ in range(count)]
    arrivals = list(accumulate(gaps))

    def starts(first: int, last: int, free: list[float], longer: int = -1) -> list[float]:
        """When jobs begin, with workers that are free at `free`, which is changed."""
        begun = []
        for i in range(first, last):
            begun.append(max(arrivals[i], heappop(free)))
            heappush(free, begun[-1] + works[i] + (extra if i == longer else 0.0))
        return begun

    began = starts(0, count, [0.0] * workers)
    price, prices = CongestionPrice(workers, memory=2000.0), []
    ends = [start + work for start, work in zip(began, works, strict=True)]
    changes = [(t, 1, 0) for t in arrivals] + [(t, -1, 1) for t in began] + [(t, 0, -1) for t in ends]
    waiting = running = 0
    for t, queued, begun in sorted(changes):
        waiting, running = waiting + queued, running + begun
        price.observe(max(0, waiting), max(0, running), t)
        prices.append(price.price(t))
    mean = sum(prices[len(prices) // 2 :]) / (len(prices) - len(prices) // 2)

    measured, tried, free = 0.0, 0, [0.0] * workers
    for i in range(count - 400):
        if i % 10 == 0:
            later = starts(i, i + 400, free.copy(), longer=i)
            measured += sum(late - as_was for late, as_was in zip(later, began[i : i + 400], strict=True)) / extra
            tried += 1
        starts(i, i + 1, free)
    assert mean == pytest.approx(measured / tried, rel=0.25)
