"""The `klt` codec: transform coding without training.

Channels are decorrelated (principal components: the Karhunen–Loève transform), each component goes through an
orthonormal DCT over space, and the coefficients are quantised with one step and a dead zone. What calibration decides,
beyond the bases:

* Where precision is worth bytes. Noise of the size that quantisation makes is put on groups of components and on zones
  of frequencies, and how far the model's outputs move weighs them (`Sensitivity`).
* Dead zones. A coefficient becomes 0 where the bits that it would cost outweigh the error, for each context.
* Steps. The levels lie between an output that has hardly moved and one that has moved as far as is of any use.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cutpoint.calibration.codecs.entries import FittedCodec, symbol_codec
from cutpoint.calibration.codecs.klt_graphs import build_klt
from cutpoint.calibration.codecs.plane_code import CONTEXTS, PlaneCode, fit_plane
from cutpoint.calibration.codecs.planes import find_planes, tensor_of
from cutpoint.calibration.codecs.sensitivity import Divergence
from cutpoint.codecs import Array, EntropyModel, TensorSpec
from cutpoint.sdk.bundle import Boundary

__all__ = ["LEVELS", "KltFit", "design_dead_zones", "design_klt", "fit_klt"]

#: Level names, the smallest first.
LEVELS = ("q1", "q2", "q3", "q4", "q5", "q6")
#: Values of a boundary that fitting holds in memory at most, all samples together (float32: 256 MB).
_FIT_VALUES = 2**26
#: Lagrangian of rate and distortion in squared steps per bit. The slope of a uniform quantiser at high rate would be
#: d(step²/12 · 2^-2R)/dR = -step² · 2 ln 2 / 12 = -0.116 step² (Gish & Pierce, 1968); models bear coefficients that
#: vanish worse than the squared error says, and 0.06 to 0.08 was best on MobileNetV2 from 28×28 to 7×7.
_LAMBDA = 0.07
#: Coefficients below this share of a step always become 0, those above the other never do.
_NARROW, _WIDE = 0.5, 0.95
#: How strongly sensitivities weigh: 0 not at all, 1 as small disturbances ask for. Most coefficients become 0, which is
#: no small disturbance; between 0.5 and 0.75 was best on MobileNetV2 from 28×28 to 7×7.
_TRUST = 0.6
#: Borders of the groups of components and of the zones of frequencies (radius in half waves) that are weighed together.
_GROUPS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
_ZONES = (0.0, 0.5, 1.2, 2.3, 4.0, 7.0)
#: Samples for weighing; steps are chosen on all that there are.
_WEIGHING = 24
#: Divergence at level 0, while weighing, and at the last level: class scores (nats), other outputs (share).
_MOVED_CLASSES = (0.25, 0.06, 0.012)
_MOVED_OUTPUTS = (0.02, 0.005, 0.001)
#: Where there is no tail to ask: steps of the first and the last level, in root mean squares of the coefficients.
_BLIND_STEPS = (2.4, 0.5)
#: Divergence grows with about this power of the step.
_GROWTH = 2.2


def design_dead_zones(code: PlaneCode, coefficients: Array, step: float) -> Array:
    """How far each context's coefficients move towards zero before rounding, in steps: float32 (64,).

    A coefficient x (in steps) near 1/2 becomes 1 at the cost of (1 - x)² + λ·bits(1) or 0 at that of x² + λ·bits(0), so
    the border lies at 1/2 + λ·(bits(1) - bits(0))/2. Bits depend on the borders: two rounds come close enough.
    """
    zones = np.full(CONTEXTS, 0.1, np.float32)
    where = code.context_map
    for _ in range(2):
        magnitude = np.abs(code.quantise(coefficients, step, zones))
        zeros = np.bincount(where.ravel(), (magnitude == 0).sum(axis=0).ravel(), CONTEXTS)
        ones = np.bincount(where.ravel(), (magnitude == 1).sum(axis=0).ravel(), CONTEXTS)
        # Each sign is a symbol of its own. A little is added where nothing was seen.
        bits = np.log2((zeros + 1) / (ones / 2 + 0.25))
        zones = (np.clip(0.5 + _LAMBDA / 2 * bits, _NARROW, _WIDE) - 0.5).astype(np.float32)
    return zones


class KltFit:
    """The planes of a boundary while they are fitted: transforms and coefficients of all samples."""

    def __init__(self, specs: Sequence[TensorSpec], samples: Sequence[Sequence[Array]]) -> None:
        self.specs = specs
        self.planes: list[list[int]] = []
        self.codes: list[PlaneCode] = []
        self.coefficients: list[Array] = []
        for number, spec in enumerate(specs):
            tensors = np.concatenate([sample[number] for sample in samples]).astype(np.float32, copy=False)
            self.planes.append([])
            for plane in find_planes(spec):
                code, coefficients = fit_plane(plane, plane.extract(tensors))
                self.planes[-1].append(len(self.codes))
                self.codes.append(code)
                self.coefficients.append(coefficients)

    def weigh(self, number: int, component: Array, frequency: Array) -> None:
        """Additional weights for one plane, and contexts that go with them."""
        code, coefficients = self.codes[number], self.coefficients[number]
        coefficients *= component[:, None, None].astype(np.float32) * code.plane.spread(frequency.astype(np.float32))
        self.codes[number] = code.weighed(component.astype(np.float32), frequency.astype(np.float32)).with_contexts(
            coefficients
        )

    def tensors(self, coefficients: Sequence[Array]) -> list[list[Array]]:
        """Each sample's tensors for coefficients of every plane."""
        values = [code.inverse(given) for code, given in zip(self.codes, coefficients, strict=True)]
        joined = [
            tensor_of(spec, [self.codes[n].plane for n in numbers], [values[n] for n in numbers])
            for spec, numbers in zip(self.specs, self.planes, strict=True)
        ]
        return [[tensor[i : i + 1] for tensor in joined] for i in range(len(values[0]))]

    def quantised(self, step: float, count: int) -> list[Array]:
        """What the decoder makes of the first `count` samples."""
        restored = []
        for code, coefficients in zip(self.codes, self.coefficients, strict=True):
            given = coefficients[:count]
            zones = design_dead_zones(code, given, step)
            restored.append(code.restore(code.quantise(given, step, zones), step, zones))
        return restored

    def step_for(self, wanted: float, divergence: Divergence, count: int) -> float:
        """The step at which the outputs diverge by about `wanted`."""
        step = 1.0
        for _ in range(7):
            found = divergence(self.tensors(self.quantised(step, count)))
            factor = float(np.clip((wanted / max(found, 1e-12)) ** (1 / _GROWTH), 0.2, 4.0))
            step = float(np.clip(step * factor, 1e-4, 30.0))
            if 0.93 < factor < 1.07:
                break
        return step

    def weigh_by_sensitivity(self, divergence: Divergence, step: float, count: int) -> None:
        """Weights for components, frequencies and planes from what noise on them does to the outputs."""
        rng = np.random.default_rng(0)
        clean = [coefficients[:count] for coefficients in self.coefficients]
        size = np.float32(step / np.sqrt(12))  # of the error that a uniform quantiser makes

        def moved(number: int, where: Array) -> float:
            """Divergence per disturbed energy."""
            signs = rng.integers(0, 2, clean[number].shape).astype(np.float32) * 2 - 1
            noisy = list(clean)
            noisy[number] = clean[number] + signs * size * where
            return divergence(self.tensors(noisy)) / (float(where.sum()) * float(size) ** 2)

        weights, means = [], []
        for number, code in enumerate(self.codes):
            rank = np.digitize(np.arange(code.components), _GROUPS) - 1
            zone = np.digitize(code.plane.radius, _ZONES) - 1
            shape = code.context_map.shape
            ones = np.ones(shape, np.float32)
            by_rank = [moved(number, ones * (rank == g)[:, None, None]) for g in np.unique(rank)]
            found = np.unique(zone)
            by_zone = [1.0]
            if len(found) > 1:
                by_zone = [moved(number, ones * code.plane.spread(zone == z)) for z in found]
            component = _smooth(np.log1p(np.arange(code.components)), rank, by_rank)
            frequency = _smooth(code.plane.radius, zone, by_zone)
            weights.append((component, frequency))
            means.append(max(moved(number, ones), 1e-12))
        for number, (component, frequency) in enumerate(weights):
            share = np.sqrt(means[number] / max(means)) if len(means) > 1 else 1.0
            self.weigh(number, share * component, frequency)


