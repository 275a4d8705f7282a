"""Device profiles that a new bundle is given."""

from __future__ import annotations

from collections.abc import Sequence

from cutpoint.calibration.progress import Reporter
from cutpoint.sdk.bundle import Bundle, DeviceProfile, Manifest
from cutpoint.sdk.errors import InputError
from cutpoint.sdk.profiles import attach_profiles

__all__ = ["with_devices"]


def with_devices(bundle: Bundle, devices: Sequence[DeviceProfile], reporter: Reporter) -> Manifest:
    """The bundle's manifest with the profiles that go with it. One that does not is noted: the work is done by then."""
    for device in devices:
        try:
            bundle = attach_profiles(bundle, [device])
        except InputError as error:
            reporter.note(f"left out: {error}")
    return bundle.manifest
