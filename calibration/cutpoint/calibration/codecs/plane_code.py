"""The transform of one plane: principal components over channels, a DCT over space, weights, contexts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cutpoint.calibration.codecs.graph_halves import half_precision
from cutpoint.calibration.codecs.planes import Plane
from cutpoint.codecs import Array

__all__ = ["CONTEXTS", "PlaneCode", "fit_plane"]

#: Context of a coefficient: its mean magnitude, in steps of this ratio, so many steps below the largest.
_RATIO = 1.15
CONTEXTS = 64


@dataclass(frozen=True)
class PlaneCode:
    """The transform of one plane. Coefficient = (DCT(analysis · (x - mean)) - offset) · weight.

    Attributes:
        plane: what it is of.
        mean: float32 (channels,).
        analysis: float32 (components, channels), weights of the components included.
        synthesis: float32 (channels, components), its inverse on the components that there are.
        offset: float32 (components, row period, column period), mean before `weight`.
        weight: float32 (row period, column period).
        contexts: uint8 (components, row period, column period).
    """

    plane: Plane
    mean: Array
    analysis: Array
    synthesis: Array
    offset: Array
    weight: Array
    contexts: Array

    @property
    def components(self) -> int:
        """How many components there are."""
        return len(self.analysis)

    @property
    def context_map(self) -> Array:
        """uint8 (components, height, width)."""
        return self.plane.spread(self.contexts)

    def forward(self, values: Array) -> Array:
        """Coefficients (samples, components, height, width) of values (samples, channels, height, width)."""
        samples, channels = values.shape[:2]
        flat = values.reshape(samples, channels, -1) - self.mean[:, None]
        mixed = np.matmul(self.analysis, flat).reshape(samples, self.components, *values.shape[2:])
        centred: Array = self.plane.transform(mixed) - self.plane.spread(self.offset)
        centred *= self.plane.spread(self.weight)
        return centred

    def inverse(self, coefficients: Array) -> Array:
        """Values of coefficients."""
        mixed: Array = coefficients / self.plane.spread(self.weight) + self.plane.spread(self.offset)
        mixed = self.plane.transform(mixed, inverse=True)
        flat: Array = np.matmul(self.synthesis, mixed.reshape(*mixed.shape[:2], -1)) + self.mean[:, None]
        return flat.reshape(len(coefficients), *self.plane.shape)

    def weighed(self, component: Array, frequency: Array) -> PlaneCode:
        """The same with additional weights (components,) and (row period, column period)."""
        return replace(
            self,
            analysis=self.analysis * component[:, None],
            synthesis=self.synthesis / component,
            offset=self.offset * component[:, None, None],
            weight=self.weight * frequency,
        )

    def with_contexts(self, coefficients: Array) -> PlaneCode:
        """The same with contexts by the mean magnitude of `coefficients`."""
        scale = self.plane.mean(np.abs(coefficients).mean(axis=0))
        below = np.log(max(float(scale.max()), 1e-30) / np.maximum(scale, 1e-30)) / np.log(_RATIO)
        return replace(self, contexts=np.minimum(below, CONTEXTS - 1).astype(np.uint8))

    def kept(self, components: Array) -> PlaneCode:
        """The same with these components only (indices)."""
        return replace(
            self,
            analysis=self.analysis[components],
            synthesis=self.synthesis[:, components],
            offset=self.offset[components],
            contexts=self.contexts[components],
        )

    def rounded(self) -> PlaneCode:
        """The same with the encoder's large tables rounded to what float16 holds: files have them in half the size."""
        return replace(self, analysis=half_precision(self.analysis), offset=half_precision(self.offset))

    def quantise(self, coefficients: Array, step: float, dead_zones: Array) -> Array:
        """Integers, still float32: rounded after everything came `dead_zones` (contexts,) steps nearer to zero."""
        scaled = coefficients / np.float32(step)
        zone = dead_zones[self.context_map]
        return np.asarray(np.rint(scaled - np.clip(scaled, -zone, zone)))

    def restore(self, symbols: Array, step: float, dead_zones: Array) -> Array:
        """Coefficients of symbols: the middles of the intervals that became them.

        Centroids, nearer to zero, have less squared error, and the model answers worse to them: they take energy out of
        the signal, which the layers behind notice more than noise.
        """
        values = symbols.astype(np.float32)
        values += np.sign(values) * dead_zones[self.context_map]
        return values * np.float32(step)


def fit_plane(plane: Plane, values: Array) -> tuple[PlaneCode, Array]:
    """The transform of a plane without weights, from values (samples, channels, height, width).

    The covariance is shrunk towards its diagonal where there are few positions for its size, so that a handful of
    samples of a long vector does not pass for its principal components.

    Returns:
        The transform, scaled to coefficients with root mean square 1, and the coefficients.
    """
    samples, channels = values.shape[:2]
    flat = values.reshape(samples, channels, -1)
    positions = samples * flat.shape[2]
    mean = flat.mean(axis=(0, 2), dtype=np.float64)
    covariance = np.zeros((channels, channels))
    for sample in flat:
        centred = sample - mean[:, None]
        covariance += centred @ centred.T
    covariance /= positions
    shrink = min(1.0, channels / positions)
    covariance = (1 - shrink) * covariance + shrink * np.diag(np.diag(covariance))
    variances, vectors = np.linalg.eigh(covariance)
    basis = vectors[:, np.argsort(-variances, kind="stable")].T.astype(np.float32)
    # Signs are free; fixing them makes the files the same wherever they were made.
    basis *= np.where(basis[np.arange(channels), np.abs(basis).argmax(axis=1)] < 0, -1, 1).astype(np.float32)[:, None]
    periods = plane.radius.shape
    code = PlaneCode(
        plane,
        mean.astype(np.float32),
        basis,
        np.ascontiguousarray(basis.T),
        np.zeros((channels, *periods), np.float32),
        np.ones(periods, np.float32),
        np.zeros((channels, *periods), np.uint8),
    )
    coefficients = code.forward(values)
    offset = plane.mean(coefficients.mean(axis=0, dtype=np.float64)).astype(np.float32)
    coefficients -= plane.spread(offset)
    size = max(float(np.sqrt(np.square(coefficients, dtype=np.float64).mean())), 1e-12)
    code = replace(code, offset=offset, weight=code.weight / np.float32(size))
    coefficients /= np.float32(size)
    return code.with_contexts(coefficients), coefficients
