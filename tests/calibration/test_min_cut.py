from collections.abc import Callable
from itertools import pairwise

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.networks import SIDE, Network, inspect, residual_net, two_scale_net

from cutpoint.calibration.graphs.cuts import find_cuts, find_places
from cutpoint.calibration.graphs.graph import run_model
from cutpoint.calibration.graphs.min_cut import MinimumCut, Problem, find_candidates, minimum_cuts, nested


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Small graphs in which every node reads one to three earlier tensors."""
    count = draw(st.integers(1, 7))
    reads = []
    for number in range(count):
        known = ["x", *(f"t{earlier}" for earlier in range(number))]
        reads.append(draw(st.lists(st.sampled_from(known), min_size=1, max_size=3, unique=True)))
    times = st.lists(st.integers(0, 50), min_size=count, max_size=count)
    sizes = {name: draw(st.integers(1, 10_000)) for name in ("x", *(f"t{number}" for number in range(count)))}
    makes = [[f"t{number}"] for number in range(count)]
    return Problem(reads, makes, draw(times), draw(times), sizes)


def _down_sets(problem: Problem) -> list[frozenset[int]]:
    """Every set of nodes that holds with each node all that it needs."""
    makers = {name: number for number, (name,) in enumerate(problem.makes)}
    needs = [{makers[name] for name in names if name in makers} for names in problem.reads]
    count = len(needs)
    sets = (frozenset(number for number in range(count) if code >> number & 1) for code in range(2**count))
    return [held for held in sets if all(needs[number] <= held for number in held)]


@given(problems(), st.floats(1e-5, 1))
@settings(deadline=None)
def test_no_set_of_nodes_is_cheaper(problem: Problem, value_ms: float) -> None:
    def cost(held: frozenset[int]) -> float:
        computed, size = problem.costs(held)
        return computed + value_ms * size

    found = [cut.held for cut in minimum_cuts(problem)]
    sets = _down_sets(problem)
    assert set(found) <= set(sets)
    assert min(map(cost, found)) <= min(map(cost, sets)) + 1e-4


@given(problems())
@settings(deadline=None)
def test_slower_links_get_fewer_values_for_more_time(problem: Problem) -> None:
    for fast, slow in pairwise(minimum_cuts(problem)):
        assert fast.values > slow.values
        assert fast.computed_ms < slow.computed_ms


@given(problems())
@settings(deadline=None)
def test_nested_cuts_hold_each_other(problem: Problem) -> None:
    cuts = minimum_cuts(problem)
    chain = nested(cuts)
    assert chain
    assert set(chain) <= set(cuts)
    assert all(small.held < large.held for small, large in pairwise(chain))


def test_the_longest_chain_is_kept() -> None:
    one, other, both, more = (MinimumCut(frozenset(held), 0.0, 0) for held in ({1}, {2}, {1, 2}, {1, 2, 3}))
    assert [len(cut.held) for cut in nested([more, one, other, both])] == [1, 2, 3]
    assert nested([]) == ()


def test_a_tensor_that_may_not_cross_does_not() -> None:
    problem = Problem([["x"], ["a"]], [["a"], ["b"]], [1.0, 1.0], [0.0, 0.0], {"x": 1000, "b": 10})
    assert [cut.held for cut in minimum_cuts(problem)] == [frozenset(), frozenset({0, 1})]


def test_a_tensor_is_sent_once_for_all_its_readers() -> None:
    reads = [["x"], ["a"], ["a"], ["b", "c"]]
    sizes = {"x": 1000, "a": 100, "b": 60, "c": 60, "y": 90}
    problem = Problem(reads, [["a"], ["b"], ["c"], ["y"]], [1.0] * 4, [0.0] * 4, sizes)
    assert problem.crossing(frozenset({0})) == {"a"}
    assert {cut.values for cut in minimum_cuts(problem)} == {1000, 100, 0}


def _branching_net() -> onnx.ModelProto:
    """Two ways side by side, each of which becomes small in its second node and large again in its last."""
    net = Network()
    net.conv("x", "stem", 3, 8)
    for way in ("left", "right"):
        net.conv("stem", f"{way}_small", 8, 1, stride=4)
        net.conv(f"{way}_small", f"{way}_large", 1, 64)
    net.add("Concat", ["left_large", "right_large"], "out", axis=1)
    return net.model((1, 3, SIDE, SIDE), ["out"], batch=False)


def test_a_cut_that_no_order_of_the_nodes_has_becomes_a_place() -> None:
    graph = inspect(_branching_net())
    small = {"left_small", "right_small"}
    assert small not in [set(place.tensors) for place in find_places(graph)]
    ordered, cuts = find_candidates(graph, [1.0] * len(graph.macs))
    (cut,) = (cut for cut in cuts if set(cut.tensors) == small)
    assert cut in find_places(ordered)
    feeds = {"x": np.random.default_rng(0).normal(size=graph.inputs[0].shape).astype(np.float32)}
    np.testing.assert_array_equal(run_model(ordered.model, feeds)[0], run_model(graph.model, feeds)[0])


@pytest.mark.parametrize("network", [residual_net, two_scale_net])
def test_a_graph_that_has_its_cheapest_cuts_is_left_alone(network: Callable[[], onnx.ModelProto]) -> None:
    graph = inspect(network())
    same, cuts = find_candidates(graph, [1.0] * len(graph.macs))
    assert same is graph
    assert cuts == find_cuts(graph)


def test_an_output_that_the_device_has_already_crosses_too() -> None:
    net = Network()
    net.conv("x", "early", 3, 1, stride=4)
    net.conv("early", "late", 1, 1)
    graph = inspect(net.model((1, 3, SIDE, SIDE), ["early", "late"], batch=False))
    problem = Problem.of(graph, [1.0, 1.0], [0.0, 0.0])
    assert problem.crossing(frozenset({0, 1})) == {"early", "late"}
    assert problem.crossing(frozenset({0, 1, 2})) == frozenset()


@pytest.mark.parametrize("side", ["device", "server"])
def test_a_side_that_is_much_slower_gets_nothing(side: str) -> None:
    graph = inspect(residual_net())
    slow, fast = [1e3] * len(graph.macs), [0.0] * len(graph.macs)
    times = (slow, fast) if side == "device" else (fast, slow)
    first = minimum_cuts(Problem.of(graph, *times))[0]
    assert len(first.held) == (0 if side == "device" else len(graph.macs) + 1)
