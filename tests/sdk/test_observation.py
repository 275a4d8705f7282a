from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.policies import conditions

from cutpoint.sdk import RADIOS, Channel, Conditions, DeviceState
from cutpoint.sdk.observation import FEATURES, observe
from cutpoint.sdk.protocol import ServerState

LTE = RADIOS["lte"]


def feature(name: str, given: Conditions) -> float:
    return float(observe(given, LTE)[0, FEATURES.index(name)])


def test_known_values() -> None:
    usual = Conditions(Channel(1e6, 0.01, 0.6, 1e6, 0.001, 0.02), ServerState(9, 99), 10.0, 1.0, 99.0, 9)
    values = [0, 0.2, 0, -0.5, 0.02, 0, 0.5, 0, 0.5, 1 / 7, 0.25, 2 / 3, 0, 0.1152, 0.0767]
    assert observe(usual, LTE)[0] == pytest.approx(values, abs=1e-6)
    assert feature("strained", replace(usual, device=DeviceState(battery=0.1, charging=False))) == 1
    assert feature("radio_base", replace(usual, radio=RADIOS["ethernet"])) == 0


def test_shape() -> None:
    observation = observe(conditions(1)[0], LTE)
    assert observation.shape == (1, len(FEATURES))
    assert observation.dtype == np.float32


@given(st.floats(1e3, 1e9), st.floats(1e-5, 10), st.floats(0, 3), st.floats(0, 10), st.floats(0, 1), st.floats(0, 1e6))
def test_anything_that_can_be_believed_is_a_small_number(
    rate: float, rtt: float, spread: float, late: float, stall: float, queue: float
) -> None:
    channel = Channel(rate, rtt, spread, rate, late, stall)
    observation = observe(Conditions(channel, ServerState(queue, queue), queue, queue, queue, int(queue)), LTE)
    assert np.abs(observation).max() <= 4