def _smooth(place: Array, group: Array, moved: Sequence[float]) -> Array:
    """Weights from the sensitivities of groups, interpolated between their centres, with geometric mean 1."""
    values = np.maximum(np.array(moved), max(max(moved), 1e-12) * 1e-3)
    centres = [place[group == number].mean() for number in np.unique(group)]
    logs = np.interp(place, centres, np.log(values)) * (_TRUST / 2)
    weights: Array = np.exp(logs - logs.mean())
    return weights


def design_klt(
    boundary: Boundary,
    samples: Sequence[Sequence[Array]],
    divergence: Divergence | None,
    moved: tuple[float, float, float] | None = None,
) -> tuple[KltFit, list[float]]:
    """Bases and the step of each level.

    Args:
        boundary, samples, divergence: as for `fit_klt`.
        moved: divergence at level 0, while weighing, and at the last level; None: as is right without training.
    """
    fit = KltFit(boundary.tensors, samples[: max(1, _FIT_VALUES // sum(spec.size for spec in boundary.tensors))])
    first, last = _BLIND_STEPS
    if divergence is not None:
        coarse, middle, fine = moved or (_MOVED_CLASSES if divergence.classes else _MOVED_OUTPUTS)
        few, many = min(_WEIGHING, len(divergence)), len(divergence)
        fit.weigh_by_sensitivity(divergence, fit.step_for(middle, divergence, few), few)
        first, last = (fit.step_for(wanted, divergence, many) for wanted in (coarse, fine))
    return fit, [float(step) for step in np.geomspace(first, last, len(LEVELS))]


def fit_klt(
    boundary: Boundary, samples: Sequence[Sequence[Array]], divergence: Divergence | None = None
) -> FittedCodec:
    """`klt` with bases, dead zones, steps and entropy tables from calibration data.

    Args:
        boundary: of float tensors.
        samples: the boundary's tensors for each calibration sample.
        divergence: of the model's outputs, for the first of `samples`; None: all coefficients weigh alike, and the
            steps go by the tensors' own size.
    """
    fit, steps = design_klt(boundary, samples, divergence)
    return _write(boundary, fit, steps)


def _write(boundary: Boundary, fit: KltFit, steps: Sequence[float]) -> FittedCodec:
    codes, symbols, zones, models = [], [], [], []
    for code, coefficients in zip(fit.codes, fit.coefficients, strict=True):
        designed = np.stack([design_dead_zones(code, coefficients, step) for step in steps])
        finest = np.abs(code.quantise(coefficients, steps[-1], designed[-1]))
        used = np.flatnonzero(finest.max(axis=(0, 2, 3)))
        used = used if len(used) else np.zeros(1, np.int64)
        # Room for what calibration did not see.
        dtype = np.dtype(np.int8 if finest.max() < 64 else np.int16)
        code, coefficients = code.kept(used).rounded(), coefficients[:, used]
        spec = TensorSpec(f"{code.plane.name}/symbols", (1, len(used), *code.plane.shape[1:]), dtype.name)
        flat = (len(coefficients), len(used), -1)
        most = np.iinfo(dtype.name).max
        index = code.context_map.reshape(len(used), -1)
        tables = []
        for step, zone in zip(steps, designed, strict=True):
            values = np.clip(code.quantise(coefficients, step, zone), -most, most)
            tables.append(EntropyModel.fit(values.reshape(flat).astype(dtype), index=index))
        codes.append(code)
        symbols.append(spec)
        zones.append(designed)
        models.append(tables)
    graphs = build_klt(boundary.tensors, fit.planes, codes, symbols, steps, zones)
    return symbol_codec("klt", boundary, boundary, LEVELS, symbols, graphs, models)
