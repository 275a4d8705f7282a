import json
from pathlib import Path

import msgspec
import pytest
from tests.support.exits import exit_bundle
from tests.support.profiles import profile_of, profiled_bundle
from tests.support.toy import picture, toy_bundle

from cutpoint.sdk import Client, InputError
from cutpoint.sdk.bundle import Boundary, Bundle, DeviceProfile, HeadCost, Point
from cutpoint.sdk.errors import BundleError
from cutpoint.sdk.profiles import (
    REFERENCES,
    apply_profile,
    attach_profiles,
    find_profile,
    load_profile,
    memory_of,
    reference_profiles,
    save_profile,
    usual_scale,
)


def point(bundle: Bundle, name: str) -> Point:
    return bundle.points[bundle.point_number(name)]


def counted(macs: int = 10_000_000) -> Bundle:
    """The toy bundle, with a computation that is counted."""
    bundle = toy_bundle()
    boundaries = bundle.manifest.boundaries
    last = Boundary(2, boundaries[-1].tensors, macs=macs)
    manifest = msgspec.structs.replace(bundle.manifest, boundaries=(*boundaries[:-1], last), files=())
    return Bundle.create(
        manifest, {entry.path: (entry.part, bundle.read(entry.path)) for entry in bundle.manifest.files}
    )


def test_points_cost_what_they_do_on_the_device() -> None:
    bundle = toy_bundle()
    there = apply_profile(bundle, profile_of(bundle))
    assert (there.hash, bundle.points) == (bundle.hash, bundle.manifest.points)
    fine = point(there, "cut1-fp32-affine-fine").measured
    assert (fine.device_ms, fine.encode_ms, fine.energy_mj) == (30.0, 4.0, 68.0)
    assert (fine.metric, fine.tail_ms) == (0.98, 0.1)
    # The whole model's energy was not measured, nor anything of this level: the scale helps.
    assert (point(there, "cut2-fp32").measured.device_ms, point(there, "cut2-fp32").measured.energy_mj) == (50.0, None)
    coarse = point(there, "cut1-fp32-affine-coarse").measured
    assert (coarse.device_ms, coarse.encode_ms, coarse.energy_mj) == (30.0, pytest.approx(25.0), None)
    assert point(there, "cut0-jpeg-q90").measured.encode_ms == 2.0
    assert point(there, "cut0-raw-exact").measured.device_ms == 0.0
    assert memory_of(bundle, profile_of(bundle), point(bundle, "cut2-fp32")) == 6_000_000
    assert memory_of(bundle, profile_of(bundle), point(bundle, "cut0-raw-exact")) is None


def test_files_decide_where_a_cost_holds() -> None:
    bundle, other = toy_bundle(), toy_bundle("other")
    assert point(apply_profile(other, profile_of(bundle)), "cut1-fp32-affine-fine").measured.device_ms == 30.0
    stranger = msgspec.structs.replace(
        profile_of(bundle), heads=(HeadCost(1, "fp32", "onnx", "0" * 64, 1.0, 1.0),), encoders=()
    )
    with pytest.raises(InputError, match="another model"):
        apply_profile(bundle, stranger)


def test_the_format_that_is_run_decides_where_there_are_several() -> None:
    bundle = toy_bundle()
    first = profile_of(bundle).heads[0]
    both = (first, msgspec.structs.replace(first, format="tflite", p50_ms=20.0))
    profile = msgspec.structs.replace(profile_of(bundle), heads=both)
    for name, ms in (("onnx", 30.0), ("tflite", 20.0)):
        there = apply_profile(bundle, profile, name)
        assert point(there, "cut1-fp32-affine-fine").measured.device_ms == ms


def test_a_bundle_that_carries_profiles(tmp_path: Path) -> None:
    bundle, plain = profiled_bundle(), toy_bundle()
    assert bundle.hash != plain.hash
    bundle.save(tmp_path / "b.cutpoint")
    again = Bundle.open(tmp_path / "b.cutpoint")
    assert [profile.name for profile in again.manifest.devices] == ["board"]
    assert find_profile(again, "board") == profile_of(plain)
    renewed = attach_profiles(again, [profile_of(plain), profile_of(plain, "phone")])
    assert [profile.name for profile in renewed.manifest.devices] == ["board", "phone"]
    with pytest.raises(BundleError, match="server part"):
        attach_profiles(bundle.part("device"), [profile_of(plain)])


