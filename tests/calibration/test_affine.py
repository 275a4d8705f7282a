import numpy as np
import onnx
import pytest
from tests.support.decoders import check_batches, free_batch

from cutpoint.calibration.codecs.affine import LEVELS, build_affine, channel_rows, fit_ranges, symbol_spec
from cutpoint.calibration.codecs.entries import fit_affine
from cutpoint.codecs import TensorSpec
from cutpoint.sdk.bundle import Boundary
from cutpoint.sdk.runtimes import create_runtime

SPECS = [
    TensorSpec("maps", (1, 6, 5, 4), "float32"),
    TensorSpec("tokens", (1, 7, 6), "float32"),
    TensorSpec("vector", (1, 9), "float32"),
    TensorSpec("half", (1, 3, 2, 2), "float16"),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_the_graphs_quantise_and_come_back(spec: TensorSpec) -> None:
    value = np.random.default_rng(0).normal(2, 3, spec.shape).astype(spec.dtype)
    fit = fit_ranges(channel_rows(spec, value), tuple(LEVELS.values()))
    graphs = build_affine([spec], [fit])
    runtime = create_runtime("onnx")
    encoder, decoder = (runtime.load(model.SerializeToString(), {}) for model in (graphs.encoder, graphs.decoder))
    (symbol,) = graphs.symbols
    errors = []
    for level, top in enumerate(fit.top):
        (symbols,) = encoder.run([value, np.array(level)])
        assert symbol.accepts(symbols)
        assert symbols.max() <= top
        (back,) = decoder.run([symbols, np.array(level)])
        assert spec.accepts(back)
        errors.append(float(np.abs(back.astype(np.float32) - value).mean()))
        wanted = np.clip(
            np.rint((channel_rows(spec, value) - fit.low[level][:, None]) / fit.step[level][:, None]), 0, top
        )
        # Rounding may tip over where a value lies between two symbols.
        assert np.abs(symbols.reshape(wanted.shape).astype(int) - wanted).max() <= 1
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.02


@pytest.mark.parametrize(
    "specs", [*([spec] for spec in SPECS), SPECS], ids=lambda specs: "+".join(spec.name for spec in specs)
)
def test_the_decoder_takes_batches(specs: list[TensorSpec]) -> None:
    rng = np.random.default_rng(0)
    samples = [[rng.normal(2, 3, spec.shape).astype(spec.dtype) for spec in specs] for _ in range(20)]
    made = fit_affine(Boundary(1, tuple(specs), "cut"), samples)
    encoder, decoder = (made.files[f.file][1] for f in (*made.entry.encoder, *made.entry.decoder))
    assert not free_batch(onnx.load_from_string(encoder))
    check_batches(decoder, made.entry.symbols, len(LEVELS))


def test_values_outside_the_range_are_clipped() -> None:
    spec = TensorSpec("x", (1, 1, 1, 3), "float32")
    fit = fit_ranges(np.array([[0.0, 0.5, 1.0]], np.float32), (8,))
    graphs = build_affine([spec], [fit])
    encoder = create_runtime("onnx").load(graphs.encoder.SerializeToString(), {})
    (symbols,) = encoder.run([np.array([[[[-5, 0.502, 9]]]], np.float32), np.array(0)])
    np.testing.assert_array_equal(symbols.ravel(), [0, 128, 255])


def test_a_constant_channel_comes_back_exactly() -> None:
    spec = TensorSpec("x", (1, 3, 2), "float32")
    value = np.array([[[0, 4.5], [0, 4.5], [0, 4.5]]], np.float32)
    graphs = build_affine([spec], [fit_ranges(channel_rows(spec, value), (4,))])
    runtime = create_runtime("onnx")
    (symbols,) = runtime.load(graphs.encoder.SerializeToString(), {}).run([value, np.array(0)])
    (back,) = runtime.load(graphs.decoder.SerializeToString(), {}).run([symbols, np.array(0)])
    np.testing.assert_allclose(back, value)


def test_few_bits_give_up_rare_values() -> None:
    rows = np.concatenate([np.random.default_rng(0).normal(0, 1, 4000), [9.0, -9.0]])[None].astype(np.float32)
    fit = fit_ranges(rows, (4, 8))
    assert fit.step[0, 0] * 15 < 18
    assert fit.low[0, 0] > fit.low[1, 0] >= -9


def test_tokens_become_channels() -> None:
    assert symbol_spec(SPECS[1]).shape == (1, 6, 7)
    assert channel_rows(SPECS[1], np.zeros((1, 7, 6))).shape == (6, 7)
