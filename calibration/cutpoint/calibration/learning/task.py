"""What a policy is trained for, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.learning.policy_file import Layer, policy_file, seen
from cutpoint.calibration.learning.worlds import Worlds
from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.learned import SCHEMA, PolicyCard, Weights, points_digest
from cutpoint.sdk.objective import Objective
from cutpoint.sdk.observation import FEATURES
from cutpoint.sdk.policy import AdaptivePolicy

__all__ = ["Trained", "TrainingTask", "finish"]

#: Observations that a client checks the graph with.
_PROBES = 8
#: Share of the observations of the training on which the heads' disagreement is trusted.
_TRUSTED = 0.99


@dataclass(frozen=True)
class TrainingTask:
    """What a policy is trained for.

    Attributes:
        bundle: with the points.
        objective: what is wanted; no cost of one's own.
        worlds: to learn in.
        error: standard deviation of the logarithm by which estimates of channel and computation may be off.
        quantile: of the cost that counts, 0 … 1; None: the mean, and nothing is injected.
        seed: of everything.

    Raises:
        CalibrationError: for values that make no sense.
    """

    bundle: Bundle
    objective: Objective = field(default_factory=lambda: Objective.preset("balanced"))
    worlds: Worlds = field(default_factory=Worlds)
    error: float = 0.0
    quantile: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.objective.cost is not None:
            raise CalibrationError("policies are trained for an objective's weights, not for a cost of one's own")
        if self.error < 0:
            raise CalibrationError(f"error {self.error} is below 0")
        if self.quantile is not None and not 0 < self.quantile < 1:
            raise CalibrationError(f"quantile {self.quantile} is not between 0 and 1")

    @property
    def points(self) -> tuple[str, ...]:
        """Ids of the points that are chosen from."""
        return tuple(point.id for point in AdaptivePolicy.for_bundle(self.bundle, self.objective).points)

    def describe(self) -> dict[str, str | int | float | bool | None]:
        """For the card."""
        worlds = self.worlds
        ranges = {
            name: " to ".join(f"{value:g}" for value in getattr(worlds, name))
            for name in ("users", "device_scale", "server_scale", "period")
        }
        return {
            "error": self.error,
            "quantile": self.quantile,
            "seed": self.seed,
            "links": len(worlds.traces),
            "seconds": worlds.seconds,
            **ranges,
        }


@dataclass(frozen=True)
class Trained:
    """A trained network.

    Attributes:
        algorithm: ``ppo`` or ``memtl``.
        backbone: its layers.
        heads: layers of all heads side by side.
        activation: of the layers.
        observations: that it was trained on, (n, features).
        scores: that it gives for them, (n, points).
        disagreement: of its heads, (n,); None for one head.
        config: of the training, beside what the task says.
    """

    algorithm: str
    backbone: Sequence[Layer]
    heads: Sequence[Layer]
    activation: Literal["Tanh", "Relu"]
    observations: Array
    scores: Array
    disagreement: Array | None
    config: Mapping[str, str | int | float | bool | None]


def finish(task: TrainingTask, trained: Trained) -> bytes:
    """The content of the policy file."""
    probes = np.linspace(0, len(trained.observations) - 1, _PROBES).astype(int)
    card = PolicyCard(
        schema=SCHEMA,
        algorithm=trained.algorithm,
        points=task.points,
        bundle=points_digest(task.bundle.points),
        weights=Weights.of(task.objective),
        features=FEATURES,
        seen=seen(trained.observations),
        disagreement=None if trained.disagreement is None else float(np.quantile(trained.disagreement, _TRUSTED)),
        probes=tuple(tuple(row) for row in trained.observations[probes].tolist()),
        scores=tuple(tuple(row) for row in trained.scores[probes].tolist()),
        training=task.describe() | dict(trained.config),
    )
    return policy_file(trained.backbone, trained.heads, trained.activation, card)
