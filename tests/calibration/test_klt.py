from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from tests.support.decoders import check_batches, free_batch

from cutpoint.calibration.codecs.entries import FittedCodec
from cutpoint.calibration.codecs.klt import LEVELS, design_dead_zones, fit_klt
from cutpoint.calibration.codecs.klt_graphs import build_klt
from cutpoint.calibration.codecs.plane_code import fit_plane
from cutpoint.calibration.codecs.planes import find_planes
from cutpoint.calibration.codecs.sensitivity import Divergence
from cutpoint.codecs import Array, TensorSpec, unpack_tables
from cutpoint.sdk.bundle import Boundary
from cutpoint.sdk.runtimes import Graph, create_runtime

MAPS = TensorSpec("maps", (1, 6, 7, 5), "float32")
BLOCKS = TensorSpec("blocks", (1, 3, 28, 32), "float32")
ODD = TensorSpec("odd", (1, 2, 23, 7), "float32")
TOKENS = TensorSpec("tokens", (1, 10, 8), "float32")
SEQUENCE = TensorSpec("sequence", (1, 35, 4), "float32")
VECTOR = TensorSpec("vector", (1, 9), "float32")
HALF = TensorSpec("half", (1, 3, 4, 4), "float16")
EVERY = [MAPS, BLOCKS, ODD, TOKENS, SEQUENCE, VECTOR, HALF]
every_kind = pytest.mark.parametrize("spec", EVERY, ids=lambda spec: spec.name)


def samples(specs: Sequence[TensorSpec], count: int, seed: int = 0) -> list[tuple[Array, ...]]:
    """Tensors whose channels and neighbours go together."""
    rng = np.random.default_rng(seed)
    mixing = {spec.name: np.random.default_rng(9).normal(0, 1, (spec.shape[1],) * 2) for spec in specs}

    def one(spec: TensorSpec) -> Array:
        noise = rng.normal(0, 1, spec.shape).cumsum(axis=-1) * 0.5 + 3
        return np.tensordot(mixing[spec.name], noise[0], 1)[None].astype(spec.dtype)

    return [tuple(one(spec) for spec in specs) for _ in range(count)]


def halves(made: FittedCodec) -> tuple[Graph, Graph]:
    runtime = create_runtime("onnx")
    encoder, decoder = (runtime.load(made.files[f.file][1], {}) for f in (*made.entry.encoder, *made.entry.decoder))
    return encoder, decoder


def fit(*specs: TensorSpec, count: int = 40, divergence: Divergence | None = None) -> FittedCodec:
    return fit_klt(Boundary(1, specs, "cut"), samples(specs, count), divergence)


@every_kind
def test_the_basis_is_orthonormal_and_decorrelates(spec: TensorSpec) -> None:
    plane = find_planes(spec)[-1]
    values = plane.extract(np.concatenate([tensors[0] for tensors in samples([spec], 200)]))
    code, coefficients = fit_plane(plane, values)
    gram = code.analysis @ code.analysis.T
    np.testing.assert_allclose(gram, np.eye(plane.channels), atol=1e-4)
    assert np.square(coefficients).mean() == pytest.approx(1, rel=1e-3)
    energy = np.square(coefficients).mean(axis=(0, 2, 3))
    assert energy[0] == energy.max()


@every_kind
def test_tiny_steps_reconstruct_perfectly(spec: TensorSpec) -> None:
    planes = find_planes(spec)
    tensors = samples([spec], 30)
    whole = np.concatenate([given[0] for given in tensors])
    codes = [fit_plane(plane, plane.extract(whole))[0] for plane in planes]
    symbols = [TensorSpec(f"{p.name}/symbols", (1, *p.shape), "int16") for p in planes]
    zones = [np.full((1, 64), 0.1, np.float32) for _ in planes]
    models = build_klt([spec], [range(len(planes))], codes, symbols, [1e-3], zones)
    encoder, decoder = (create_runtime("onnx").load(model.SerializeToString(), {}) for model in models)
    level = np.array(0, np.int64)
    for given in tensors[:3]:
        (back,) = decoder.run([*encoder.run([*given, level]), level])
        assert spec.accepts(back)
        scale = np.abs(given[0]).max()
        np.testing.assert_allclose(back, given[0], atol=float(scale) * (2e-3 if spec.dtype == "float16" else 1e-3))


