import numpy as np
import pytest
from tests.support.policies import conditions

from cutpoint.calibration.learning.mistakes import MistakenPolicy, mistaken
from cutpoint.sdk import Conditions, Plan


def test_estimates_are_off_by_as_much_as_asked_for() -> None:
    (usual,) = conditions(1)
    assert usual.channel is not None
    rng = np.random.default_rng(0)
    wrong = [mistaken(usual, 0.3, rng) for _ in range(4000)]
    for values, right in (
        ([each.channel.uplink for each in wrong if each.channel], usual.channel.uplink),
        ([each.channel.rtt for each in wrong if each.channel], usual.channel.rtt),
        ([each.device_scale for each in wrong], usual.device_scale),
        ([each.server_scale for each in wrong], usual.server_scale),
    ):
        assert np.log(np.array(values) / right).std() == pytest.approx(0.3, rel=0.05)
    assert {each.device_queue_ms for each in wrong} == {usual.device_queue_ms}


def test_nothing_is_off_without_error_or_link() -> None:
    (usual,) = conditions(1)
    rng = np.random.default_rng(0)
    assert mistaken(usual, 0.0, rng) is usual
    assert mistaken(Conditions(None), 0.3, rng) == Conditions(None)


def test_policy_hears_what_is_off() -> None:
    heard = []

    class Listening:
        def choose(self, conditions: Conditions) -> Plan:
            heard.append(conditions)
            return "plan"  # type: ignore[return-value]

    (usual,) = conditions(1)
    assert MistakenPolicy(Listening(), 0.3, np.random.default_rng(1)).choose(usual) == "plan"
    assert heard == [mistaken(usual, 0.3, np.random.default_rng(1))]
