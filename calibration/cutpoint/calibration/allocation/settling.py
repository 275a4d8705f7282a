"""How long a crowd takes to find its way after a step of the load."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cutpoint.calibration.allocation.crowd import Crowd
from cutpoint.calibration.simulate.world import World

__all__ = ["UPDATE", "updates_to_settle"]

#: Seconds after which a client hears of the price again, at the latest: that between two probes of its link.
UPDATE = 1.0
#: Updates of a sliding mean: a user's requests come more rarely than updates.
_WINDOW = 5
#: Share of the settled cost that a settled crowd may be off.
_NEAR = 0.05
#: Of the settled time's own deviations, so many per cent are no unrest.
_USUAL = 95.0


def updates_to_settle(crowd: Crowd, worlds: Sequence[World], step: float) -> int:
    """Updates after `step` from which on the summed cost stays near the settled one.

    The cost is a sliding mean over five updates, each request relative to its user's own settled mean, all worlds
    together. Near is within 5 %, or within the 95th percentile of what chance does to it in the last third of the time,
    which counts as settled.

    Args:
        crowd: the users.
        worlds: runs under one rule with the same users; more of them, less chance.
        step: seconds at which the load changes.
    """
    end = crowd.window()[1]
    late = end - (end - step) / 3
    count = int((end - step) / UPDATE)
    cost, usual = np.zeros(count), np.zeros(count)
    for world in worlds:
        for user, outcomes in enumerate(world.outcomes):
            costs, at = crowd.costs(user, outcomes), np.array([outcome.at for outcome in outcomes])
            settled = costs[(at >= late) & (at < end)]
            if not settled.size:
                continue
            update = np.floor((at - step) / UPDATE).astype(int)
            inside = (update >= 0) & (update < count)
            np.add.at(cost, update[inside], costs[inside])
            np.add.at(usual, update[inside], settled.mean())
    ones = np.ones(_WINDOW)
    sliding = np.convolve(cost, ones, "valid") / np.maximum(np.convolve(usual, ones, "valid"), 1e-9)
    off = np.abs(sliding - 1)
    near = max(_NEAR, float(np.percentile(off[int((late - step) / UPDATE) :], _USUAL)))
    wrong = np.flatnonzero(off > near)
    return int(wrong[-1]) + 1 if wrong.size else 0
