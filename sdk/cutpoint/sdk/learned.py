"""A policy that was trained: a small ONNX graph that knows when not to trust itself."""

from __future__ import annotations

import hashlib
import logging
import math
import os
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Bundle, Point
from cutpoint.sdk.errors import CutpointError, GraphError, InputError
from cutpoint.sdk.objective import Objective
from cutpoint.sdk.observation import FEATURES, observe
from cutpoint.sdk.policy import AdaptivePolicy, Plan
from cutpoint.sdk.predictor import Conditions

__all__ = ["CARD", "POLICY_FILE", "LearnedPolicy", "PolicyCard", "Seen", "Weights", "points_digest"]

log = logging.getLogger("cutpoint.policy")

#: Key of the card in the graph's metadata, and the version of what stands there.
CARD: Final = "cutpoint.policy"
SCHEMA: Final = 1
#: Path of a policy in a bundle.
POLICY_FILE: Final = "policy.onnx"
#: No policy file comes near this; a longer one is refused before it is parsed.
_LIMIT = 16 * 2**20
#: How far the graph's scores may be from those that it had where it was trained.
_TOLERANCE = 1e-3
#: Rounding of 32-bit floats at the bounds of what was seen, and as a share of the distance.
_SLACK, _SLACK_SHARE = 1e-5, 0.01
_UNKNOWN = "the file's card does not say what it was trained on"
_NO_NUMBERS = "the graph gives scores that are no numbers"
#: Bounds of an observation.
_SIDES = 2 * len(FEATURES)


class Seen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The observations that a policy was trained on. Arrays of shape (features,).

    Attributes:
        low: least value of each feature.
        high: greatest value.
        mean: mean value.
        precision: inverse of the covariance, (features, features).
        distance: greatest squared Mahalanobis distance from the mean that counts as seen.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    mean: tuple[float, ...]
    precision: tuple[tuple[float, ...], ...]
    distance: float


