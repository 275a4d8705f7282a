"""What spans take on this machine now, learned from the batches that were run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

__all__ = ["SpanTimes"]

K = TypeVar("K")

#: Weight of a new batch in the slowness, and in what is particular to its span.
_WEIGHT, _SPAN_WEIGHT = 0.2, 0.05
#: A batch counts as at most so many times as slow as expected: what else a machine does is not the span's cost.
_OUTLIER = 4.0


class SpanTimes(Generic[K]):
    """Seconds of a worker for one request of a span: its prior, times how slow the machine is, times its own factor.

    Every batch says something about the machine, and so about the spans that it has never run.

    Args:
        priors: seconds of each span on the machine of the calibration.
        slowness: how many times as long they take here, before anything was seen.
    """

    def __init__(self, priors: Mapping[K, float], slowness: float = 1.0) -> None:
        self._priors = dict(priors)
        self._factors = dict.fromkeys(priors, 1.0)
        self.slowness = slowness

    def __contains__(self, span: K) -> bool:
        return span in self._priors

    def seconds(self, span: K) -> float:
        """Expected for one request. Raises `KeyError` for a span without a prior."""
        return self._priors[span] * self._factors[span] * self.slowness

    def observe(self, span: K, seconds: float, size: int = 1) -> None:
        """A batch of `size` requests for a span kept a worker busy for so long."""
        ratio = min(seconds / size / self.seconds(span), _OUTLIER)
        self.slowness *= ratio**_WEIGHT
        self._factors[span] *= ratio**_SPAN_WEIGHT
