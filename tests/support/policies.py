"""Small policy files: a graph that was not trained, but is whole."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from cutpoint.calibration.learning.policy_file import Layer, policy_file, seen
from cutpoint.sdk import AdaptivePolicy, Bundle, Channel, Conditions, Objective
from cutpoint.sdk.energy import RADIOS
from cutpoint.sdk.learned import PolicyCard, Weights, points_digest
from cutpoint.sdk.observation import FEATURES, observe
from cutpoint.sdk.protocol import ServerState

__all__ = ["conditions", "scores_of", "small_policy"]


def conditions(count: int = 500, seed: int = 0) -> list[Conditions]:
    """Conditions as they are usual."""
    rng = np.random.default_rng(seed)
    return [
        Conditions(
            Channel(
                *np.exp(rng.normal((14, -3), 0.5)), rng.uniform(0, 1), 2e7, rng.uniform(0, 0.02), rng.uniform(0, 0.1)
            ),
            ServerState(rng.uniform(0, 20), rng.uniform(0, 2)),
            device_scale=rng.uniform(5, 60),
            device_queue_ms=rng.uniform(0, 50),
            unanswered=int(rng.integers(0, 5000)),
        )
        for _ in range(count)
    ]


def scores_of(backbone: list[Layer], heads: list[Layer], observations: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What the graph should give, in numpy."""
    value = observations
    for layer in backbone:
        value = np.tanh(value @ layer.weight + layer.bias)
    for number, layer in enumerate(heads):
        value = value @ layer.weight + layer.bias
        if number + 1 < len(heads):
            value = np.tanh(value)
    value = np.exp(value - value.max(axis=-1, keepdims=True))
    return (value / value.sum(axis=-1, keepdims=True)).mean(axis=0)


def small_policy(
    whole: Bundle,
    /,
    heads: int = 2,
    seed: int = 0,
    poison: float | None = None,
    favourite: str | None = None,
    **changes: Any,
) -> bytes:
    """A policy file for a bundle and the usual objective.

    Args:
        whole: the bundle.
        heads: how many.
        seed: of the weights.
        poison: a value for one of the weights.
        favourite: point that has the best score.
        changes: of the card.
    """
    rng = np.random.default_rng(seed)
    points = tuple(point.id for point in AdaptivePolicy.for_bundle(whole, Objective()).points)

    def layer(*shape: int) -> Layer:
        bias = (shape[-1],) if len(shape) == 2 else (shape[0], 1, shape[-1])
        return Layer(rng.normal(size=shape).astype(np.float32), rng.normal(size=bias).astype(np.float32))

    backbone, tops = [layer(len(FEATURES), 16)], [layer(heads, 16, 8), layer(heads, 8, len(points))]
    if favourite is not None:
        tops[-1].bias[:, :, points.index(favourite)] += 1e3
    observations = np.concatenate([observe(each, RADIOS["lte"]) for each in conditions()])
    card = PolicyCard(
        schema=1,
        algorithm="memtl",
        points=points,
        bundle=points_digest(whole.points),
        weights=Weights.of(Objective()),
        features=FEATURES,
        seen=seen(observations),
        disagreement=1.0 if heads > 1 else None,
        probes=tuple(tuple(row) for row in observations[:8].tolist()),
        scores=tuple(tuple(row) for row in scores_of(backbone, tops, observations[:8]).tolist()),
        training={"seed": seed},
    )
    if poison is not None:
        tops[-1].bias[0, 0, 0] = poison
    return policy_file(backbone, tops, "Tanh", msgspec.structs.replace(card, **changes))
