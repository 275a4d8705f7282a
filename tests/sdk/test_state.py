import subprocess
import sys

import pytest

from cutpoint.sdk import DeviceState
from cutpoint.sdk.state import read_device_state


def test_what_the_system_tells_makes_sense() -> None:
    pytest.importorskip("psutil")
    read_device_state()
    state = read_device_state()
    assert state.cpu_load is not None
    assert 0 <= state.cpu_load <= 1
    assert state.memory_free is not None
    assert state.memory_free > 1 << 20
    assert state.battery is None or 0 <= state.battery <= 1
    assert state.temperature is None or -50 < state.temperature < 150


def test_without_psutil_nothing_is_known() -> None:
    code = (
        "import sys; sys.modules['psutil'] = None\n"
        "from cutpoint.sdk.state import DeviceState, read_device_state\n"
        "assert read_device_state() == DeviceState()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert DeviceState().battery is None


def test_systems_that_refuse_are_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    psutil = pytest.importorskip("psutil")

    def refuse() -> None:
        raise PermissionError("a sandbox")

    for name in ("virtual_memory", "cpu_percent", "sensors_battery", "sensors_temperatures"):
        monkeypatch.setattr(psutil, name, refuse, raising=False)
    assert read_device_state() == DeviceState()


@pytest.mark.parametrize(
    ("state", "strained"),
    [
        (DeviceState(), False),
        (DeviceState(battery=0.1), True),
        (DeviceState(battery=0.1, charging=True), False),
        (DeviceState(battery=0.5, temperature=40.0), False),
        (DeviceState(temperature=95.0, charging=True), True),
    ],
)
def test_strain(state: DeviceState, strained: bool) -> None:
    assert state.strained is strained
