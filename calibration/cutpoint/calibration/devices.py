"""Device profiles: one steers the search, and all go into the bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cutpoint.calibration.progress import Reporter
from cutpoint.calibration.search.scope import KNOWN_DEVICE, Scope
from cutpoint.sdk.bundle import Bundle, DeviceProfile, Manifest
from cutpoint.sdk.errors import InputError
from cutpoint.sdk.profiles import attach_profiles, points_on

__all__ = ["for_device", "steering", "with_devices"]


def steering(bundle: Bundle, devices: Sequence[DeviceProfile]) -> DeviceProfile | None:
    """The device that points are chosen for: the first of `devices` that was measured with the model, if any was."""
    return next((device for device in devices if _fits(bundle, device)), None)


def for_device(scope: Scope, bundle: Bundle, device: DeviceProfile | None) -> Scope:
    """The scope of a search for one device; None: for any.

    Args:
        scope: for any device.
        bundle: with all heads and encoders.
        device: measured with the model.
    """
    return scope if device is None else replace(scope, on_device=points_on(bundle, device), slower=KNOWN_DEVICE)


def _fits(bundle: Bundle, device: DeviceProfile) -> bool:
    try:
        points_on(bundle, device)
    except InputError:
        return False
    return True


def with_devices(bundle: Bundle, devices: Sequence[DeviceProfile], reporter: Reporter) -> Manifest:
    """The bundle's manifest with the profiles that go with it. One that does not is noted: the work is done by then."""
    for device in devices:
        try:
            bundle = attach_profiles(bundle, [device])
        except InputError as error:
            reporter.note(f"left out: {error}")
    return bundle.manifest
