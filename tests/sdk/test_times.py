import random

from hypothesis import given
from hypothesis import strategies as st

from cutpoint.sdk import Backoff


@given(st.floats(0.01, 5), st.floats(0.01, 60), st.integers(0, 10_000), st.integers(0, 100))
def test_delays_are_random_and_bounded(first: float, longest: float, attempt: int, seed: int) -> None:
    delay = Backoff(first, longest).delay(attempt, random.Random(seed))
    assert 0 <= delay <= min(longest, first * 2.0 ** min(attempt, 30))


def test_a_crowd_does_not_come_back_at_once() -> None:
    delays = [Backoff(0.1, 10.0).delay(8, random.Random(seed)) for seed in range(200)]
    assert max(delays) > 9
    assert sum(delay < 1 for delay in delays) < 40
