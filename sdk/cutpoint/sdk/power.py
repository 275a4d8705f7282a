"""Power, where the system tells: the processor's energy counters (RAPL), or the battery."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

__all__ = ["BatteryMeter", "EnergyMeter", "RaplMeter", "find_meter"]

_SYSTEM = Path("/sys/class")


class EnergyMeter(Protocol):
    """Counts energy between calls of `tick`.

    Attributes:
        name: of the source.
        total_mj: millijoule since the first tick.
    """

    name: str
    total_mj: float

    def tick(self, now: float) -> None:
        """Brings `total_mj` up to date; `now` is in monotonic seconds. Call it often: once a run."""
        ...


class RaplMeter:
    """Intel and AMD processors: counters of microjoule for each package, which start anew at their range.

    Args:
        zones: folders with `energy_uj` and `max_energy_range_uj`.
    """

    name = "rapl"

    def __init__(self, zones: list[Path]) -> None:
        self._zones = zones
        self._last: list[int] | None = None
        self.total_mj = 0.0

    def tick(self, now: float) -> None:
        values = [_number(zone / "energy_uj") or 0 for zone in self._zones]
        for zone, value, last in zip(self._zones, values, self._last or values, strict=True):
            spent = value - last
            if spent < 0:
                spent += _number(zone / "max_energy_range_uj") or -spent
            self.total_mj += spent / 1e3
        self._last = values


class BatteryMeter:
    """A battery that is being discharged: its power at each tick holds until the next.

    Args:
        battery: folder with `power_now` (microwatt), or `current_now` and `voltage_now`.
    """

    name = "battery"

    def __init__(self, battery: Path) -> None:
        self._battery = battery
        self._last: float | None = None
        self.total_mj = 0.0

    def tick(self, now: float) -> None:
        if self._last is not None:
            self.total_mj += (self.power_mw() or 0.0) * (now - self._last)
        self._last = now

    def power_mw(self) -> float | None:
        """Milliwatt that it gives now; None where it does not say."""
        power: float | None = _number(self._battery / "power_now")
        if power is None:
            current, voltage = _number(self._battery / "current_now"), _number(self._battery / "voltage_now")
            if current is None or voltage is None:
                return None
            power = current * voltage / 1e6
        # Drivers differ in the sign of a discharge.
        return abs(power) / 1e3


def find_meter(system: Path = _SYSTEM) -> EnergyMeter | None:
    """What this system has; None for nothing. A battery that is charged says nothing of what is drawn."""
    for battery in sorted(system.glob("power_supply/*")):
        if _text(battery / "type") == "Battery" and _text(battery / "status") == "Discharging":
            meter = BatteryMeter(battery)
            if meter.power_mw() is not None:
                return meter
    # intel-rapl:0 is a package; intel-rapl:0:0 a part of it.
    zones = [zone for zone in sorted(system.glob("powercap/intel-rapl:*")) if zone.name.count(":") == 1]
    zones = [zone for zone in zones if _number(zone / "energy_uj") is not None]
    return RaplMeter(zones) if zones else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _number(path: Path) -> int | None:
    text = _text(path)
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None
