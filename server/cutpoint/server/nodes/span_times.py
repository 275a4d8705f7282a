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
#: Least seconds of a prior: what was measured as nothing still takes something.
_LEAST = 1e-5


class SpanTimes(Generic[K]):
    """Seconds of a worker for one request of a span: its prior, times how slow the machine is, times its own factor.

    Every batch says something about the machine, and so about the spans that it has never run.

    Args:
        slowness: how many times as long as on the machine of the calibration spans take here, before anything was seen.
    """

    def __init__(self, slowness: float = 1.0) -> None:
        self._priors: dict[K, float] = {}
        self._factors: dict[K, float] = {}
        self.slowness = slowness

    def know(self, priors: Mapping[K, float]) -> None:
        """From now on these are the spans, with the seconds that calibration measured; others are forgotten."""
        self._priors = {span: max(seconds, _LEAST) for span, seconds in priors.items()}
        self._factors = {span: self._factors.get(span, 1.0) for span in priors}

    def seconds(self, span: K) -> float:
        """Expected for one request. Raises `KeyError` for a span that is not known."""
        return self._priors[span] * self._factors[span] * self.slowness

    def observe(self, span: K, seconds: float, size: int = 1) -> None:
        """A batch of `size` requests for a span kept a worker busy for so long. Nothing, for one that is not known."""
        if span in self._priors:
            ratio = min(max(seconds / size, _LEAST) / self.seconds(span), _OUTLIER)
            self.slowness *= ratio**_WEIGHT
            self._factors[span] *= ratio**_SPAN_WEIGHT
