"""`cutpoint/SplitInference-v0`: the simulator as a Gymnasium environment. docs/policies.md describes it."""

from __future__ import annotations

import os
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from cutpoint.calibration.learning.costs import alone_cost, alternatives, injected, outcome_cost
from cutpoint.calibration.learning.episode import Decision, Episode
from cutpoint.calibration.learning.mistakes import mistaken
from cutpoint.calibration.learning.worlds import Worlds
from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.errors import InputError
from cutpoint.sdk.objective import Objective
from cutpoint.sdk.observation import FEATURES, observe
from cutpoint.sdk.policy import AdaptivePolicy

__all__ = ["ENVIRONMENT", "SplitInferenceEnv"]

ENVIRONMENT = "cutpoint/SplitInference-v0"
#: Bounds of a feature; values beyond are cut.
_BOUND = 10.0
#: Worlds that the risk of a decision is judged in.
_WORLDS = 16


class SplitInferenceEnv(gymnasium.Env[Array, np.int64]):
    """One user's decisions, request by request, in worlds drawn from the seed.

    Observation: `cutpoint.sdk.observation.observe`, float32 of shape (features,).
    Action: the place of a point in `points`. `info["action_mask"]` says which can be had; for another one the
    analytic policy decides. The device steps in when the analytic policy's costs say so.
    Reward: minus the cost of the answers since the last step (the objective's, and the server's price for its time),
    each in units of what the device alone would cost. With `quantile`, minus the risk of the decision as well: by how
    much the quantile of its cost over injected worlds is above the mean.
    An episode ends when the user's requests are answered.

    Args:
        bundle: a bundle or its path.
        objective: what is wanted; no cost of one's own.
        worlds: to draw from.
        error: of the estimates that are observed, as for `mistaken`.
        quantile: of the cost that counts, 0 … 1; None: the mean.

    Raises:
        InputError: for arguments that make no sense.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 – Gymnasium's own form

    def __init__(
        self,
        bundle: Bundle | str | os.PathLike[str],
        objective: Objective | None = None,
        worlds: Worlds | None = None,
        error: float = 0.0,
        quantile: float | None = None,
    ) -> None:
        if error < 0 or (quantile is not None and not 0 < quantile < 1):
            raise InputError(f"error {error} is not at least 0, or quantile {quantile} is not between 0 and 1")
        self._bundle = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
        self._objective = objective or Objective.preset("balanced")
        if self._objective.cost is not None:
            raise InputError("policies are trained for an objective's weights, not for a cost of one's own")
        self._worlds = worlds or Worlds()
        self._error = error
        self._quantile = quantile
        self.points = AdaptivePolicy.for_bundle(self._bundle, self._objective).points
        self.observation_space = spaces.Box(-_BOUND, _BOUND, (len(FEATURES),), np.float32)
        self.action_space = spaces.Discrete(len(self.points))
        self._episode: Episode
        self._analytic: AdaptivePolicy
        self._decision: Decision
        self._shown: Array

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        self._episode, self._analytic = self._worlds.episode(self._bundle, self._objective, self.np_random)
        self._unit = alone_cost(self._analytic, self._episode.scenario.device_scale)
        #: The server's price when a request was begun.
        self._prices: dict[float, float] = {}
        decision = self._episode.next()
        assert decision is not None, "every world has a request"
        return self._show(decision), self._info()

    def step(self, action: np.int64) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        decision = self._decision
        self._prices[decision.due] = decision.conditions.server.price
        reward = -self._risk(int(action)) if self._quantile is not None else 0.0
        self._episode.decide(self._analytic.follow(int(action), decision.conditions))
        following = self._episode.next()
        reward -= self._cost()
        if following is None:
            return self._shown, reward, True, False, self._info()
        return self._show(following), reward, False, False, self._info()

    def _show(self, decision: Decision) -> Array:
        """The decision as the learner sees it."""
        self._decision = decision._replace(conditions=mistaken(decision.conditions, self._error, self.np_random))
        observation = observe(self._decision.conditions, self._analytic.energy.radio)[0]
        self._shown = observation.clip(-_BOUND, _BOUND)
        return self._shown

    def _info(self) -> dict[str, Any]:
        conditions = self._decision.conditions
        linked = conditions.channel is not None and not conditions.server.draining
        return {"action_mask": np.array([linked or point.local for point in self.points], np.int8)}

    def _cost(self) -> float:
        """Of what was answered since the last step."""
        scenario, uncut = self._episode.scenario, self._bundle.manifest.task.uncut
        total = 0.0
        for outcome in self._episode.answered():
            m = outcome.planned.measured
            server_ms = (
                0.0 if outcome.planned.local or outcome.exit else (m.decode_ms + m.tail_ms) * scenario.server_scale
            )
            total += outcome_cost(outcome, self._objective, scenario.energy, uncut)
            total += self._prices.pop(outcome.at) * server_ms
        return total / self._unit

    def _risk(self, action: int) -> float:
        """By how much the quantile of the decision's cost is above its mean, in worlds around this one."""
        assert self._quantile is not None
        decision, scenario = self._decision, self._episode.scenario
        uncut = self._bundle.manifest.task.uncut
        taken = alternatives(self._analytic, decision.conditions, scenario, decision.due, decision.z, uncut, action)
        costs = injected(taken, self._objective, scenario.energy, self._error, self.np_random, _WORLDS)
        return float(np.quantile(costs, self._quantile) - costs.mean()) / self._unit


gymnasium.register(ENVIRONMENT, entry_point=f"{__name__}:SplitInferenceEnv")
