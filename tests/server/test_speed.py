"""What is believed of a machine's speed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutpoint.server.speed import Speed


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_follows_what_is_seen_and_goes_back_to_what_was_found() -> None:
    clock = Clock()
    speed = Speed(clock, 2.0)
    assert speed.scale == 2.0
    for _ in range(30):
        speed.observe(8.0, 1.0)
    assert speed.scale == pytest.approx(8.0, rel=0.01)
    clock.now = 20.0
    assert 2.0 < speed.scale < 4.0
    clock.now = 200.0
    assert speed.scale == pytest.approx(2.0, rel=0.01)


def test_one_sample_of_a_machine_that_stood_still_is_forgotten_soon() -> None:
    clock = Clock()
    speed = Speed(clock)
    speed.observe(1500.0, 1.0)
    assert 5 < speed.scale < 10
    clock.now = 40.0
    assert speed.scale < 1.5


def test_what_takes_no_time_says_nothing() -> None:
    speed = Speed(Clock())
    speed.observe(50.0, 0.05)
    speed.observe(0.0, 1.0)
    assert speed.scale == 1.0


@given(
    st.lists(st.tuples(st.floats(0.2, 1e4), st.floats(0.2, 1e3), st.floats(0, 30)), max_size=30), st.floats(0.01, 100)
)
def test_it_stays_between_what_was_found_and_what_was_seen(
    samples: list[tuple[float, float, float]], found: float
) -> None:
    clock = Clock()
    speed = Speed(clock, found)
    seen = [found]
    for taken, expected, pause in samples:
        clock.now += pause
        speed.observe(taken, expected)
        seen.append(taken / expected)
        assert min(seen) / 1.001 <= speed.scale <= max(seen) * 1.001
