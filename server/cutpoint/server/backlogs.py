"""How much of the users' waiting work comes before somebody's, without asking each of them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from math import floor, log2

__all__ = ["Backlogs"]

#: Levels of backlog per weight, for each factor of two.
_PER_OCTAVE = 8


@dataclass(slots=True)
class _Level:
    users: int = 0
    backlog: float = 0.0
    weight: float = 0.0


class Backlogs:
    """Sums of backlogs and weights by level: users whose backlogs per weight differ by at most 2^(1/8)."""

    def __init__(self) -> None:
        self._levels: dict[int, _Level] = {}
        self._users: dict[Hashable, tuple[int, float, float]] = {}

    def set(self, name: Hashable, backlog: float, weight: float) -> None:
        """From now on so many seconds of work of that user wait; with 0 he is forgotten."""
        if name in self._users:
            number, old_backlog, old_weight = self._users.pop(name)
            level = self._levels[number]
            level.users -= 1
            level.backlog -= old_backlog
            level.weight -= old_weight
            if not level.users:
                del self._levels[number]
        if backlog > 0:
            number = floor(log2(backlog / weight) * _PER_OCTAVE)
            level = self._levels.setdefault(number, _Level())
            level.users += 1
            level.backlog += backlog
            level.weight += weight
            self._users[name] = number, backlog, weight

    def others(self, name: Hashable, share: float) -> float:
        """Sum over all users but `name` of min(backlog, share · weight), in seconds.

        Exact except for the one level that `share` falls into, whose users count as one: never less than the sum, and
        at most 2^(1/8), 9 %, more.
        """
        own, own_backlog, own_weight = self._users.get(name, (None, 0.0, 0.0))
        total = 0.0
        for number, level in self._levels.items():
            backlog, weight = level.backlog, level.weight
            if number == own:
                if level.users == 1:
                    continue
                backlog, weight = backlog - own_backlog, weight - own_weight
            total += min(backlog, share * weight)
        return max(0.0, total)
