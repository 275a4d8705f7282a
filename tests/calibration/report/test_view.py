import json

import msgspec
import pytest
from tests.support.exits import exit_bundle
from tests.support.profiles import profiled_bundle
from tests.support.reports import reported_bundle
from tests.support.toy import toy_bundle

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.report.data import REPORT_NAME
from cutpoint.calibration.report.view import make_view


def test_everything_that_calibration_wrote() -> None:
    bundle = reported_bundle()
    view = make_view(bundle)
    assert [point.id for point in view.points] == [point.id for point in bundle.points]
    assert view.hash == bundle.hash
    assert [(trial.id, trial.reason) for trial in view.trials] == [("cut1-int8-affine-coarse", "loses 8 points")]
    assert [cut.label for cut in view.cuts] == ["early", "features"]
    assert [cut.bottleneck for cut in view.cuts] == [False, True]
    assert view.search["mode"] == "quick"
    assert view.losses[0].series["loss"] == (2.0, None, 0.5)
    assert view.notes == ("one picture could not be read",)


def test_a_bundle_without_a_report_shows_what_its_points_say() -> None:
    view = make_view(toy_bundle())
    assert (view.trials, view.losses, view.search) == ((), (), {})
    (cut,) = view.cuts
    assert (cut.label, cut.bytes, cut.measured_ms, cut.bottleneck, cut.kept) == ("cut 1", 512, 0.1, True, True)
    places = {point.id: (point.place, point.codec) for point in view.points}
    assert places["cut2-fp32"] == ("device", "none")
    assert places["cut0-jpeg-q90"] == ("picture", "jpeg")
    assert places["cut1-fp32-delta-fine"][1] == "delta"


def test_a_device_part_alone_can_be_shown() -> None:
    assert make_view(reported_bundle().part("device")).trials == ()


@pytest.mark.parametrize(("path", "data"), [(REPORT_NAME, b"[1"), ("report/curves.json", b'{"loss": "low"}')])
def test_a_damaged_report_is_named(path: str, data: bytes) -> None:
    with pytest.raises(CalibrationError, match=path.replace(".", r"\.")):
        make_view(reported_bundle({path: data}))


def test_devices_that_were_profiled() -> None:
    view = make_view(profiled_bundle())
    assert [(device.name, device.estimate) for device in view.devices] == [("calibration", False), ("board", False)]
    number = [point.id for point in view.points].index("cut1-fp32-affine-fine")
    board = view.devices[1]
    assert (board.ms[number], board.mj[number], board.memory[number]) == (34.0, 68.0, 5_000_000)


def test_it_is_json() -> None:
    assert json.loads(msgspec.json.encode(make_view(reported_bundle())))["points"][0]["id"] == "cut2-fp32"


def test_points_with_exits_show_their_means() -> None:
    view = make_view(exit_bundle(rate=0.25))
    points = {point.id: (number, point) for number, point in enumerate(view.points)}
    (plain, without), (asking, with_exit) = (points[f"cut1-fp32-raw-exact{end}"] for end in ("", "-exit1"))
    assert (without.codec, with_exit.codec) == ("raw", "raw, exit 25%")
    assert with_exit.wire == pytest.approx(0.75 * without.wire)
    times = view.devices[0].ms
    assert times[asking] == pytest.approx(0.25 * 0.15 + 0.75 * times[plain])
    assert view.cuts == make_view(toy_bundle()).cuts
