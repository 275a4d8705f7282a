import pytest

from cutpoint.sdk import RADIOS, EnergyModel
from cutpoint.sdk.channel import NETWORKS
from cutpoint.sdk.energy import NETWORK_RADIOS


def test_radio_power_rises_with_the_rate() -> None:
    assert RADIOS["lte"].power_mw(10) == pytest.approx(2926 - 2350 + 767)


def test_energy_adds_up() -> None:
    model = EnergyModel(RADIOS["lte"], compute_mw=2000)
    assert model.request_mj(50, 0, 1e6) == pytest.approx(100)
    # 1 Mbit at 1 Mbit/s is a second of radio.
    assert model.request_mj(50, 125_000, 1e6) == pytest.approx(100 + RADIOS["lte"].power_mw(1))
    # And the answer: 1 Mbit at 10 Mbit/s is a tenth of one.
    down = (2839 - 2350 + 115) / 10
    assert model.request_mj(0, 0, 1e6, answer=125_000, downlink=10e6) == pytest.approx(down)


def test_slow_links_cost_the_base_power_for_longer() -> None:
    model = EnergyModel(RADIOS["wifi"])
    assert model.radio.send_mj(10_000, 1e6) - model.radio.send_mj(10_000, 1e9) == pytest.approx(132.86 * 0.08, rel=1e-2)


def test_radios_have_sources_and_make_sense() -> None:
    assert set(NETWORK_RADIOS) == set(NETWORKS)
    for name, radio in RADIOS.items():
        assert radio.source
        assert name == "ethernet" or min(radio.base_mw, radio.slope_mw, radio.down_base_mw, radio.down_slope_mw) > 0
    assert RADIOS["lte"].tail_mj == pytest.approx(12_296)
