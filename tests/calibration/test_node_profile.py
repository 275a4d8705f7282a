import numpy as np
from tests.support.networks import SIDE, inspect, residual_net

from cutpoint.calibration.node_profile import _attribute, node_times, prefix_times


def test_times_of_fused_and_added_nodes_find_their_places() -> None:
    runs = {"reorder": [9.0, 1.0], "conv1_nchwc": [9.0, 2.0, 4.0], "back": [9.0, 1.0], "conv10": [5.0]}
    assert _attribute(["conv1", "relu1", "conv10"], runs) == [5.0, 0.0, 5.0]


def test_a_profile_covers_the_model() -> None:
    graph = inspect(residual_net())
    times = node_times(graph, [np.zeros((1, 3, SIDE, SIDE), np.float32)])
    assert len(times) == len(graph.model.graph.node)
    assert sum(times) > 0
    assert prefix_times(times)[-1] == sum(times)
    assert prefix_times([1.0, 2.0]) == [0.0, 1.0, 3.0]
