"""Codecs for streams, made from single pictures and tried on a moving one."""

import numpy as np
import pytest
from tests.support.toy import SIDE, picture, toy_bundle

from cutpoint.calibration.codecs.entries import FittedCodec
from cutpoint.calibration.codecs.streams import for_streams, neighbour
from cutpoint.codecs import Array, DeltaCodec, SymbolMemory
from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.runtimes import create_runtime


def test_neighbour_is_a_small_step_of_the_same_picture() -> None:
    still = np.zeros((1, 40, 40, 3), np.uint8)
    still[0, 10:30, 10:30] = 200
    frames = [neighbour(still, np.random.default_rng(seed)) for seed in range(40)]
    for frame in frames:
        assert frame.shape == still.shape
        assert frame.dtype == np.uint8
        rows = np.flatnonzero(frame[0, :, 20, 0] > 100)
        assert abs(rows[0] - 10) <= 2
        assert abs(rows[-1] - 29) <= 2
    assert len({frame.tobytes() for frame in frames}) == len(frames)
    again = neighbour(still, np.random.default_rng(0))
    np.testing.assert_array_equal(again, frames[0])


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return toy_bundle()


def test_codec_for_streams_keeps_graphs_and_gains_tables(bundle: Bundle) -> None:
    graphs = BundleGraphs(bundle, [create_runtime("onnx")])
    head = graphs.span(0, 1, "fp32")
    rng = np.random.default_rng(0)
    stills = [picture(i % 3, i)[np.newaxis] for i in range(40)]
    frames = [(head.run([still]), head.run([neighbour(still, rng)])) for still in stills]
    entry = bundle.codec("1-affine")
    paths = [entry.encoder[0].file, entry.decoder[0].file, str(entry.tables)]
    plain = FittedCodec(entry, {path: ("both", bundle.read(path)) for path in paths})
    wrapped = for_streams(plain, frames)
    assert (wrapped.entry.id, wrapped.entry.codec, wrapped.entry.config) == ("1-affine", "delta", {"of": "affine"})
    assert wrapped.entry.levels == entry.levels
    assert {path: data for path, data in wrapped.files.items() if path != entry.tables} == {
        path: data for path, data in plain.files.items() if path != entry.tables
    }
    parts = graphs.codec("1-affine").parts
    codec = DeltaCodec(type(parts)(**{**_fields(parts), "tables": wrapped.files[str(entry.tables)][1]}))
    memory = SymbolMemory()
    reference: tuple[Array, ...] | None = None
    intra = delta = 0
    scene = picture(1, 3)[np.newaxis]
    for _ in range(10):
        tensors = head.run([scene])
        payload, symbols = codec.encode_frame(tensors, 0, reference)
        decoded = codec.decode_frame(payload, 0, memory)
        np.testing.assert_array_equal(decoded[0], codec.decode(codec.encode(tensors, 0), 0)[0])
        reference = symbols
        intra += len(codec.encode(tensors, 0))
        delta += len(payload)
        scene = np.clip(scene.astype(int) + rng.integers(-2, 3, scene.shape), 0, 255).astype(np.uint8)
    assert scene.shape == (1, SIDE, SIDE, 3)
    assert delta < intra


def _fields(parts: object) -> dict[str, object]:
    return {name: getattr(parts, name) for name in parts.__slots__}  # type: ignore[attr-defined]
