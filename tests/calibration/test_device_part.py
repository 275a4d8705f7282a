from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.tflite import adding_net
from tests.support.toy import toy_bundle

from cutpoint.calibration.codecs.entries import FittedCodec
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


def test_heads_with_large_encoders_are_left_out_first() -> None:
    # MobileNetV2 in fp32, with a large encoder behind the last cut.
    kilobytes = {1: 8, 2: 12, 3: 19, 4: 26, 5: 33, 6: 40, 7: 47, 8: 54, 9: 14_008}
    encoders = {1: 57_000, 2: 71_000, 3: 129_000, 4: 131_000, 5: 202_000, 6: 176_000, 7: 176_000, 8: 25_600_000}
    asked: list[int] = []

    def size(end: int) -> int:
        asked.append(end)
        return 1000 * kilobytes[end]

    assert heads_that_fit(kilobytes, encoders, 9, size) == set(range(1, 8)) | {9}
    assert sorted(asked) == sorted(kilobytes)
    assert heads_that_fit(kilobytes, {}, 9, size) == set(kilobytes)


def test_no_head_is_made_beyond_the_first_that_does_not_fit() -> None:
    asked: list[int] = []

    def size(end: int) -> int:
        asked.append(end)
        return 10_000_000

    assert heads_that_fit({1, 2, 3}, {1: 30_000_000, 2: 20_000_000}, 3, size) == {3}
    assert asked == [3, 2]


def test_what_is_small_anyway_is_kept() -> None:
    assert heads_that_fit({1, 2}, {1: 100_000}, 2, lambda end: 100) == {1, 2}


@given(
    st.dictionaries(st.integers(1, 20), st.integers(1, 10**8), max_size=12),
    st.dictionaries(st.integers(0, 20), st.integers(0, 10**7)),
    st.integers(1, 10**8),
)
def test_what_is_kept_fits(heads: dict[int, int], encoders: dict[int, int], whole: int) -> None:
    kept = heads_that_fit(heads, encoders, 21, (heads | {21: whole}).__getitem__)
    total = whole + sum(heads[end] + encoders.get(end, 0) for end in kept - {21})
    assert 21 in kept
    assert kept == {21} or total + encoders.get(0, 0) <= max(MOST * whole, 2**20)


def _boundaries() -> list[Boundary]:
    return [Boundary(index, ()) for index in range(4)]


def _convert(asked: list[tuple[int, str]], without: str = "") -> Callable[[Boundary, str], bytes | None]:
    """Heads with 2 kB of weights a boundary; at the precision `without` there is none up to boundary 3."""

    def convert(end: Boundary, precision: str) -> bytes | None:
        asked.append((end.index, precision))
        if (end.index, precision) == (3, without):
            return None
        return adding_net([np.full((1, 500), number, np.float32) for number in range(end.index)])

    return convert


def test_heads_of_a_network() -> None:
    asked: list[tuple[int, str]] = []
    wanted = {(0, 1, "fp32"), (0, 2, "fp16"), (1, 3, "fp32"), (0, 3, "fp32")}
    assert small_heads(("fp32", "fp16"), _boundaries(), wanted, [], _convert(asked)) == {1, 2, 3}
    assert set(asked) == {(1, "fp32"), (2, "fp16"), (3, "fp16"), (3, "fp32")}
    convert = only_to(frozenset({1}), lambda end, _: bytes([end.index]))
    assert [convert(boundary, "fp32") for boundary in _boundaries()] == [None, b"\x01", None, None]


def _codec(size: int) -> FittedCodec:
    """At boundary 1, with an encoder of so many bytes for LiteRT."""
    encoder = GraphFile("tflite", "codecs/1.tflite"), GraphFile("onnx", "codecs/1.onnx")
    entry = CodecEntry("1-klt", "klt", 1, 1, ("all",), encoder=encoder, tables="t")
    files: dict[str, tuple[Part, bytes]] = {
        "t": ("both", bytes(1000)),
        "codecs/1.tflite": ("device", bytes(size)),
        "codecs/1.onnx": ("device", b""),
    }
    return FittedCodec(entry, files)


def test_weights_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cutpoint.calibration.search.device_part._SMALL", 0)
    boundaries = [Boundary(index, ()) for index in range(10)]
    spans = {(0, end, "fp32") for end in range(1, 10)}
    convert = _convert([])
    own = [len(convert(boundary, "fp32") or b"") for boundary in boundaries[1:]]
    assert sum(own) > MOST * own[-1]
    assert small_heads(("fp32",), boundaries, spans, [], convert) == set(range(1, 10))
    assert small_heads(("fp32",), boundaries, spans, [_codec(2 * own[-1])], convert) == set(range(2, 10))


def test_what_does_not_fit_at_one_precision_has_no_file_at_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cutpoint.calibration.search.device_part._SMALL", 5000)
    spans = {(0, end, precision) for end in (1, 2, 3) for precision in ("fp32", "fp16")}
    given = _boundaries(), spans, []
    assert small_heads(("fp32",), *given, _convert([], without="fp16")) == {1, 2, 3}
    # Without a file of the whole model the heads have weights of their own.
    assert small_heads(("fp32", "fp16"), *given, _convert([], without="fp16")) == {1, 3}


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
