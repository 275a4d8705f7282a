from hypothesis import given
from hypothesis import strategies as st
from tests.support.networks import inspect, residual_net

from cutpoint.calibration.search.device_part import MOST, heads_that_fit, only_to, small_heads
from cutpoint.sdk.bundle import Boundary


def test_deep_heads_are_left_out_first() -> None:
    # MobileNetV2, with a large encoder behind the last cut.
    kilobytes = {1: 57, 2: 115, 3: 322, 4: 972, 5: 1709, 6: 2799, 7: 5348, 8: 8883, 9: 14_008}
    heads = {end: 1000 * size for end, size in kilobytes.items()}
    encoders = {1: 57_000, 2: 71_000, 3: 129_000, 4: 131_000, 5: 202_000, 6: 176_000, 7: 176_000, 8: 6_415_000}
    assert heads_that_fit(heads, encoders, 9) == set(range(1, 8)) | {9}
    assert heads_that_fit(heads, {}, 9) == set(heads)


def test_the_uncut_model_is_always_there() -> None:
    assert heads_that_fit({1: 9_000_000, 2: 10_000_000}, {1: 10_000_000}, 2) == {2}


def test_what_is_small_anyway_is_kept() -> None:
    assert heads_that_fit({1: 90, 2: 100}, {1: 100_000}, 2) == {1, 2}


@given(
    st.dictionaries(st.integers(1, 20), st.integers(1, 10**8), max_size=12),
    st.dictionaries(st.integers(0, 20), st.integers(0, 10**7)),
    st.integers(1, 10**8),
)
def test_what_is_kept_fits(heads: dict[int, int], encoders: dict[int, int], whole: int) -> None:
    kept = heads_that_fit(heads | {21: whole}, encoders, 21)
    total = whole + sum(heads[end] + encoders.get(end, 0) for end in kept - {21})
    assert 21 in kept
    assert kept == {21} or total + encoders.get(0, 0) <= max(MOST * whole, 2**20)


def test_heads_of_a_network() -> None:
    graph = inspect(residual_net())
    names = [(*graph.inputs,), (graph.specs["r1"],), (graph.specs["r3"],), (*graph.outputs,)]
    boundaries = [Boundary(index, tensors) for index, tensors in enumerate(names)]
    spans = {(0, 1, "fp32"), (0, 2, "fp32"), (0, 2, "int8"), (1, 3, "fp32"), (0, 3, "fp32")}
    ends = small_heads(graph, boundaries, spans, [])
    assert ends == {1, 2, 3}
    assert small_heads(graph, boundaries, {(0, 2, "int8")}, []) == {3}
    convert = only_to(frozenset({1}), lambda _, end: bytes([end.index]))
    assert [convert(graph.model, boundary) for boundary in boundaries] == [None, b"\x01", None, None]
