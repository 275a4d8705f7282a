from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.networks import inspect, residual_net
from tests.support.toy import toy_bundle

from cutpoint.calibration.codecs.entries import FittedCodec
from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.graphs.half import halve_weights
from cutpoint.calibration.search.device_part import (
    MOST,
    drop_large_encoders,
    encoders_that_fit,
    heads_that_fit,
    only_to,
    small_heads,
)
from cutpoint.calibration.search.trials import Trial
from cutpoint.sdk.bundle import Boundary, Bundle, CodecEntry, GraphFile, Part, Point


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


def _boundaries() -> tuple[ModelGraph, list[Boundary]]:
    graph = inspect(residual_net())
    names = [(*graph.inputs,), (graph.specs["r1"],), (graph.specs["r3"],), (*graph.outputs,)]
    return graph, [Boundary(index, tensors) for index, tensors in enumerate(names)]


def _convert(sizes: Mapping[str, int], asked: list[tuple[int, str]]) -> Callable[[Boundary, str], bytes]:
    """Files of as many bytes as `sizes` says for a precision, times the boundary's number."""

    def convert(end: Boundary, precision: str) -> bytes:
        asked.append((end.index, precision))
        return bytes(end.index * sizes[precision])

    return convert


def test_heads_of_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cutpoint.calibration.search.device_part._SMALL", 0)
    graph, boundaries = _boundaries()
    models = {"fp32": graph.model, "fp16": halve_weights(graph.model)}
    asked: list[tuple[int, str]] = []
    given = boundaries, {(0, 1, "fp32"), (0, 2, "fp16"), (1, 3, "fp32"), (0, 3, "fp32")}, [], True
    assert small_heads(models, *given, _convert({"fp32": 4000, "fp16": 2000}, asked)) == {1, 2, 3}
    assert sorted(asked) == [(1, "fp32"), (2, "fp16"), (3, "fp16"), (3, "fp32")]
    convert = only_to(frozenset({1}), lambda end, _: bytes([end.index]))
    assert [convert(boundary, "fp32") for boundary in boundaries] == [None, b"\x01", None, None]


def test_what_does_not_fit_at_one_precision_has_no_file_at_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cutpoint.calibration.search.device_part._SMALL", 0)
    graph, boundaries = _boundaries()
    spans = {(0, end, precision) for end in (1, 2, 3) for precision in ("fp32", "fp16")}
    models = {"fp32": graph.model, "fp16": halve_weights(graph.model)}
    encoder = GraphFile("tflite", "codecs/1.tflite"), GraphFile("onnx", "codecs/1.onnx")
    entry = CodecEntry("1-klt", "klt", 1, 1, ("all",), encoder=encoder, tables="t")
    files: dict[str, tuple[Part, bytes]] = {
        "t": ("both", bytes(1000)),
        "codecs/1.tflite": ("device", bytes(5000)),
        "codecs/1.onnx": ("device", b""),
    }
    codec = FittedCodec(entry, files)
    for sizes, ends in (({"fp32": 4000, "fp16": 4000}, {1, 2, 3}), ({"fp32": 4000, "fp16": 2000}, {2, 3})):
        assert small_heads(models, boundaries, spans, [codec], True, _convert(sizes, [])) == ends


@given(st.dictionaries(st.sampled_from("abcdefg"), st.integers(0, 100)), st.integers(0, 400), st.data())
def test_small_encoders_first(sizes: dict[str, int], left: int, data: st.DataObject) -> None:
    always = data.draw(st.sets(st.sampled_from(sorted(sizes)))) if sizes else set()
    kept = encoders_that_fit(sizes, left, always)
    assert always <= kept <= set(sizes)
    assert kept == always or sum(sizes[codec] for codec in kept) <= left
    chosen = [sizes[codec] for codec in kept - always]
    assert all(size >= max(chosen, default=0) for codec, size in sizes.items() if codec not in kept)
    for codec in sorted(set(sizes) - kept, key=lambda codec: sizes[codec])[:1]:
        assert sum(sizes[other] for other in kept) + sizes[codec] > left


def _trial(bundle: Bundle, point: Point) -> Trial:
    return Trial(point, point.measured, None, 0, reason="kept", kept=True)


def test_what_a_device_downloads_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = toy_bundle()
    trials = [_trial(bundle, point) for point in bundle.points]
    drop_large_encoders(trials, bundle)
    assert all(trial.kept for trial in trials)  # Less than a megabyte.
    monkeypatch.setattr("cutpoint.calibration.search.device_part._SMALL", 0)
    monkeypatch.setattr("cutpoint.calibration.search.device_part.MOST", 1.2)
    drop_large_encoders(trials, bundle)
    dropped = [trial for trial in trials if not trial.kept]
    assert dropped
    assert all(trial.point.codec is not None and "times the uncut model" in trial.reason for trial in dropped)
