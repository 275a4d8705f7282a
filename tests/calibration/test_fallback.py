import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.networks import SIDE, inspect, net_with_one_bad_layer, residual_net, two_scale_net

from cutpoint.calibration.graphs.fallback import Layer, fewest, fewest_floats, find_layers, moved, quantise_within
from cutpoint.calibration.graphs.graph import ModelGraph, run_model
from cutpoint.calibration.graphs.int8_report import Int8Report
from cutpoint.calibration.progress import SilentReporter
from cutpoint.codecs import Array


@pytest.mark.parametrize("network", [residual_net, two_scale_net])
def test_every_node_belongs_to_one_layer(network) -> None:  # type: ignore[no-untyped-def]
    graph = inspect(network())
    layers = find_layers(graph)
    nodes = [name for layer in layers for name in layer.nodes]
    assert sorted(nodes) == sorted(node.name for node in graph.model.graph.node)
    assert len(layers) == sum(macs > 0 for macs in graph.macs)


def test_a_layer_is_a_product_and_what_follows_it() -> None:
    layers = {layer.name: layer.nodes for layer in find_layers(inspect(residual_net()))}
    assert layers["c3"] == {"node_c3", "node_a3", "node_r3"}


@given(st.integers(1, 200), st.integers(1, 250))
def test_the_fewest_that_are_enough(most: int, wanted: int) -> None:
    asked: list[int] = []

    def enough(count: int) -> bool:
        asked.append(count)
        return count >= wanted

    assert fewest(most, enough) == min(wanted, most)
    assert len(asked) <= 16


@pytest.mark.parametrize(("needed", "wanted"), [(1, "c"), (2, "ac"), (3, "abc"), (4, "")])
def test_the_worst_layers_stay_floats(needed: int, wanted: str) -> None:
    harm = {"a": 2.0, "b": 1.0, "c": 3.0, "d": 0.0}
    layers = [Layer(name, frozenset({name})) for name in harm]
    floats = fewest_floats(
        layers, lambda layer: harm[layer.name], lambda floats: len(floats) >= needed, SilentReporter()
    )
    assert "".join(layer.name for layer in floats) == wanted


def test_columns_of_a_table_count_by_their_own_variance() -> None:
    rng = np.random.default_rng(0)
    wanted = [(rng.normal(size=(1, 50, 3)) * [1000.0, 1.0, 1.0],) for _ in range(4)]
    large = [(answer + np.array([50.0, 0, 0]),) for (answer,) in wanted]
    small = [(answer + np.array([0, 0.05, 0]),) for (answer,) in wanted]
    assert moved(wanted, wanted) == 0
    assert moved(wanted, large) == pytest.approx(moved(wanted, small), rel=0.2)


def _samples() -> list[tuple[Array, ...]]:
    rng = np.random.default_rng(0)
    return [(rng.normal(size=(1, 3, SIDE, SIDE)).astype(np.float32),) for _ in range(8)]


def _quantised(graph: ModelGraph, least: float):  # type: ignore[no-untyped-def]
    samples = _samples()
    wanted = [run_model(graph.model, {"x": sample}) for (sample,) in samples]

    def metric(model) -> float:  # type: ignore[no-untyped-def]
        return 1 - moved(wanted, [run_model(model, {"x": sample}) for (sample,) in samples])

    return quantise_within(graph, samples, metric, least, SilentReporter())


def test_what_int8_harms_stays_floats() -> None:
    graph = net_with_one_bad_layer()
    _, lost = _quantised(graph, -1e9)
    assert lost.floats == ()
    assert lost.all_metric < 0.9
    model, report = _quantised(graph, 0.99)
    assert report.all_metric == lost.all_metric
    assert report.metric >= 0.99
    assert set(report.floats) <= {"bad", "undo"}
    assert report.layers == 4
    names = {value.name for value in model.graph.initializer}
    assert ("bad_w" in names) == ("bad" in report.floats)
    assert "good_w" not in names
    assert report.bytes == model.ByteSize()


def test_a_model_that_keeps_its_metric_is_all_int8() -> None:
    model, report = _quantised(inspect(residual_net()), 0.5)
    assert report.floats == ()
    assert report.metric == report.all_metric >= 0.5
    assert any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def test_what_no_layers_mend_stays_int8() -> None:
    _, report = _quantised(inspect(residual_net()), 1.1)
    assert report.floats == ()
    assert "no part" in (report.note("top1", 1.2, 0.1) or "")


def test_the_note_tells_what_it_costs() -> None:
    report = Int8Report(0.12, 10.0, 1_000_000, ("a", "b"), 0.31, 11.0, 1_200_000, 50)
    note = report.note("ap", 0.32, 0.01)
    assert note is not None
    for part in ("20.0% of ap", "2 of 50", "31.0%", "11.0 ms instead of 10.0", "1.20 MB", "a, b"):
        assert part in note
    assert report.note("ap", 0.12, 0.01) is None
