import pytest
from tests.sdk.test_policy import EARLY, LATE, LOCAL

from cutpoint.sdk import RADIOS, Channel, Conditions, EnergyModel
from cutpoint.sdk.bundle import Measurement, Point
from cutpoint.sdk.channel import PROBABILITIES
from cutpoint.sdk.predictor import OVERHEAD_BYTES, Predictor
from cutpoint.sdk.protocol import ServerState

ENERGY = EnergyModel(RADIOS["lte"])


def test_every_term_in_every_case() -> None:
    channel = Channel(2e6, 0.04, spread=0.7, downlink=4e6, rtt_spread=0.01, stall=0.2)
    conditions = Conditions(channel, ServerState(queue_ms=7), 3.0, 2.0, 11.0, 500)
    prediction = Predictor((LOCAL, EARLY, LATE), ENERGY, answer_bytes=1000).predict(conditions)
    assert prediction.latency_ms.shape == (PROBABILITIES, 3)
    rates, trips, chances = channel.samples()
    assert prediction.probabilities.tolist() == list(chances)
    for number, each in ((1, EARLY), (2, LATE)):
        m = each.measured
        for case in range(PROBABILITIES):
            up = (m.bytes_mean + OVERHEAD_BYTES + 500) * 8e3 / rates[case]
            down = 1000 * 8e3 / 4e6
            expected = 11 + m.device_ms * 3 + up + trips[case] * 1e3 + down + 7 + m.tail_ms * 2
            assert prediction.latency_ms[case, number] == pytest.approx(expected)
        slowness = sum(chance / rate for chance, rate in zip(chances, rates, strict=True))
        radio = ENERGY.radio.send_mj(m.bytes_mean + OVERHEAD_BYTES, 1 / slowness) + ENERGY.radio.receive_mj(1000, 4e6)
        assert prediction.energy_mj[number] == pytest.approx(m.device_ms * 3 * 2.0 + radio)
        assert prediction.server_ms[number] == pytest.approx(m.tail_ms * 2)
    assert prediction.latency_ms[:, 0].tolist() == pytest.approx([11 + 30] * PROBABILITIES)
    assert prediction.device_ms.tolist() == pytest.approx([41, 14, 29])
    assert prediction.energy_mj[0] == pytest.approx(60)
    assert prediction.server_ms[0] == 0


@pytest.mark.parametrize(
    "conditions", [Conditions(None, device_scale=2), Conditions(Channel(1e6, 0.1), ServerState(draining=True), 2.0)]
)
def test_without_a_link_there_are_local_points_only(conditions: Conditions) -> None:
    prediction = Predictor((LOCAL, EARLY), ENERGY).predict(conditions)
    assert prediction.latency_ms.tolist() == [[20.0]] * PROBABILITIES
    assert prediction.device_ms.tolist() == [20.0]


def test_measured_energy_goes_before_the_model() -> None:
    measured = Point("m", 1, 1, Measurement(0.9, 0, 0, device_ms=10, energy_mj=5.0))
    assert Predictor((measured,), ENERGY).predict(Conditions(None, device_scale=2)).energy_mj.tolist() == [10.0]
