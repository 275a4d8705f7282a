import msgspec
from tests.support.profiles import profile_of
from tests.support.toy import toy_bundle

from cutpoint.calibration.devices import with_devices
from cutpoint.calibration.progress import SilentReporter
from cutpoint.sdk.bundle import HeadCost


def test_profiles_that_go_with_a_bundle_are_taken_and_others_noted() -> None:
    bundle, reporter = toy_bundle(), SilentReporter()
    stranger = msgspec.structs.replace(
        profile_of(bundle, "stranger"), heads=(HeadCost(1, "fp32", "onnx", "0" * 64, 1.0, 1.0),)
    )
    manifest = with_devices(bundle, [profile_of(bundle), stranger], reporter)
    assert [device.name for device in manifest.devices] == ["board"]
    assert len(reporter.notes) == 1
    assert "stranger" in reporter.notes[0]
