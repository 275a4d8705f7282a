import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutpoint.calibration.allocation import Congestion, DividedServer, Problem, SharedQueue, brute_force, solve
from cutpoint.sdk import InputError


def drawn(users: int, options: int, seed: int, congestion: Congestion, most: float = 0.9) -> Problem:
    """Users with a device, and remote options that cost less the more they load the server."""
    rng = np.random.default_rng(seed)
    load = rng.uniform(0, most, (users, options))
    load[:, 0] = 0
    cost = rng.uniform(0, 200, (users, options)) + 100 * (most - load)
    return Problem(cost, load, congestion)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 6),
    st.integers(1, 4),
    st.integers(0, 10_000),
    st.sampled_from([SharedQueue(1, 0.3), SharedQueue(3), DividedServer(2)]),
)
def test_small_problems_are_solved_exactly(users: int, options: int, seed: int, congestion: Congestion) -> None:
    problem = drawn(users, options, seed, congestion)
    found, best = solve(problem), brute_force(problem)
    assert found.cost == pytest.approx(best.cost)
    assert found.bound <= best.cost * (1 + 1e-9) + 1e-9
    assert problem.total(found.choices) == found.cost


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 120), st.integers(2, 12), st.integers(0, 10_000), st.integers(1, 4), st.floats(0.01, 4))
def test_is_never_worse_than_fixed_choices_and_near_its_bound(
    users: int, options: int, seed: int, workers: int, demand: float
) -> None:
    problem = drawn(users, options, seed, SharedQueue(workers, 0.5), most=demand * workers / users)
    found = solve(problem)
    device = problem.load.argmin(axis=1)
    alone = problem.cost.argmin(axis=1)
    remote = problem.cost[:, 1:].argmin(axis=1) + 1
    assert found.cost <= min(problem.total(c) for c in (device, alone, remote)) * (1 + 1e-12)
    assert found.bound <= found.cost * (1 + 1e-9)
    # One user's change of mind is the most that a bound of this kind is off.
    assert found.cost - found.bound <= np.ptp(problem.cost, axis=1).max() + 1e-6


def test_five_hundred_users_within_a_thousandth_of_the_bound() -> None:
    for congestion in (SharedQueue(1, 0.3), SharedQueue(4), DividedServer(2)):
        found = solve(drawn(500, 20, 1, congestion, most=4 / 500))
        assert 0 <= found.gap < 1e-3
        assert 0 < found.load < congestion.capacity


def test_price_is_that_of_the_load() -> None:
    problem = drawn(400, 5, 2, SharedQueue(1), most=0.01)
    found = solve(problem)
    assert found.price == pytest.approx(problem.congestion.slope(found.load), rel=0.05)


def test_what_cannot_be_a_problem_is_refused() -> None:
    queue = SharedQueue(1)
    with pytest.raises(InputError, match="same"):
        Problem(np.zeros((2, 3)), np.zeros((3, 2)), queue)
    with pytest.raises(InputError, match="finite"):
        Problem(np.full((1, 2), np.inf), np.zeros((1, 2)), queue)
    with pytest.raises(InputError, match="at least 0"):
        Problem(np.zeros((1, 2)), np.array([[0.0, -1.0]]), queue)
    with pytest.raises(InputError, match="without load"):
        Problem(np.zeros((1, 2)), np.ones((1, 2)), queue)
