"""The recorded links that benchmarks use."""

from __future__ import annotations

from typing import NamedTuple

from tests.support.torch_models import shared_root

from cutpoint.sdk.energy import RADIOS, Radio
from cutpoint.sdk.testing import Trace, load_trace

__all__ = ["Recorded", "recorded_links"]


class Recorded(NamedTuple):
    """A recorded uplink, a round trip in seconds that is usual for its kind, and the radio."""

    name: str
    trace: Trace
    rtt: float
    radio: Radio


_LINKS = {
    "ATT-LTE-driving.up": (0.060, "lte"),
    "ATT-LTE-driving-2016.up": (0.060, "lte"),
    "Verizon-EVDO-driving.up": (0.100, "3g"),
    "TMobile-LTE-short.up": (0.050, "lte"),
    "4g-walking-50093.txt": (0.050, "lte"),
    "5g-driving-22.txt": (0.030, "5g-low"),
    "5g-walking-116.txt": (0.030, "5g-mmwave"),
    "5g-mmwave-uplink.csv": (0.030, "5g-mmwave"),
}


def recorded_links() -> list[Recorded]:
    """All of them."""
    folder = shared_root() / "traces"
    return [
        Recorded(name.rsplit(".", 1)[0], load_trace(folder / name), rtt, RADIOS[radio])
        for name, (rtt, radio) in _LINKS.items()
    ]
