import numpy as np
import pytest
from tests.support.networks import SIDE, inspect, residual_net

from cutpoint.calibration.graphs.node_profile import _attribute, node_times, prefix_times


def test_times_of_fused_and_added_nodes_find_their_places() -> None:
    nodes = [("conv1", "a1"), ("relu1", "r1"), ("", "a10"), ("conv10", "b")]
    ran = [("reorder", 1.0), ("a1_nchwc", 3.0), ("back", 1.0), ("a10", 2.0), ("fused conv10", 5.0)]
    assert _attribute(nodes, ran) == [5.0, 0.0, 2.0, 5.0]


def test_a_profile_covers_the_model() -> None:
    graph = inspect(residual_net())
    times = node_times(graph, [np.zeros((1, 3, SIDE, SIDE), np.float32)])
    assert len(times) == len(graph.model.graph.node)
    assert sum(times) > 0
    assert prefix_times(times, 2.0)[-1] == pytest.approx(2.0)
    assert prefix_times([1.0, 3.0], 2.0) == [0.0, 0.5, 2.0]
    assert prefix_times([0.0], 2.0) == [0.0, 0.0]
