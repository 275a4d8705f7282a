"""Counters and histograms: Prometheus reads of them what it reads of its own."""

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from cutpoint.server.tallies import CounterTally, HistogramTally

BOUNDS = (0.5, 1.0, 2.5, 4194304.0)


def exposed(registry: CollectorRegistry) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(generate_latest(registry).decode())
    samples = [sample for family in families for sample in family.samples]
    return {(s.name, frozenset(s.labels.items())): s.value for s in samples if not s.name.endswith("_created")}


values = st.sampled_from([*BOUNDS, 0.0, 0.7, 3.0, 1e9])
names = st.sampled_from(["a", 'b"\n', "ß"])


@given(st.lists(st.tuples(values, names)))
def test_what_prometheus_reads(observed: list[tuple[float, str]]) -> None:
    theirs, ours = CollectorRegistry(), CollectorRegistry()
    histogram = Histogram("taken_seconds", "Time", ["way"], buckets=BOUNDS, registry=theirs)
    plain = Histogram("size", "Size", buckets=BOUNDS, registry=theirs)
    counter = Counter("asked", "Requests", ["way", "end"], registry=theirs)
    tallies = (
        HistogramTally("taken_seconds", "Time", BOUNDS, ["way"]),
        HistogramTally("size", "Size", BOUNDS),
        CounterTally("asked", "Requests", ["way", "end"]),
    )
    for tally in tallies:
        ours.register(tally)
    for value, name in observed:
        histogram.labels(name).observe(value)
        tallies[0].observe(value, name)
        plain.observe(value)
        tallies[1].observe(value)
        counter.labels(name, str(bisect_left(BOUNDS, value))).inc(value)
        tallies[2].add(value, name, str(bisect_left(BOUNDS, value)))
    assert exposed(ours) == exposed(theirs)
