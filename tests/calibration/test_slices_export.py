import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.local_nets import local_nets
from tests.support.networks import SIDE, Network, inspect, int8_model, residual_net, two_scale_net

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.graph import ModelGraph, run_model
from cutpoint.calibration.graphs.normalise import prepend_normalisation
from cutpoint.calibration.graphs.spans import extract_span
from cutpoint.calibration.graphs.weights import share_weights
from cutpoint.calibration.slices import Rows, even_rows, find_local_prefix, slice_span
from cutpoint.codecs import Array, TensorSpec
from cutpoint.sdk.bundle import Preprocessing


def crop(tensor: Array, rows: Rows, axis: int = 2) -> Array:
    return tensor[(slice(None),) * axis + (slice(rows.start, rows.stop),)]


def run_slice(graph: ModelGraph, x: Array, end: str, rows: Rows, axis: int = 2) -> tuple[Array, Rows]:
    """The rows, and the rows of `x` that they were computed from."""
    piece = slice_span(graph, graph.inputs, [graph.specs[end]], rows)
    (needs,) = piece.needs
    (given,) = run_model(piece.model, {graph.inputs[0].name: crop(x, needs, axis)})
    return given, needs


def joined(graph: ModelGraph, x: Array, end: str, count: int, axis: int = 2) -> Array:
    height = graph.specs[end].shape[2]
    return np.concatenate([run_slice(graph, x, end, rows, axis)[0] for rows in even_rows(height, count)], axis=2)


def surplus(graph: ModelGraph) -> int:
    """How many rows of the input a slice may take at an edge that nothing depends on: none without dilation.

    A dilated window that begins in the padding has no tap on the first row inside, and what that row is made of, the
    layers before compute for nothing.
    """
    windows, rows = find_local_prefix(graph).windows, 0
    for node in reversed(graph.model.graph.node):
        (gap, *_) = next((a.ints for a in node.attribute if a.name == "dilations"), [1])
        rows = rows * windows[node.output[0]].stride + gap - 1
    return rows


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(local_nets(), st.data())
def test_a_slice_is_its_rows_of_the_whole_from_no_more_rows_than_they_depend_on(
    model: onnx.ModelProto, data: st.DataObject
) -> None:
    graph = inspect(model)
    end = model.graph.output[0].name
    height = graph.specs[end].shape[2]
    start = data.draw(st.integers(0, height - 1))
    rows = Rows(start, data.draw(st.integers(start + 1, height)))
    x = np.random.default_rng(0).uniform(0.1, 1, graph.inputs[0].shape).astype(np.float32)
    (whole,) = run_model(model, {"x": x})
    given, needs = run_slice(graph, x, end, rows)
    np.testing.assert_allclose(given, crop(whole, rows), rtol=1e-5, atol=1e-5)
    # The output grows with each value of the input: whatever row it depends on shows, one picture for each of them.
    raised = np.repeat(x, x.shape[2], axis=0)
    for row, picture in enumerate(raised):
        picture[:, row] += 1e4
    (changed,) = run_model(model, {"x": raised})
    matter = np.flatnonzero((crop(changed, rows) > crop(whole, rows)).any(axis=(1, 2, 3)))
    assert 0 <= matter[0] - needs.start <= surplus(graph)
    assert 0 <= needs.stop - 1 - matter[-1] <= surplus(graph)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_slices_together_are_the_whole(count: int) -> None:
    graph = inspect(residual_net())
    x = np.random.default_rng(0).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)
    (whole,) = run_model(graph.model, {"x": x}, ["r4"])
    np.testing.assert_allclose(joined(graph, x, "r4", count), whole, atol=1e-6)


def test_the_tail_behind_joined_slices_gives_the_uncut_answer() -> None:
    graph = inspect(residual_net())
    x = np.random.default_rng(0).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)
    (uncut,) = run_model(graph.model, {"x": x})
    tail = extract_span(graph.model, [graph.specs["r4"]], graph.outputs, graph.batch)
    (scores,) = run_model(tail, {"r4": joined(graph, x, "r4", 3)})
    np.testing.assert_allclose(scores, uncut, atol=1e-5)


