from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutpoint.calibration.report.switching import DOWNLINK, HIGHEST, LOWEST, OVERHEAD_MS, best_stretches
from cutpoint.sdk import Channel, Conditions, EnergyModel
from cutpoint.sdk.bundle import Measurement, Point
from cutpoint.sdk.predictor import Predictor


def point(name: str, nbytes: float, device: float, tail: float = 5.0) -> Point:
    local = nbytes == 0
    measured = Measurement(0.9, nbytes, nbytes, device_ms=device, tail_ms=0 if local else tail)
    return Point(name, 1, 1, measured, codec=None if local else "c")


LOCAL, PICTURE, LATE = point("local", 0, 10), point("picture", 12_000, 0), point("late", 1_500, 7)


def latency(of: Point, rate: float, rtt: float, scale: float) -> float:
    """What the policy's predictor says for certain, with what a request takes beside its work."""
    channel = Channel(rate, rtt + OVERHEAD_MS / 1e3, downlink=DOWNLINK * rate)
    prediction = Predictor([of], EnergyModel(), 4096).predict(Conditions(channel, device_scale=scale))
    return float(prediction.latency_ms[3, 0])


def test_the_picture_then_a_late_cut_then_the_device() -> None:
    stretches = best_stretches([PICTURE, LATE, LOCAL], 4096, 0.0, device_scale=10)
    assert [stretch.point.id for stretch in stretches] == ["picture", "late", "local"]
    # Where (12000 - 1500) · 8 bits take as long as 7 · 10 ms on the device.
    assert stretches[0].low == pytest.approx(10_500 * 8 / 0.070, rel=1e-6)
    assert (stretches[0].high, stretches[-1].low) == (pytest.approx(HIGHEST), pytest.approx(LOWEST))


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.floats(0.01, 50), st.floats(0, 20)), min_size=1, max_size=12),
    st.floats(0, 0.3),
    st.floats(0.1, 100),
)
def test_it_is_the_lower_envelope(parts: list[tuple[float, float, float]], rtt: float, scale: float) -> None:
    points = [point(f"p{i}", nbytes, device, tail) for i, (nbytes, device, tail) in enumerate(parts)]
    stretches = best_stretches(points, 4096, rtt, scale)
    assert stretches[0].high == pytest.approx(HIGHEST)
    assert stretches[-1].low == pytest.approx(LOWEST)
    for before, after in pairwise(stretches):
        assert before.low == after.high
        assert before.point is not after.point
    for rate in np.geomspace(LOWEST, HIGHEST, 23).tolist():
        there = next(stretch for stretch in stretches if stretch.low <= rate * (1 + 1e-9))
        least = min(latency(each, rate, rtt, scale) for each in points)
        assert latency(there.point, rate, rtt, scale) == pytest.approx(least, rel=1e-6, abs=1e-6)