@every_kind
def test_the_graphs_are_the_reference(spec: TensorSpec) -> None:
    plane = find_planes(spec)[-1]
    tensors = np.concatenate([given[0] for given in samples([spec], 30)])
    code, coefficients = fit_plane(plane, plane.extract(tensors))
    step = 0.7
    zones = design_dead_zones(code, coefficients, step)
    if plane.tokens is not None:  # This plane alone.
        spec = TensorSpec(spec.name, (1, plane.tokens[1] - plane.tokens[0], plane.channels), spec.dtype)
        tensors = tensors[:, slice(*plane.tokens)]
        plane = find_planes(spec)[0]
        code, _ = fit_plane(plane, plane.extract(tensors))
    symbol = TensorSpec("symbols", (1, *plane.shape), "int8")
    models = build_klt([spec], [[0]], [code], [symbol], [step], [zones[None]])
    encoder, decoder = (create_runtime("onnx").load(model.SerializeToString(), {}) for model in models)
    level = np.array(0, np.int64)
    wanted = code.quantise(code.forward(plane.extract(tensors[:5])), step, zones)
    for number in range(5):
        (found,) = encoder.run([tensors[number : number + 1], level])
        assert symbol.accepts(found)
        # Rounding may tip over where a value lies on a border.
        assert np.mean(found[0] != wanted[number]) < 0.002
        (back,) = decoder.run([found, level])
        restored = code.inverse(code.restore(found, step, zones))
        tolerance = 2e-2 if spec.dtype == "float16" else 1e-3
        np.testing.assert_allclose(plane.extract(back), restored, atol=tolerance)


@pytest.mark.parametrize(
    "specs", [*([spec] for spec in EVERY), EVERY], ids=lambda specs: "+".join(spec.name for spec in specs)
)
def test_the_decoder_takes_batches(specs: list[TensorSpec]) -> None:
    made = fit(*specs)
    encoder, decoder = (made.files[f.file][1] for f in (*made.entry.encoder, *made.entry.decoder))
    assert not free_batch(onnx.load_from_string(encoder))
    check_batches(decoder, made.entry.symbols, len(LEVELS))


def test_components_that_never_show_are_left_out() -> None:
    spec = TensorSpec("x", (1, 8, 6, 6), "float32")
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(8, 2))
    given = [((np.tensordot(mixing, rng.normal(size=(2, 6, 6)), 1) + 5)[None].astype(np.float32),) for _ in range(30)]
    made = fit_klt(Boundary(1, (spec,), "cut"), given)
    assert made.entry.symbols[0].shape == (1, 2, 6, 6)
    encoder, decoder = halves(made)
    level = np.array(len(LEVELS) - 1, np.int64)
    (back,) = decoder.run([*encoder.run([*given[0], level]), level])
    assert np.square(back - given[0][0]).mean() < 0.1 * given[0][0].var()


def test_a_basis_of_single_channels_is_no_matrix() -> None:
    spec = TensorSpec("x", (1, 300), "float32")
    rng = np.random.default_rng(0)
    spread = rng.uniform(0.5, 2, 300)
    given = [((rng.normal(1, spread))[None].astype(np.float32),) for _ in range(40)]
    made = fit_klt(Boundary(1, (spec,), "cut"), given)
    assert all(len(made.files[file.file][1]) < 4 * 300 * 300 / 5 for file in (*made.entry.encoder, *made.entry.decoder))
    encoder, decoder = halves(made)
    level = np.array(len(LEVELS) - 1, np.int64)
    (back,) = decoder.run([*encoder.run([*given[0], level]), level])
    assert np.square(back - given[0][0]).mean() < 0.2 * given[0][0].var()
    check_batches(made.files[made.entry.decoder[0].file][1], made.entry.symbols, len(LEVELS))


