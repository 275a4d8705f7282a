import pytest
from tests.support.networks import SIDE, inspect, residual_net

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.slices import Rows, even_rows, find_local_prefix, slice_span, trace_halo

GRAPH = inspect(residual_net())
PREFIX = find_local_prefix(GRAPH)


def test_the_rows_of_every_tensor_between() -> None:
    halo = trace_halo(GRAPH, PREFIX, ["x"], ["r4"], Rows(3, 4))
    # r4 is a convolution of stride 2 behind r3 = relu(conv(relu(conv(r1))) + r1): r1 is needed for the longer way.
    wanted = {"r4": (3, 4), "c4": (3, 4), "r3": (5, 8), "a3": (5, 8), "c3": (5, 8), "r2": (4, 9), "c2": (4, 9)}
    wanted |= {"r1": (3, 10), "c1": (3, 10), "x": (2, 11)}
    assert {name: (rows.start, rows.stop) for name, rows in halo.rows.items()} == wanted


def test_the_walk_ends_at_the_start() -> None:
    halo = trace_halo(GRAPH, PREFIX, ["r1"], ["r3"], Rows(0, 2))
    assert "x" not in halo.rows
    assert halo.rows["r1"] == Rows(0, 4)


def test_the_multiply_accumulates_of_every_row_that_is_computed() -> None:
    whole = trace_halo(GRAPH, PREFIX, ["x"], ["r3"], Rows(0, SIDE))
    row = 8 * 9 * 8 * SIDE  # Of c2 and of c3; c1 has three channels instead of eight before it.
    assert whole.macs == SIDE * (row * 3 // 8 + 2 * row)
    upper, lower = (trace_halo(GRAPH, PREFIX, ["x"], ["r3"], rows) for rows in even_rows(SIDE, 2))
    # Beyond the middle lie none of the rows of c3, one of c2, two of c1.
    assert upper.macs == lower.macs == whole.macs // 2 + row + 2 * row * 3 // 8
    assert slice_span(GRAPH, GRAPH.inputs, [GRAPH.specs["r3"]], Rows(0, 8)).macs == upper.macs


def test_a_start_that_nothing_needs() -> None:
    with pytest.raises(CalibrationError, match="'r4' crosses the cut, but nothing behind it needs it"):
        trace_halo(GRAPH, PREFIX, ["r4"], ["r3"], Rows(0, 2))
