"""Solves the joint problem: a dual bound, choices near it by local search, and proof by enumeration where it is short.

For a price m of the load, users and congestion part (dual decomposition, as in Palomar and Chiang, IEEE JSAC 2006):

    D(m) = Σ_u min_x (cost[u, x] + m · load[u, x]) - max_A (m · A - G(A))

is at most the least summed cost, for every m. D is concave, and its slope is the load that users choose at price m less
the load at which the slope of the congestion's cost G is m, so that the best m is found by bisection. The choices there
are optimal but for those of few users, to whom two options cost the same: local search moves one user at a time from
there. Where the gap leaves few choices open, all are looked at: a dynamic programme over users keeps, of partial
choices, those that no other beats in cost and load, and that can still end below the best known by the bound.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from cutpoint.calibration.allocation.congestion import Congestion
from cutpoint.calibration.allocation.problem import Problem
from cutpoint.codecs import Array

__all__ = ["Allocation", "brute_force", "solve"]

_STEPS = 80
#: Partial choices that the proof keeps, at most.
_MOST_STATES = 4000
#: Differences of cost below this share are rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Allocation:
    """A choice for each user.

    Attributes:
        choices: option of each user, (users,).
        cost: summed, a second.
        bound: no choices cost less than this.
        price: of a unit of the load, at which the bound was found.
        load: of all users.
    """

    choices: Array
    cost: float
    bound: float
    price: float
    load: float

    @property
    def gap(self) -> float:
        """How much more than the bound it costs, as a share of it."""
        return (self.cost - self.bound) / abs(self.bound) if self.cost > self.bound else 0.0


def solve(problem: Problem) -> Allocation:
    """The best choices that were found. `bound` says how good they are: the optimum, where it is their cost."""
    price = _best_price(problem)
    bound = _dual(problem, price)
    starts = [problem.load.argmin(axis=1)]
    starts += [(problem.cost + price * near * problem.load).argmin(axis=1) for near in (0.9, 0.999, 1.001, 1.1)]
    improved = [_improve(problem, start) for start in starts if math.isfinite(problem.total(start))]
    choices = min(improved, key=problem.total)
    proven = _enumerate(problem, choices, price, bound)
    if proven is not None:
        choices = proven
        bound = max(bound, problem.total(choices))
    load = problem.load[np.arange(len(choices)), choices].sum()
    return Allocation(choices, problem.total(choices), bound, price, float(load))


def brute_force(problem: Problem) -> Allocation:
    """The optimum, from all choices; for a handful of users."""
    users, options = problem.cost.shape
    choices = min((np.array(c) for c in itertools.product(range(options), repeat=users)), key=problem.total)
    cost = problem.total(choices)
    return Allocation(choices, cost, cost, math.nan, float(problem.load[np.arange(users), choices].sum()))


def _supply(congestion: Congestion, price: float) -> float:
    """The load at which one unit more costs `price`."""
    low, high = 0.0, congestion.capacity
    if math.isinf(high):
        high = 1.0
        while congestion.slope(high) < price:
            high *= 2
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if middle >= congestion.capacity or congestion.slope(middle) >= price:
            high = middle
        else:
            low = middle
    return low


def _dual(problem: Problem, price: float) -> float:
    load = _supply(problem.congestion, price)
    users = (problem.cost + price * problem.load).min(axis=1).sum()
    return float(users - (price * load - problem.congestion.cost(np.array(load))))


def _best_price(problem: Problem) -> float:
    users = np.arange(len(problem.cost))

    def excess(price: float) -> bool:
        """Whether users ask for more than there is at that price."""
        choices = (problem.cost + price * problem.load).argmin(axis=1)
        return bool(problem.load[users, choices].sum() > _supply(problem.congestion, price))

    low, high = 0.0, 1.0
    while excess(high):
        low, high = high, 4 * high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) else (low, middle)
    return high


def _improve(problem: Problem, choices: Array) -> Array:
    """Changes one user's choice at a time, the best change first, until none helps."""
    choices, users = choices.copy(), np.arange(len(choices))
    while True:
        own_cost, own_load = problem.cost[users, choices], problem.load[users, choices]
        load = own_load.sum()
        now = float(problem.congestion.cost(np.array(load)))
        loads = np.maximum(load + problem.load - own_load[:, None], 0.0)
        change = problem.cost - own_cost[:, None] + problem.congestion.cost(loads) - now
        user, option = np.unravel_index(change.argmin(), change.shape)
        if change[user, option] >= -_ROUNDING * max(1.0, abs(own_cost.sum() + now)):
            return choices
        choices[user] = option


def _enumerate(problem: Problem, choices: Array, price: float, bound: float) -> Array | None:
    """The optimum, from all choices that may be better than `choices`; None if they are too many to look at."""
    best = problem.total(choices)
    reduced = problem.cost + price * problem.load
    regret = reduced - reduced.min(axis=1, keepdims=True)
    # An option whose regret exceeds the gap is in no choice that is better.
    slack = best - bound + _ROUNDING * abs(best)
    order = np.sort(regret, axis=1)[:, 1].argsort() if regret.shape[1] > 1 else np.arange(len(regret))
    cost, load, regrets = np.zeros(1), np.zeros(1), np.zeros(1)
    steps: list[tuple[Array, Array]] = []
    for user in order:
        options = np.flatnonzero(regret[user] <= slack)
        grown = (regrets[:, None] + regret[user, options]).ravel()
        kept = np.flatnonzero(grown <= slack)
        parents, picked = kept // len(options), options[kept % len(options)]
        new_cost, new_load = cost[parents] + problem.cost[user, picked], load[parents] + problem.load[user, picked]
        # In the order of load, those that cost less than everything before.
        by_load = np.lexsort((new_cost, new_load))
        before = np.minimum.accumulate(np.concatenate(([math.inf], new_cost[by_load][:-1])))
        front = by_load[new_cost[by_load] < before]
        if len(front) > _MOST_STATES:
            return None
        cost, load, regrets = new_cost[front], new_load[front], grown[kept][front]
        steps.append((parents[front], picked[front]))
    totals = cost + problem.congestion.cost(load)
    if not len(totals) or totals.min() >= best:
        return choices
    state, found = int(totals.argmin()), choices.copy()
    for user, (parents, picked) in zip(order[::-1], steps[::-1], strict=True):
        found[user] = picked[state]
        state = int(parents[state])
    return found
