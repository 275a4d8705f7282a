import msgspec
from tests.support.profiles import profile_of
from tests.support.toy import toy_bundle

from cutpoint.calibration.devices import for_device, steering, with_devices
from cutpoint.calibration.progress import SilentReporter
from cutpoint.calibration.search.scope import ANY_DEVICE, KNOWN_DEVICE, MODES, Scope
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


def test_the_first_profile_of_the_model_steers() -> None:
    bundle = toy_bundle()
    stranger = msgspec.structs.replace(
        profile_of(bundle, "stranger"), heads=(HeadCost(1, "fp32", "onnx", "0" * 64, 1.0, 1.0),)
    )
    assert steering(bundle, []) is None
    assert steering(bundle, [stranger]) is None
    found = steering(bundle, [stranger, profile_of(bundle, "first"), profile_of(bundle, "second")])
    assert found is not None
    assert found.name == "first"


def test_a_search_for_a_device_goes_by_its_costs() -> None:
    bundle = toy_bundle()
    scope = Scope(MODES["default"], frozenset(), "cut2-fp32")
    point = next(
        point for point in bundle.points if point.start == 1 and point.codec == "1-affine" and point.level == 1
    )
    assert for_device(scope, bundle, None) is scope
    assert (scope.on_device(point), scope.slower) == (point, ANY_DEVICE)
    steered = for_device(scope, bundle, profile_of(bundle))
    measured = steered.on_device(point).measured
    assert (measured.device_ms, measured.encode_ms) == (30.0, 4.0)
    assert (measured.tail_ms, measured.bytes_mean) == (point.measured.tail_ms, point.measured.bytes_mean)
    assert steered.slower == KNOWN_DEVICE
