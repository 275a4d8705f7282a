from __future__ import annotations

import random

import pytest

from cutpoint.server.nodes.span_times import SpanTimes


def _times(slowness: float = 1.0, **priors: float) -> SpanTimes[str]:
    times: SpanTimes[str] = SpanTimes(slowness)
    times.know(priors)
    return times


def test_a_slower_machine_shows_in_all_spans() -> None:
    times = _times(head=0.01, tail=0.02)
    for _ in range(30):
        times.observe("tail", 0.06)
    assert times.seconds("tail") == pytest.approx(0.06, rel=0.05)
    assert times.seconds("head") == pytest.approx(0.03, rel=0.5)
    assert times.slowness > 2


def test_a_span_may_be_slower_than_the_others() -> None:
    times = _times(head=0.01, tail=0.01)
    for _ in range(200):
        times.observe("tail", 0.03)
        times.observe("head", 0.01)
    assert times.seconds("tail") == pytest.approx(0.03, rel=0.2)
    assert times.seconds("head") == pytest.approx(0.01, rel=0.2)


def test_requests_of_a_batch_share_its_time() -> None:
    times = _times(tail=0.01)
    for _ in range(50):
        times.observe("tail", 0.02, size=4)
    assert times.seconds("tail") == pytest.approx(0.005, rel=0.05)


def test_one_late_batch_says_little_and_ten_say_it_all() -> None:
    times = _times(tail=0.01)
    times.observe("tail", 10.0)
    assert times.seconds("tail") < 0.015
    for _ in range(10):
        times.observe("tail", 0.05)
    assert times.seconds("tail") == pytest.approx(0.05, rel=0.1)


def test_noise_is_averaged() -> None:
    times, rng = _times(slowness=2.5, tail=0.01), random.Random(1)
    assert times.seconds("tail") == pytest.approx(0.025)
    found = []
    for _ in range(300):
        times.observe("tail", 0.02 * rng.lognormvariate(0, 0.3))
        found.append(times.seconds("tail"))
    assert 0.013 < min(found[50:]) < max(found[50:]) < 0.03


def test_what_is_learned_stays_with_the_spans_that_stay() -> None:
    times = _times(tail=0.01, other=0.01)
    for _ in range(100):
        times.observe("tail", 0.03)
    learned = times.seconds("tail")
    times.know({"tail": 0.01, "new": 0.0})
    assert times.seconds("tail") == learned
    assert times.seconds("new") > 0
    times.observe("other", 1.0)
    assert times.seconds("tail") == learned
    with pytest.raises(KeyError):
        times.seconds("other")
