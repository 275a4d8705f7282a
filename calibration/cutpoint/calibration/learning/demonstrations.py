"""What an oracle would have done, for many decisions of the simulator."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cutpoint.calibration.learning.costs import Alternatives, alone_cost, alternatives
from cutpoint.calibration.learning.mistakes import mistaken
from cutpoint.calibration.learning.task import TrainingTask
from cutpoint.codecs import Array
from cutpoint.sdk.observation import observe

__all__ = ["Demonstrations", "demonstrations"]

#: Share of the decisions that the analytic policy makes; the others are random, so that their consequences are seen.
_ANALYTIC = 0.7


class Demonstrations(NamedTuple):
    """Decisions of many worlds.

    Attributes:
        observations: what was believed, (n, features).
        wrong: the same with estimates that are off, as the task's error says, (n, features).
        taken: what every point would have taken, (n, points).
        units: cost of the device alone, (n, 1).
    """

    observations: Array
    wrong: Array
    taken: Alternatives
    units: Array


def demonstrations(task: TrainingTask, count: int, advance: Callable[[], None] = lambda: None) -> Demonstrations:
    """Simulates until `count` decisions were to be made.

    Args:
        task: with the worlds.
        count: of decisions.
        advance: called for each.
    """
    rng = np.random.default_rng((task.seed, 1))
    uncut = task.bundle.manifest.task.uncut
    observations, wrong, taken = [], [], []
    units: list[float] = []
    while len(units) < count:
        episode, analytic = task.worlds.episode(task.bundle, task.objective, rng)
        unit = alone_cost(analytic, episode.scenario.device_scale)
        while len(units) < count and (decision := episode.next()) is not None:
            conditions, radio = decision.conditions, analytic.energy.radio
            taken.append(alternatives(analytic, conditions, episode.scenario, decision.due, decision.z, uncut))
            observations.append(observe(conditions, radio))
            wrong.append(observe(mistaken(conditions, task.error, rng), radio))
            units.append(unit)
            plan = analytic.choose(conditions)
            if rng.random() > _ANALYTIC:
                plan = analytic.follow(int(rng.integers(len(analytic.points))), conditions)
            episode.decide(plan)
            advance()
    stacked = Alternatives(*(np.stack(parts) for parts in zip(*taken, strict=True)))
    return Demonstrations(np.concatenate(observations), np.concatenate(wrong), stacked, np.array(units)[:, None])