def test_a_tensor_that_never_changes_costs_nothing() -> None:
    made = fit_klt(Boundary(1, (MAPS,), "cut"), [(np.full(MAPS.shape, 2.5, np.float32),)] * 5)
    encoder, decoder = halves(made)
    level = np.array(0, np.int64)
    (symbols,) = encoder.run([np.full(MAPS.shape, 2.5, np.float32), level])
    assert symbols.shape[1] == 1
    assert not symbols.any()
    np.testing.assert_allclose(decoder.run([symbols, level])[0], 2.5, atol=1e-5)


def test_a_class_token_is_a_symbol_tensor_of_its_own() -> None:
    made = fit(TOKENS)
    assert [spec.name for spec in made.entry.symbols] == ["tokens/prefix/symbols", "tokens/symbols"]
    assert made.entry.symbols[1].shape[2:] == (3, 3)


def test_several_tensors_cross_together() -> None:
    specs = (MAPS, TOKENS, VECTOR, HALF)
    made = fit(*specs)
    encoder, decoder = halves(made)
    (given,) = samples(specs, 1, seed=5)
    errors = []
    for number in range(len(LEVELS)):
        level = np.array(number, np.int64)
        back = decoder.run([*encoder.run([*given, level]), level])
        assert all(spec.accepts(tensor) for spec, tensor in zip(specs, back, strict=True))
        errors.append(sum(float(np.square(a - b).mean()) for a, b in zip(back, given, strict=True)))
    assert errors == sorted(errors, reverse=True)


def test_tables_go_with_levels_and_symbols() -> None:
    made = fit(TOKENS)
    assert made.entry.tables is not None
    models = unpack_tables(made.files[made.entry.tables][1], len(LEVELS), 2)
    assert all(m.channels == s.shape[1] for row in models for m, s in zip(row, made.entry.symbols, strict=True))


def test_dead_zones_are_wider_where_ones_are_rare() -> None:
    (plane,) = find_planes(TensorSpec("x", (1, 2, 8, 8), "float32"))
    values = np.random.default_rng(0).laplace(size=(100, 2, 8, 8)).astype(np.float32)
    values[:, 1] *= 0.2
    code, coefficients = fit_plane(plane, values)
    zones = design_dead_zones(code, coefficients, 1.0)
    assert ((zones >= 0) & (zones < 0.5)).all()
    first, second = (zones[code.contexts[number]].mean() for number in range(2))
    assert second > first


class _Tail:
    """Scores that know the mean of the first channel only."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, tensors: Sequence[Array]) -> list[Array]:
        self.runs += 1
        return [np.array([[tensors[0][0, 0].mean(), 1.0]], np.float32)]


def test_what_the_model_looks_at_is_kept_best() -> None:
    given = samples([MAPS], 40)
    scores = TensorSpec("scores", (1, 2), "float32")
    tail = _Tail()
    seeing = fit_klt(Boundary(1, (MAPS,), "cut"), given, Divergence(tail, [scores], given[:24]))
    assert tail.runs > 24

    def error(made: FittedCodec) -> float:
        """Of the mean of the first channel, in relation to the error everywhere."""
        encoder, decoder = halves(made)
        level = np.array(2, np.int64)
        back = [decoder.run([*encoder.run([*tensors, level]), level])[0] for tensors in given]
        means = [(b - g[0])[0, 0].mean() ** 2 for b, g in zip(back, given, strict=True)]
        return float(np.mean(means) / np.mean([np.square(b - g[0]).mean() for b, g in zip(back, given, strict=True)]))

    assert error(seeing) < error(fit(MAPS))


def test_divergence_of_scores_probabilities_and_other_outputs() -> None:
    given = [(np.array([[1.0, 2.0, 0.5]], np.float32),)]
    moved = [(np.array([[2.0, 1.0, 0.5]], np.float32),)]
    spec = TensorSpec("y", (1, 3), "float32")

    def soft(tensors: Sequence[Array]) -> list[Array]:
        exponentials = np.exp(tensors[0])
        return [exponentials / exponentials.sum()]

    by_scores = Divergence(list, [spec], given)
    assert by_scores(given) == pytest.approx(0)
    assert by_scores(moved) == pytest.approx(Divergence(soft, [spec], given)(moved), rel=1e-5)
    other = Divergence(list, [TensorSpec("y", (1, 3, 1), "float32")], given)
    assert not other.classes
    assert other(moved) == pytest.approx(2 / 5.25)
