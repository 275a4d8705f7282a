import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutpoint.calibration.search.usefulness import order_by_use
from cutpoint.codecs import Array

#: Local, and the raw picture.
GIVEN = np.array([0.9, 0.9]), np.array([[0.0, 10.0, 0.0], [150_000.0, 0.0, 10.0]])


def test_what_is_smaller_and_as_good_comes_first() -> None:
    metrics, costs = np.array([0.9, 0.9, 0.9]), np.array([[30e3, 2.0, 8.0], [1e3, 2.0, 8.0], [2e3, 2.0, 8.0]])
    order = order_by_use(metrics, costs, GIVEN, 0.9)
    assert [number for number, _ in order] == [1, 2, 0]
    assert [saved > 0 for _, saved in order] == [True, False, False]


def test_a_point_that_loses_accuracy_is_of_use_where_that_is_allowed() -> None:
    metrics, costs = np.array([0.9, 0.8, 0.1]), np.array([[2e3, 2.0, 8.0], [500.0, 2.0, 8.0], [1.0, 0.1, 0.1]])
    saved = dict(order_by_use(metrics, costs, GIVEN, 0.9))
    assert saved[0] > 0
    assert saved[1] > 0
    assert saved[2] == 0
    strict = dict(order_by_use(metrics, costs, GIVEN, 0.9, weights=(10.0, 1.0, 1.0, 1.0)))
    assert strict[1] < saved[1]


def test_weights_turn_to_what_counts() -> None:
    metrics, costs = np.array([0.9, 0.9]), np.array([[500.0, 8.0, 1.0], [9e3, 1.0, 8.0]])
    assert order_by_use(metrics, costs, GIVEN, 0.9, weights=(1, 1, 0, 1))[0][0] == 0
    assert order_by_use(metrics, costs, GIVEN, 0.9, weights=(1, 0, 1, 1))[0][0] == 1


def test_nothing_given() -> None:
    nothing: tuple[Array, Array] = np.zeros(0), np.zeros((0, 3))
    assert [n for n, _ in order_by_use(np.array([0.5]), np.array([[10.0, 1.0, 1.0]]), nothing, 0.5)] == [0]


@given(
    rows=st.lists(
        st.tuples(st.floats(0, 1), st.floats(0, 1e6), st.floats(0, 50), st.floats(0, 50)), min_size=1, max_size=20
    )
)
def test_all_are_ordered_and_use_falls(rows: list[tuple[float, float, float, float]]) -> None:
    table = np.array(rows)
    order = order_by_use(table[:, 0], table[:, 1:], GIVEN, 0.9)
    assert sorted(number for number, _ in order) == list(range(len(rows)))
    saved = [share for _, share in order]
    assert all(0 <= share <= 1 for share in saved)
    assert saved == pytest.approx(sorted(saved, reverse=True))
