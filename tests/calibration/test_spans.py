import numpy as np
import pytest
from tests.support.networks import SIDE, inspect, int8_model, residual_net, token_net, two_scale_net

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.cuts import find_cuts
from cutpoint.calibration.graphs.graph import ModelGraph, run_model
from cutpoint.calibration.graphs.spans import extract_span


@pytest.mark.parametrize("network", [residual_net, two_scale_net, token_net])
def test_head_and_tail_together_are_the_model_at_every_cut(network) -> None:  # type: ignore[no-untyped-def]
    graph: ModelGraph = inspect(network())
    feeds = {"x": np.random.default_rng(0).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)}
    (whole,) = run_model(graph.model, feeds)
    for cut in find_cuts(graph):
        specs = [graph.specs[name] for name in cut.tensors]
        crossing = run_model(extract_span(graph.model, graph.inputs, specs, graph.batch), feeds)
        for spec, tensor in zip(specs, crossing, strict=True):
            assert spec.accepts(tensor)
        tail = extract_span(graph.model, specs, graph.outputs, graph.batch)
        (joined,) = run_model(tail, dict(zip(cut.tensors, crossing, strict=True)))
        np.testing.assert_allclose(joined, whole, rtol=1e-5, atol=1e-6)


def test_the_batch_axis_stays_free() -> None:
    graph = inspect(residual_net())
    tail = extract_span(graph.model, [graph.specs["r3"]], graph.outputs, graph.batch)
    assert run_model(tail, {"r3": np.zeros((5, 8, SIDE, SIDE), np.float32)})[0].shape == (5, 5)


def test_an_int8_head_ends_behind_the_quantisation_of_its_output() -> None:
    graph = inspect(residual_net())
    samples = [(np.random.default_rng(i).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32),) for i in range(4)]
    head = extract_span(int8_model(graph, samples), graph.inputs, [graph.specs["r3"]], graph.batch)
    assert head.graph.node[-1].op_type == "DequantizeLinear"
    (wanted,) = run_model(
        extract_span(graph.model, graph.inputs, [graph.specs["r3"]], graph.batch), {"x": samples[0][0]}
    )
    (given,) = run_model(head, {"x": samples[0][0]})
    assert np.abs(given - wanted).max() < 0.05 * np.abs(wanted).max()


def test_a_tensor_that_only_passes_through() -> None:
    graph = inspect(residual_net())
    span = extract_span(graph.model, [graph.specs["r1"]], [graph.specs["r1"], graph.specs["r3"]], graph.batch)
    value = np.ones((1, 8, SIDE, SIDE), np.float32)
    np.testing.assert_array_equal(run_model(span, {"r1": value})[0], value)


def test_a_span_that_needs_more_than_its_start_is_refused() -> None:
    graph = inspect(residual_net())
    with pytest.raises(CalibrationError, match="also needs x"):
        extract_span(graph.model, [graph.specs["c3"]], graph.outputs, graph.batch)
