import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutpoint.server.backlogs import Backlogs

_BACKLOGS = st.just(0.0) | st.floats(1e-6, 1e3)


@given(st.lists(st.tuples(st.integers(0, 9), _BACKLOGS, st.floats(0.1, 10))), st.floats(1e-6, 1e3))
def test_others_are_never_too_little_and_at_most_nine_percent_too_much(
    changes: list[tuple[int, float, float]], share: float
) -> None:
    backlogs = Backlogs()
    users: dict[int, tuple[float, float]] = {}
    for name, backlog, weight in changes:
        backlogs.set(name, backlog, weight)
        users[name] = backlog, weight
    for asking in range(10):
        exact = sum(min(backlog, share * weight) for name, (backlog, weight) in users.items() if name != asking)
        assert exact - 1e-9 <= backlogs.others(asking, share) <= exact * 2**0.125 + 1e-9


def test_equal_backlogs_add_up_exactly() -> None:
    backlogs = Backlogs()
    for name in range(100):
        backlogs.set(name, 0.25, 1.0)
    assert backlogs.others("somebody else", 0.25) == pytest.approx(25.0)
    assert backlogs.others(7, 0.125) == pytest.approx(99 * 0.125)
