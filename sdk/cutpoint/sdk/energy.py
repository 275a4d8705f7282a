"""What a request costs the device's battery: an estimate, from published constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["NETWORK_RADIOS", "RADIOS", "EnergyModel", "Radio"]


@dataclass(frozen=True, slots=True)
class Radio:
    """Power of a radio at work, above that of an idle phone: base + slope · rate.

    Attributes:
        base_mw: milliwatt while sending.
        slope_mw: milliwatt per Mbit/s of uplink rate.
        down_base_mw: milliwatt while receiving.
        down_slope_mw: milliwatt per Mbit/s of downlink rate.
        source: where the constants come from.
        tail_mw: milliwatt for the time after the last byte in which the radio stays awake.
        tail_s: seconds that it does; 0 where no figure is known. A request does not pay for it: while requests (or
            probes) come more often than that, the radio is awake whatever is decided.
    """

    base_mw: float
    slope_mw: float
    down_base_mw: float
    down_slope_mw: float
    source: str
    tail_mw: float = 0.0
    tail_s: float = 0.0

    def power_mw(self, rate_mbps: float) -> float:
        """Milliwatt while sending at `rate_mbps` Mbit/s."""
        return self.base_mw + self.slope_mw * rate_mbps

    def send_mj(self, nbytes: float, uplink: float) -> float:
        """Millijoule of sending `nbytes` at `uplink` bit/s.

        base · t + slope · rate · t, where rate · t is the size: what a slow link costs is the base.
        """
        return nbytes * 8e-6 * (self.base_mw * 1e6 / uplink + self.slope_mw)

    def receive_mj(self, nbytes: float, downlink: float) -> float:
        """Millijoule of receiving `nbytes` at `downlink` bit/s."""
        return nbytes * 8e-6 * (self.down_base_mw * 1e6 / downlink + self.down_slope_mw)

    @property
    def tail_mj(self) -> float:
        """Millijoule from the last byte until the radio sleeps."""
        return self.tail_mw * self.tail_s


_IDLE_MW = 2350
_SIGCOMM21 = "fit to the measurement artifact of Narayanan et al., SIGCOMM 2021; 2350 mW of idle phone subtracted"
_MOBISYS12 = "Huang et al., MobiSys 2012, tables 3 and 4"

RADIOS: Final[dict[str, Radio]] = {
    "lte": Radio(
        2926 - _IDLE_MW,
        76.7,
        2839 - _IDLE_MW,
        11.5,
        f"{_SIGCOMM21}; the tail from {_MOBISYS12}",
        tail_mw=1060.0,
        tail_s=11.6,
    ),
    "5g-low": Radio(3199 - _IDLE_MW, 32.2, 3059 - _IDLE_MW, 11.5, _SIGCOMM21),
    "5g-mmwave": Radio(5664 - _IDLE_MW, 8.9, 5237 - _IDLE_MW, 1.73, _SIGCOMM21),
    "3g": Radio(817.88, 868.98, 817.88, 122.12, _MOBISYS12, tail_mw=803.9, tail_s=8.1),
    "wifi": Radio(132.86, 283.17, 132.86, 137.01, _MOBISYS12, tail_mw=119.3, tail_s=0.24),
    "ethernet": Radio(0.0, 0.0, 0.0, 0.0, "mains power"),
}

#: Radio by kind of network, as in `cutpoint.sdk.channel.NETWORKS`.
NETWORK_RADIOS: Final[dict[str, Radio]] = {
    "ethernet": RADIOS["ethernet"],
    "wifi": RADIOS["wifi"],
    "5g": RADIOS["5g-low"],
    "lte": RADIOS["lte"],
    "3g": RADIOS["3g"],
}


@dataclass(frozen=True, slots=True)
class EnergyModel:
    """Energy of one request: compute power · compute time + radio power · time on the air.

    Attributes:
        radio: of the link in use.
        compute_mw: milliwatt of one busy core above idle. 2000 mW is a middle-class phone's big core at full clock.
    """

    radio: Radio = RADIOS["lte"]
    compute_mw: float = 2000.0

    def compute_mj(self, device_ms: float) -> float:
        """Millijoule of `device_ms` milliseconds of computation."""
        return self.compute_mw * device_ms / 1e3

    def request_mj(
        self, device_ms: float, nbytes: float, uplink: float, answer: float = 0.0, downlink: float = 1e9
    ) -> float:
        """Millijoule of one request.

        Args:
            device_ms: milliseconds of computation on the device.
            nbytes: bytes sent; 0 for none.
            uplink: bit/s while sending.
            answer: bytes received.
            downlink: bit/s while receiving.
        """
        on_air = self.radio.send_mj(nbytes, uplink) + self.radio.receive_mj(answer, downlink)
        return self.compute_mj(device_ms) + on_air