def test_a_slice_that_begins_in_the_middle_of_the_model() -> None:
    graph = inspect(residual_net())
    x = np.random.default_rng(0).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)
    middle, whole = run_model(graph.model, {"x": x}, ["r1", "r4"])
    piece = slice_span(graph, [graph.specs["r1"]], [graph.specs["r4"]], Rows(2, 4))
    assert piece.needs == (Rows(1, 10),)
    (given,) = run_model(piece.model, {"r1": crop(middle, piece.needs[0])})
    np.testing.assert_allclose(given, crop(whole, piece.rows), atol=1e-6)


def test_several_tensors_cross_the_end() -> None:
    graph = inspect(residual_net())
    x = np.random.default_rng(0).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)
    whole = run_model(graph.model, {"x": x}, ["r1", "r3"])
    piece = slice_span(graph, graph.inputs, [graph.specs["r1"], graph.specs["r3"]], Rows(5, 9))
    for part, wanted in zip(run_model(piece.model, {"x": crop(x, piece.needs[0])}), whole, strict=True):
        np.testing.assert_allclose(part, crop(wanted, piece.rows), atol=1e-6)


def test_a_picture_in_rows_of_pixels() -> None:
    how = Preprocessing(height=SIDE, width=SIDE, channels="bgr", mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    model, _ = prepend_normalisation(residual_net(), (1, 3, SIDE, SIDE), how, batch=True)
    graph = ModelGraph.inspect(model, [TensorSpec("picture", (1, SIDE, SIDE, 3), "uint8")])
    x = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8)
    (whole,) = run_model(graph.model, {"picture": x}, ["r3"])
    np.testing.assert_allclose(joined(graph, x, "r3", 3, axis=1), whole, atol=1e-5)


def test_an_int8_head_in_slices() -> None:
    fp32 = inspect(residual_net())
    samples = [(np.random.default_rng(i).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32),) for i in range(4)]
    graph = inspect(int8_model(fp32, samples))
    (whole,) = run_model(graph.model, {"x": samples[0][0]}, ["r3_DequantizeLinear_Output"])
    np.testing.assert_array_equal(joined(graph, samples[0][0], "r3", 3), whole)


def test_slices_store_no_weight_twice_and_inner_slices_of_one_height_are_one_graph() -> None:
    net = Network()
    for number in range(4):
        net.conv(f"t{number}" if number else "x", f"t{number + 1}", 16, 16)
    graph = ModelGraph.inspect(net.model((1, 16, 32, 32), ["t4"]), [TensorSpec("x", (1, 16, 32, 32), "float32")])
    slices = [slice_span(graph, graph.inputs, [graph.specs["t4"]], rows) for rows in even_rows(32, 8)]
    shared = share_weights({str(n): ("device", piece.model) for n, piece in enumerate(slices)}, "weights")
    (file,) = shared.weights.values()
    assert len(file[1]) == 4 * 16 * 16 * 9 * 4
    assert len(set(shared.graphs.values())) == 3  # The first, the last, and six times the same.
    assert all(len(data) < 4000 for data in shared.graphs.values())


@pytest.mark.parametrize(
    ("network", "end", "rows", "message"),
    [
        (residual_net, "m", Rows(0, 1), r"'m' cannot be computed in slices: layer 'node_m' \(GlobalAveragePool\)"),
        (residual_net, "r3", Rows(0, SIDE + 1), "rows 0 to 17 of a tensor that has 16"),
        (residual_net, "r3", Rows(3, 3), "rows 3 to 3"),
    ],
)
def test_what_cannot_be_sliced_is_refused(network, end: str, rows: Rows, message: str) -> None:  # type: ignore[no-untyped-def]
    graph = inspect(network())
    with pytest.raises(CalibrationError, match=message):
        slice_span(graph, graph.inputs, [graph.specs[end]], rows)


def test_tensors_of_several_heights_are_refused() -> None:
    graph = inspect(two_scale_net())
    with pytest.raises(CalibrationError, match=r"tensors of \[4, 8\] rows cross the cut"):
        slice_span(graph, graph.inputs, [graph.specs["fine"], graph.specs["coarse"]], Rows(0, 2))