def test_a_manifest_without_profiles_says_nothing_of_them() -> None:
    assert b"devices" not in msgspec.json.encode(toy_bundle().manifest)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"name": ""}, "without a name"), ({"scale": 0.0}, "scale"), ({"heads": [{"p50_ms": -1}]}, "below 0")],
)
def test_senseless_profiles_are_refused(change: dict[str, object], message: str, tmp_path: Path) -> None:
    profile = msgspec.to_builtins(profile_of(toy_bundle()))
    if "heads" in change:
        change = {"heads": [profile["heads"][0] | {"p50_ms": -1}]}
    (tmp_path / "device.json").write_text(json.dumps(profile | change))
    with pytest.raises(InputError, match=message):
        load_profile(tmp_path / "device.json")
    bad = msgspec.convert(profile | change, DeviceProfile)
    with pytest.raises(BundleError, match=message):
        toy_bundle().with_devices([bad])


def test_two_of_a_name_are_refused() -> None:
    with pytest.raises(BundleError, match="two device profiles"):
        toy_bundle().with_devices([DeviceProfile("a"), DeviceProfile("a")])


def test_files(tmp_path: Path) -> None:
    bundle = toy_bundle()
    path = tmp_path / "device.json"
    save_profile(profile_of(bundle), path)
    assert load_profile(path) == find_profile(bundle, path) == profile_of(bundle)
    path.write_bytes(b'{"name": "a", "speed": 3}')
    with pytest.raises(InputError, match=r"device\.json: not a device profile.*speed"):
        load_profile(path)
    with pytest.raises(InputError, match="cannot be read"):
        load_profile(tmp_path)
    with pytest.raises(InputError, match="'nowhere' is neither a file nor one of"):
        find_profile(bundle, "nowhere")


def test_built_in_devices_are_estimates_by_multiply_accumulates() -> None:
    assert reference_profiles(toy_bundle()) == ()
    bundle = counted()
    profiles = {profile.name: profile for profile in reference_profiles(bundle)}
    assert set(profiles) == set(REFERENCES)
    assert all(profile.estimate and profile.source for profile in profiles.values())
    # 10 MMAC in 0.2 ms here, 569 MMAC in 14 ms there.
    assert profiles["phone-high"].scale == pytest.approx(50 / (569 / 14), rel=1e-3)
    there = apply_profile(bundle, find_profile(bundle, "pi4"))
    assert point(there, "cut2-fp32").measured.device_ms == pytest.approx(0.2 * profiles["pi4"].scale)


def test_the_scale_is_the_middle_of_the_heads() -> None:
    bundle = toy_bundle()
    assert usual_scale(bundle, profile_of(bundle).heads) == pytest.approx((30 / 0.1 + 50 / 0.2) / 2)
    assert usual_scale(bundle, ()) == 1.0


async def test_client_plans_with_the_profile(tmp_path: Path) -> None:
    bundle = profiled_bundle()
    async with Client(bundle=bundle, mode="device", profile="board") as client:
        assert point(client.bundle, "cut2-fp32").measured.device_ms == 50.0
        result = await client.infer(picture(1))
        assert int(result.outputs[0].argmax()) == 1
        # This machine is faster than the board, and the client has noticed.
        assert client.conditions.device_scale < 0.5
    with pytest.raises(InputError, match="nowhere"):
        async with Client(bundle=bundle, mode="device", profile="nowhere"):
            pass


def test_pieces_of_a_head_and_exits_are_as_slow_as_the_head() -> None:
    bundle = exit_bundle()
    there = apply_profile(bundle, profile_of(bundle))
    for name, head_ms, plain in (("cut1-fp32-raw-exact", 30.0, 0.1), ("cut2-fp32", 50.0, 0.2)):
        asking, was = point(there, f"{name}-exit1").measured, point(bundle, f"{name}-exit1").measured
        assert asking.exit_ms == pytest.approx(head_ms / plain * was.exit_ms)
        assert asking.device_ms == pytest.approx(head_ms / plain * was.device_ms)
        assert (asking.exit_rate, asking.energy_mj) == (0.5, None)
    # Where the head was not measured, the scale stands for it.
    estimate = apply_profile(bundle, DeviceProfile("guess", scale=10.0))
    assert point(estimate, "cut2-fp32-exit1").measured.exit_ms == pytest.approx(1.5)
    # Points with exits do not change what the device's scale is.
    assert usual_scale(bundle, profile_of(bundle).heads) == usual_scale(toy_bundle(), profile_of(bundle).heads)
