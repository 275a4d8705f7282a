"""A training that takes a second."""

from __future__ import annotations

from tests.support.links import wandering_links
from tests.support.toy import toy_bundle

from cutpoint.calibration.learning.task import TrainingTask
from cutpoint.calibration.learning.worlds import Worlds

__all__ = ["small_task"]


def small_task(error: float = 0.0, quantile: float | None = None, seed: int = 0) -> TrainingTask:
    """For the toy, on slow devices and servers."""
    worlds = Worlds(wandering_links(), (1, 2), (100.0, 500.0), (1.0, 500.0), seconds=10.0)
    return TrainingTask(toy_bundle(), worlds=worlds, error=error, quantile=quantile, seed=seed)
