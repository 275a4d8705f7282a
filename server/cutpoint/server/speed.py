"""How fast a tier computes, as far as is known."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, inf, log

__all__ = ["Speed"]

#: Milliseconds below which a time says more about the call than about the work.
_MEASURABLE_MS = 0.1
#: Weight of a new sample.
_WEIGHT = 0.3
#: Seconds after which what was seen has lost all but 1/e of its weight.
_FORGOTTEN = 20.0


class Speed:
    """How many times slower than in calibration a machine computes: what it was found to be, and what was seen since.

    What was seen fades: who stays away from what was slow would never learn that it is not any more. Means and fading
    are those of logarithms, so that a machine that stood still for a second is not thought of as slow for a minute.

    Args:
        clock: monotonic seconds.
        found: what it was found to be.

    Attributes:
        found: as given; may be changed.
    """

    def __init__(self, clock: Callable[[], float], found: float = 1.0) -> None:
        self.found = found
        self._clock = clock
        self._seen = 0.0
        self._seen_at = -inf

    @property
    def scale(self) -> float:
        """How many times slower it is now."""
        return self.found * exp(self._offset())

    def observe(self, taken_ms: float, expected_ms: float) -> None:
        """Something took so long that in calibration would have taken `expected_ms`."""
        if expected_ms > _MEASURABLE_MS and taken_ms > 0:
            offset = self._offset()
            self._seen = offset + _WEIGHT * (log(taken_ms / expected_ms / self.found) - offset)
            self._seen_at = self._clock()

    def _offset(self) -> float:
        """Natural logarithm of what was seen over what was found."""
        return self._seen * exp((self._seen_at - self._clock()) / _FORGOTTEN)
