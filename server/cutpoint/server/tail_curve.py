"""What a batch of a tail costs, learned from the batches that were run."""

from __future__ import annotations

__all__ = ["TailCurve"]

#: Least weight of a new sample in a size's mean.
_WEIGHT = 0.1
#: A sample counts as at most so many times what was expected: what else a machine does is not the tail's cost.
_OUTLIER = 4.0
#: A larger batch must be cheaper by this much per sample: its first member waits for its last.
_GAIN = 0.95
#: A batch may take so many times as long as one sample: nobody's wait is worse than doubled by company, …
_COMPANY = 2.0
#: … or up to so many seconds.
_BRIEF = 0.002
#: Doubling the batch goes on while the larger one costs at most this many times the cheapest.
_WORTH_TRYING = 1.1
#: After so many batches twice the best size is tried again: machines change, and a first sample may mislead.
_RETRY = 64


class TailCurve:
    """Seconds of a worker per sample, by size of the batch.

    Sizes from 2^k to 2^(k+1) − 1 share one mean. Sizes that were never run cost what the next smaller known one does.

    Args:
        prior: seconds per sample before any batch was run.
        largest: batch that may be chosen.
    """

    def __init__(self, prior: float, largest: int) -> None:
        self._prior = prior
        self._largest = largest
        self._means: dict[int, float] = {}
        self._samples: dict[int, int] = {}
        self._batches = 0
        self._best = 1

    @property
    def best(self) -> int:
        """Of the sizes that do not take too long, the smallest that costs about as little per sample as any."""
        return self._best

    def target(self, patience: float = 0.0) -> int:
        """The size for the next batch, if so many samples wait: the best one, or one that is worth trying.

        Args:
            patience: seconds that a batch may take at any rate.
        """
        best, bigger = self._choose(patience)
        again = self._batches > 0 and self._batches % _RETRY == 0
        return min(self._largest, 1 << (best + again if bigger is None else bigger))

    def each(self, size: int) -> float:
        """Expected seconds per sample in a batch of `size`."""
        number = size.bit_length() - 1
        if number in self._means:
            return self._means[number]
        return self._means[max(known)] if (known := [n for n in self._means if n < number]) else self._prior

    def cost(self, size: int) -> float:
        """Expected seconds of a batch of `size`: no more than of a larger one that is known."""
        number = size.bit_length()
        seconds = size * self.each(size)
        return min(seconds, self._means[number] * 2**number) if number in self._means else seconds

    def observe(self, size: int, seconds: float) -> None:
        """A batch of `size` kept a worker busy for so long."""
        number = size.bit_length() - 1
        self._batches += 1
        self._samples[number] = self._samples.get(number, 0) + 1
        mean = self.each(size)
        weight = max(_WEIGHT, 1 / self._samples[number])
        self._means[number] = mean + weight * (min(seconds / size, _OUTLIER * mean) - mean)

        self._best = min(self._largest, 1 << self._choose(0.0)[0])

    def _choose(self, patience: float) -> tuple[int, int | None]:
        """Which power of two is the best size, and which larger one should be tried first, if any."""
        limit = max(_COMPANY * self.cost(1), _BRIEF, patience)
        brief = {number: mean for number, mean in self._means.items() if not number or mean * 2**number <= limit}
        least = min(brief.values(), default=self._prior)
        best = min((number for number, mean in brief.items() if mean * _GAIN <= least), default=0)
        top = max(self._means, default=0)
        unknown = 2 ** (top + 1) <= self._largest and top in brief and brief[top] <= _WORTH_TRYING * least
        return best, top + 1 if unknown else None
