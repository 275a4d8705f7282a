"""Counters and histograms that Prometheus reads, for what happens with every request.

One thread, that of the event loop, counts and is asked; so nothing is locked, and a number costs a fraction of what
`prometheus_client`'s own objects take for it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

__all__ = ["CounterTally", "HistogramTally"]


class CounterTally(Collector):
    """Sums, by the values of labels.

    Args:
        name: without ``_total``.
        text: what is counted.
        labels: names.
    """

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        self._about = name, text
        self._labels = labels
        self._values: defaultdict[tuple[str, ...], float] = defaultdict(float)

    def add(self, amount: float, *labels: str) -> None:
        """`amount` more, with these values of the labels."""
        self._values[labels] += amount

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily(*self._about, labels=self._labels)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        yield family


class HistogramTally(Collector):
    """How often values fell between bounds, by the values of labels.

    Args:
        name: with its unit.
        text: what is measured.
        bounds: rising, finite; a value that is one of them counts as below it.
        labels: names.
    """

    def __init__(self, name: str, text: str, bounds: Sequence[float], labels: Sequence[str] = ()) -> None:
        self._about = name, text
        self._bounds = bounds
        self._labels = labels
        #: How many values below each bound and above the one before, how many above all; last, their sum.
        self._counts: dict[tuple[str, ...], list[float]] = {} if labels else {(): self._none()}

    def observe(self, value: float, *labels: str) -> None:
        """A value, with these values of the labels."""
        counts = self._counts.get(labels)
        if counts is None:
            counts = self._counts[labels] = self._none()
        counts[bisect_left(self._bounds, value)] += 1.0
        counts[-1] += value

    def collect(self) -> Iterator[HistogramMetricFamily]:
        names = [*map(floatToGoString, self._bounds), "+Inf"]
        family = HistogramMetricFamily(*self._about, labels=self._labels)
        for labels, (*counts, total) in self._counts.items():
            family.add_metric(labels, list(zip(names, accumulate(counts), strict=True)), total)
        yield family

    def _none(self) -> list[float]:
        return [0.0] * (len(self._bounds) + 2)
