"""What the system says of the device it runs on: load, memory, temperature, battery."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["DeviceState", "read_device_state"]

T = TypeVar("T")

#: °C of a processor that slows down soon, and charge that people begin to save.
_HOT, _LOW = 85.0, 0.2


@dataclass(frozen=True, slots=True)
class DeviceState:
    """The device, as far as the system tells; None where it does not.

    Attributes:
        cpu_load: share of all cores that was busy since the last look, 0 … 1.
        memory_free: bytes that can be had without swapping.
        temperature: of the hottest sensor in °C.
        battery: charge, 0 … 1.
        charging: whether it is plugged in.
    """

    cpu_load: float | None = None
    memory_free: int | None = None
    temperature: float | None = None
    battery: float | None = None
    charging: bool | None = None

    @property
    def strained(self) -> bool:
        """Whether the device should be spared: hot, or with little charge left and not plugged in."""
        hot = self.temperature is not None and self.temperature > _HOT
        return hot or (self.battery is not None and self.battery < _LOW and not self.charging)


def read_device_state() -> DeviceState:
    """Asks the system, through psutil; without that package nothing is known. Takes up to a few milliseconds."""
    try:
        import psutil
    except ImportError:
        return DeviceState()
    # Which of these exist depends on the platform, and on what a sandbox lets through.
    sensors = _ask(getattr(psutil, "sensors_temperatures", None)) or {}
    temperatures = [entry.current for entries in sensors.values() for entry in entries if entry.current is not None]
    battery = _ask(getattr(psutil, "sensors_battery", None))
    memory = _ask(psutil.virtual_memory)
    load = _ask(psutil.cpu_percent)
    return DeviceState(
        cpu_load=None if load is None else load / 100,
        memory_free=None if memory is None else int(memory.available),
        temperature=max(temperatures, default=None),
        battery=None if battery is None else battery.percent / 100,
        charging=None if battery is None else battery.power_plugged,
    )


def _ask(question: Callable[[], T] | None) -> T | None:
    try:
        return question() if question is not None else None
    except Exception:  # psutil's own, the system's, a platform's: none of them is worth a request
        return None
