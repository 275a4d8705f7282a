"""Links that answer at once are given up soon, those that answer late are not."""

from hypothesis import given
from hypothesis import strategies as st

from cutpoint.sdk.silence import SilenceLimit


def test_who_answers_at_once_is_given_up_soon() -> None:
    limit = SilenceLimit(0.6, 2.4)
    assert limit.seconds == 0.6
    for _ in range(20):
        limit.observe(0.05)
    assert limit.seconds == 0.6


def test_who_answers_late_gets_more_time_until_it_is_quick_again() -> None:
    limit = SilenceLimit(0.6, 2.4)
    limit.observe(0.5)
    assert limit.seconds == 1.0
    for _ in range(8):
        limit.observe(0.01)
    assert 0.8 < limit.seconds < 1.0
    for _ in range(32):
        limit.observe(0.01)
    assert limit.seconds == 0.6


def test_who_is_dropped_and_comes_back_is_dropped_later_the_next_time() -> None:
    limit = SilenceLimit(0.6, 2.4)
    found = []
    for _ in range(4):
        found.append(limit.seconds)
        limit.observe(limit.seconds)
    assert found == [0.6, 1.2, 2.4, 2.4]


@given(st.floats(0.01, 10), st.floats(0, 100), st.lists(st.floats(0, 1e6)))
def test_there_are_bounds(least: float, most: float, delays: list[float]) -> None:
    limit = SilenceLimit(least, most)
    for delay in delays:
        limit.observe(delay)
        assert least <= limit.seconds <= max(least, most)
