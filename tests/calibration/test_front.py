import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutpoint.calibration.search.front import Box, dominators, hypervolume
from cutpoint.codecs import Array

METRICS = np.array([0.9, 0.8, 0.8, 0.5, 0.7])
COSTS = np.array([[100.0, 5.0], [10.0, 5.0], [10.0, 6.0], [1.0, 5.0], [10.0, 5.0]])


def test_who_beats_whom() -> None:
    assert dominators(METRICS, COSTS) == [None, None, 1, None, 1]
    assert dominators(METRICS, COSTS, 0.05) == [None, None, None, None, 1]


def test_of_equal_points_the_first_stays() -> None:
    assert dominators(np.array([0.5, 0.5]), np.ones((2, 3))) == [None, 0]


def test_volume_of_one_point_is_the_box_behind_it() -> None:
    # Half of the way in the metric, half of the way (in logarithms) in the cost.
    box = Box.around(np.array([1.0, 0.0]), np.array([[1.0], [100.0]]), 0.0)
    middle = np.exp((box.low + box.high) / 2)[None]
    assert hypervolume(np.array([0.5]), middle, box) == pytest.approx(0.25, abs=0.02)
    assert hypervolume(np.array([1.0]), np.array([[1.0]]), box) == 1.0
    assert hypervolume(np.array([]), np.zeros((0, 1)), box) == 0.0


def test_costs_of_nothing() -> None:
    metrics, costs = np.array([0.5, 0.6]), np.array([[0.0], [10.0]])
    assert 0 < hypervolume(metrics, costs, Box.around(metrics, costs, 0.0)) < 1


def test_a_point_below_the_floor_is_worth_nothing() -> None:
    box = Box.around(METRICS, COSTS, 0.6)
    assert hypervolume(METRICS[3:4], COSTS[3:4], box) == 0.0


_SETS = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1e6), st.floats(0, 50)), min_size=1, max_size=25)


@given(rows=_SETS)
def test_the_front_is_worth_what_all_are_worth(rows: list[tuple[float, float, float]]) -> None:
    table: Array = np.array(rows)
    metrics, costs = table[:, 0], table[:, 1:]
    box = Box.around(metrics, costs, 0.0)
    front = [number for number, better in enumerate(dominators(metrics, costs)) if better is None]
    assert front
    whole = hypervolume(metrics, costs, box)
    assert hypervolume(metrics[front], costs[front], box) == whole
