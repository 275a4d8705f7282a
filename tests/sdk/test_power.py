from pathlib import Path

import pytest

from cutpoint.sdk.power import BatteryMeter, RaplMeter, find_meter


def entry(folder: Path, **values: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        (folder / name).write_text(f"{value}\n")
    return folder


def test_counters_of_every_package_are_added_and_parts_are_not(tmp_path: Path) -> None:
    zones = [
        entry(tmp_path / "powercap" / f"intel-rapl:{i}", energy_uj=1_000_000, max_energy_range_uj=9_000_000)
        for i in range(2)
    ]
    entry(tmp_path / "powercap" / "intel-rapl:0:0", energy_uj=5)
    meter = find_meter(tmp_path)
    assert isinstance(meter, RaplMeter)
    meter.tick(0.0)
    assert meter.total_mj == 0
    entry(zones[0], energy_uj=3_000_000)
    entry(zones[1], energy_uj=1_500_000)
    meter.tick(1.0)
    assert meter.total_mj == pytest.approx(2500)


def test_a_counter_that_starts_anew(tmp_path: Path) -> None:
    zone = entry(tmp_path / "zone", energy_uj=8_999_000, max_energy_range_uj=9_000_000)
    meter = RaplMeter([zone])
    meter.tick(0.0)
    entry(zone, energy_uj=1_000)
    meter.tick(1.0)
    assert meter.total_mj == pytest.approx(2)


def test_a_battery_gives_power_over_time(tmp_path: Path) -> None:
    battery = entry(tmp_path / "power_supply" / "BAT0", type="Battery", status="Discharging", power_now=2_000_000)
    meter = find_meter(tmp_path)
    assert isinstance(meter, BatteryMeter)
    meter.tick(10.0)
    meter.tick(10.5)
    entry(battery, power_now=4_000_000)
    meter.tick(11.0)
    assert meter.total_mj == pytest.approx(0.5 * 2000 + 0.5 * 4000)


def test_current_and_voltage_will_do_and_the_sign_does_not_matter(tmp_path: Path) -> None:
    battery = entry(tmp_path, current_now=-500_000, voltage_now=4_000_000)
    assert BatteryMeter(battery).power_mw() == pytest.approx(2000)


def test_what_does_not_tell_is_nothing(tmp_path: Path) -> None:
    assert find_meter(tmp_path) is None
    entry(tmp_path / "power_supply" / "BAT0", type="Battery", status="Charging", power_now=2_000_000)
    entry(tmp_path / "power_supply" / "BAT1", type="Battery", status="Discharging", power_now="unknown")
    entry(tmp_path / "power_supply" / "AC", type="Mains", online=1)
    (tmp_path / "powercap" / "intel-rapl:0").mkdir(parents=True)
    assert find_meter(tmp_path) is None