class Weights(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The objective that a policy was trained for: see the fields of `Objective`. Without a deadline `late` is None."""

    latency: float
    energy: float
    loss: float
    deadline: float | None = None
    late: float | None = None

    @classmethod
    def of(cls, objective: Objective) -> Weights:
        """Those of `objective`."""
        late = None if objective.deadline is None else objective.late_cost
        return cls(objective.latency_weight, objective.energy_weight, objective.loss_weight, objective.deadline, late)


class PolicyCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in the metadata of a policy file.

    Attributes:
        schema: version of this.
        algorithm: ``ppo`` or ``memtl``.
        points: ids of the points that the scores are of.
        bundle: `points_digest` of the bundle.
        weights: of the objective.
        features: names of what the graph takes.
        seen: what it was trained on.
        disagreement: greatest disagreement of the heads that is trusted; None for a graph without.
        probes: some observations, (n, features) …
        scores: … and the scores that the graph gave for them where it was trained, (n, points).
        training: the configuration of the training, for people.
    """

    schema: int
    algorithm: str
    points: tuple[str, ...]
    bundle: str
    weights: Weights
    features: tuple[str, ...]
    seen: Seen
    disagreement: float | None
    probes: tuple[tuple[float, ...], ...]
    scores: tuple[tuple[float, ...], ...]
    training: dict[str, str | int | float | bool | None]


def points_digest(points: tuple[Point, ...]) -> str:
    """Names the points of a bundle and all that was measured of them: a policy is trained for these. 64 hex digits.

    (The bundle's own hash covers its files, a policy among them, and so cannot stand in one.)
    """
    return hashlib.sha256(msgspec.json.encode(points)).hexdigest()


class LearnedPolicy:
    """Follows a trained graph where it was trained for, and the analytic policy everywhere else.

    The graph says which point; when the device steps in at that point is what the analytic policy's costs say. The
    analytic policy decides alone without a link, outside of what the graph was trained on, where the graph's heads
    disagree, and for good once the file turns out to be no use: damaged, of another bundle or objective, or with scores
    that are no numbers. The first time it steps in for the graph, the log says why.

    Args:
        data: content of the policy file.
        analytic: policy that takes over, over the points that can be chosen here.
        bundle: that the points are of.

    Attributes:
        points: those it chooses from.
        refusal: why the graph is not asked any more; None if it is.
        card: what the file says of itself; None if that cannot be read.
    """

    def __init__(self, data: bytes, analytic: AdaptivePolicy, bundle: Bundle) -> None:
        self.points = analytic.points
        self.refusal: str | None = None
        self.card: PolicyCard | None = None
        self._analytic = analytic
        self._radio = analytic.energy.radio
        self._logged = False
        try:
            self._load(data, bundle)
        except CutpointError as error:
            self._refuse(str(error))

    @classmethod
    def open(cls, path: str | os.PathLike[str], analytic: AdaptivePolicy, bundle: Bundle) -> LearnedPolicy:
        """The policy in a file.

        Raises:
            InputError: if the file cannot be read. What is wrong with its content is no error, see `refusal`.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            name = os.fspath(path)
            raise InputError(f"{name}: no readable policy: {error}; `cutpoint train-policy` makes one") from error
        return cls(data, analytic, bundle)

    def _load(self, data: bytes, bundle: Bundle) -> None:
        from cutpoint.sdk.runtimes.onnx import OnnxRuntime

        if len(data) > _LIMIT:
            raise GraphError(f"{len(data)} bytes, over the limit of {_LIMIT}")
        self._graph = OnnxRuntime().load(data, {})
        try:
            card = msgspec.json.decode(self._graph.metadata.get(CARD, ""), type=PolicyCard)
        except msgspec.DecodeError as error:
            raise GraphError(f"the file's card is no policy card: {error}") from error
        self.card = card
        self._trusted = math.inf if card.disagreement is None else card.disagreement
        count = len(card.points)
        if card.schema != SCHEMA or card.features != FEATURES:
            raise GraphError("it was made by another version of cutpoint: train it again")
        if card.bundle != points_digest(bundle.points):
            raise GraphError("it was trained for another bundle: train one for this")
        objective = self._analytic.objective
        if card.weights != Weights.of(objective) or objective.cost is not None:
            raise GraphError(f"it was trained for another objective: {card.weights}")
        outputs = ("scores",) if card.disagreement is None else ("scores", "disagreement")
        if self._graph.input_names != ("observation",) or self._graph.output_names != outputs:
            raise GraphError(f"the graph gives {', '.join(self._graph.output_names)}, not {', '.join(outputs)}")
        self._seen(card.seen)
        places = {point.id: place for place, point in enumerate(self.points) if point.slicing is None}
        # Where each score's point stands in `points`, and what keeps those that cannot be chosen here from winning.
        self._places = [places.get(name, -1) for name in card.points]
        mask = np.array([0.0 if place >= 0 else -np.inf for place in self._places], np.float32)
        if not count or not np.isfinite(mask).any():
            raise GraphError("none of its points can be chosen here")
        self._mask = mask if np.isinf(mask).any() else None
        for probe, expected in zip(card.probes, card.scores, strict=False):
            scores, _ = self._run(np.array([probe], np.float32))
            if not np.isfinite(scores).all():
                raise GraphError(_NO_NUMBERS)
            if len(expected) != count or not np.allclose(scores, expected, atol=_TOLERANCE):
                raise GraphError("its scores are not those that it had where it was trained: the file is damaged")
        if not card.probes or len(card.probes) != len(card.scores):
            raise GraphError("the file's card has no scores to check the graph with")

    def _seen(self, seen: Seen) -> None:
        """One product places an observation: how far inside each bound, and whose squares sum up to the distance."""
        size = len(FEATURES)
        rows = np.array([seen.low, seen.high, seen.mean]) if self._lengths(seen) == {size} else np.empty(0)
        if rows.shape != (3, size) or not np.isfinite(rows).all() or not np.isfinite(seen.precision).all():
            raise GraphError(_UNKNOWN)
        low, high, mean = rows
        # x' P x is the squared length of x times the root of P, whose eigenvalues rounding may have made negative.
        values, vectors = np.linalg.eigh(np.array(seen.precision))
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        one = np.eye(size)
        with np.errstate(over="ignore"):
            self._inside = np.concatenate([one, -one, root], axis=1).astype(np.float32)
            self._offset = np.concatenate([_SLACK - low, high + _SLACK, -mean @ root]).astype(np.float32)
        if not (np.isfinite(self._inside).all() and np.isfinite(self._offset).all()):
            raise GraphError(_UNKNOWN)
        self._distance = seen.distance * (1 + _SLACK_SHARE)

    @staticmethod
    def _lengths(seen: Seen) -> set[int]:
        rows = (seen.low, seen.high, seen.mean, seen.precision, *seen.precision)
        return {len(row) for row in rows}

    def choose(self, conditions: Conditions) -> Plan:
        analytic = self._analytic
        if self.refusal is not None or conditions.channel is None or conditions.server.draining:
            return analytic.choose(conditions)
        observation = observe(conditions, self._radio)
        if not self.knows(observation):
            self._tell("the conditions are not among those that it was trained on")
            return analytic.choose(conditions)
        try:
            scores, disagreement = self._run(observation)
        except GraphError as error:
            self._refuse(str(error))
            return analytic.choose(conditions)
        if disagreement > self._trusted:
            self._tell("its heads do not agree")
            return analytic.choose(conditions)
        masked = scores if self._mask is None else scores + self._mask
        best = int(masked.argmax())
        # One that is no number counts as the greatest.
        if not math.isfinite(masked[best]):
            self._refuse(_NO_NUMBERS)
            return analytic.choose(conditions)
        return analytic.follow(self._places[best], conditions)

    def knows(self, observation: Array) -> bool:
        """Whether an observation, (1, features), is among those that the graph was trained on."""
        placed = observation[0].dot(self._inside)
        placed += self._offset
        away = placed[_SIDES:]
        # A number below zero, or none, is outside; one that is none counts as the least.
        return bool(placed[placed[:_SIDES].argmin()] >= 0.0 and away.dot(away) <= self._distance)

    def _run(self, observation: Array) -> tuple[Array, float]:
        """Scores of the points, (points,), and how much the heads disagree."""
        scores, *rest = self._graph.run((observation,))
        if scores.shape != (1, len(self._places)):
            raise GraphError(f"the graph gives scores of shape {scores.shape} for {len(self._places)} points")
        disagreement = rest[0].item() if rest and rest[0].size == 1 else 0.0
        if not math.isfinite(disagreement):
            raise GraphError(_NO_NUMBERS)
        return scores[0], disagreement

    def _refuse(self, reason: str) -> None:
        self.refusal = reason
        self._tell(reason)

    def _tell(self, reason: str) -> None:
        if not self._logged:
            self._logged = True
            log.warning("the analytic policy takes over from the learned one: %s", reason)
