"""How many replicas the load asks for. No clock and no cluster."""

from __future__ import annotations

__all__ = ["Scaling"]

#: Seconds for which more must wait than is computed before a replica is added, and for which nothing must wait before
#: one is taken away: a replica takes seconds to start, so they come quickly and go slowly.
_UP, _DOWN = 1.0, 60.0


class Scaling:
    """Adds replicas one at a time while requests wait, and takes them away when they are not needed.

    Args:
        least: replicas.
        most: replicas.
        up: seconds of waiting requests after which one is added.
        down: seconds without any after which one is taken away.
    """

    def __init__(self, least: int, most: int, up: float = _UP, down: float = _DOWN) -> None:
        self._least = least
        self._most = most
        self._up = up
        self._down = down
        self._busy_since: float | None = None
        self._calm_since: float | None = None

    def wanted(self, replicas: int, waiting: int, workers: int, now: float) -> int:
        """How many replicas there should be.

        Args:
            replicas: that there are, those included that are starting.
            waiting: requests without a worker.
            workers: of all replicas.
            now: clock, in seconds.
        """
        self._busy_since = None if waiting <= workers else now if self._busy_since is None else self._busy_since
        self._calm_since = None if waiting else now if self._calm_since is None else self._calm_since
        wanted = replicas
        if self._busy_since is not None and now - self._busy_since >= self._up:
            wanted += 1
            self._busy_since = now
        elif self._calm_since is not None and now - self._calm_since >= self._down:
            wanted -= 1
            self._calm_since = now
        return min(max(wanted, self._least), self._most)
