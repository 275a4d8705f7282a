import pytest

from cutpoint.sdk import RADIOS, EnergyModel


def test_lte_figures_are_those_of_the_fit() -> None:
    # 76.7 mW per Mbit/s and 2926 mW in all, of which an idle phone takes 2350.
    assert RADIOS["lte"].power_mw(10) == pytest.approx(2926 - 2350 + 767)


def test_request_is_computation_plus_sending() -> None:
    model = EnergyModel(RADIOS["lte"], compute_mw=2000)
    assert model.request_mj(50, 0, 1e6) == pytest.approx(100)
    # 125 kB at 1 Mbit/s: one second.
    assert model.request_mj(50, 125_000, 1e6) == pytest.approx(100 + RADIOS["lte"].power_mw(1))


def test_every_radio_names_its_source() -> None:
    assert all(radio.source and radio.base_mw > 0 and radio.slope_mw > 0 for radio in RADIOS.values())
