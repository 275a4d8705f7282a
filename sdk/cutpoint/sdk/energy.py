"""What a request costs the device's battery: an estimate, from published constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["RADIOS", "EnergyModel", "Radio"]


@dataclass(frozen=True, slots=True)
class Radio:
    """Power of the radio while sending, above that of an idle phone: base + slope · rate.

    Attributes:
        base_mw: milliwatt.
        slope_mw: milliwatt per Mbit/s of uplink rate.
        source: where the constants come from.
    """

    base_mw: float
    slope_mw: float
    source: str

    def power_mw(self, rate_mbps: float) -> float:
        """Milliwatt while sending at `rate_mbps` Mbit/s."""
        return self.base_mw + self.slope_mw * rate_mbps


_SIGCOMM21 = "fit to the measurement artifact of Narayanan et al., SIGCOMM 2021; 2350 mW of idle phone subtracted"

RADIOS: Final[dict[str, Radio]] = {
    "lte": Radio(2926 - 2350, 76.7, _SIGCOMM21),
    "5g-low": Radio(3199 - 2350, 32.2, _SIGCOMM21),
    "5g-mmwave": Radio(5664 - 2350, 8.9, _SIGCOMM21),
    "wifi": Radio(132.86, 283.17, "Huang et al., MobiSys 2012, table 4"),
}


@dataclass(frozen=True, slots=True)
class EnergyModel:
    """Energy of one request: compute power · compute time + radio power · sending time.

    Attributes:
        radio: of the link in use.
        compute_mw: milliwatt of one busy core above idle. 2000 mW is a middle-class phone's big core at full clock.
    """

    radio: Radio
    compute_mw: float = 2000.0

    def request_mj(self, device_ms: float, nbytes: float, uplink: float) -> float:
        """Millijoule of one request.

        Args:
            device_ms: milliseconds of computation on the device.
            nbytes: bytes sent; 0 for none.
            uplink: bit/s while sending.
        """
        compute = self.compute_mw * device_ms / 1e3
        if nbytes <= 0:
            return compute
        return compute + self.radio.power_mw(uplink / 1e6) * nbytes * 8 / uplink
