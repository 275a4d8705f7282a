"""`cutpoint calibrate --exits`, from pictures to a bundle whose exits answer."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from tests.calibration.test_trained_codecs import _boundaries
from tests.support.networks import SIDE, inspect, picture_folder, residual_net, two_scale_net

from cutpoint.calibration.cli import calibrate
from cutpoint.calibration.data import open_dataset, shuffled
from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.exits.fit import ExitData, choose_exits
from cutpoint.calibration.exits.points import spans_around
from cutpoint.calibration.exits.precision import quantise_exit
from cutpoint.calibration.graphs.exports import export_spans
from cutpoint.calibration.pipeline import run_calibration
from cutpoint.calibration.progress import SilentReporter
from cutpoint.calibration.settings import Settings
from cutpoint.sdk.bundle import Boundary, Bundle, Exit, Measurement, Point
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.head import Head
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.server.tails import load_tails


def settings(folder: Path, **changes: object) -> Settings:
    onnx.save(residual_net(), str(folder / "net.onnx"))
    data = folder / "data"
    if not data.exists():
        picture_folder(data, 200)
    given: dict[str, object] = {
        "model": str(folder / "net.onnx"),
        "data": data,
        "out": folder / "out",
        "cuts": ("r1", "r3", "r4"),
        "codecs": ("raw",),
        "calibration_samples": 8,
        "samples": 12,
        "keep_all": True,
        "exits": ("r1",),
        "exit_drops": (0.3,),
        "exit_steps": 40,
    }
    return Settings(**(given | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return run_calibration(settings(tmp_path_factory.mktemp("exits")), SilentReporter()).bundle


def test_a_bundle_gains_exits_and_points_that_ask_them(bundle: Bundle) -> None:
    (exit,) = bundle.manifest.exits
    (threshold,) = exit.thresholds
    assert (exit.id, exit.boundary, exit.precision) == ("exit1-int8", 1, "int8")
    assert (threshold.drop, threshold.certainty) == (0.3, 0.95)
    assert threshold.samples == 45
    assert 0 < threshold.rate <= 1
    assert exit.ms > 0
    asking = [point for point in bundle.points if point.exit]
    assert {point.start for point in asking} <= {1, 2, 3, 4}
    assert any(point.local for point in asking)
    for point in asking:
        assert point.id.endswith("-exit1")
        assert 0 < point.measured.exit_ms <= point.measured.device_ms


def operators(made: Bundle) -> set[str]:
    """Of its exit."""
    model = onnx.load_from_string(made.read(made.manifest.exits[0].graphs[0].file))
    return {node.op_type for node in model.graph.node}


def test_exits_have_the_precision_of_their_heads(bundle: Bundle, tmp_path: Path) -> None:
    assert "QuantizeLinear" in operators(bundle)
    floats = run_calibration(settings(tmp_path, precisions=("fp32",)), SilentReporter()).bundle
    assert floats.manifest.exits[0].precision == "fp32"
    assert "QuantizeLinear" not in operators(floats)


def test_an_exit_stays_in_floats_where_int8_costs_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def costly(*given: Any) -> tuple[onnx.ModelProto, float]:
        return quantise_exit(*given)[0], 0.1

    monkeypatch.setattr("cutpoint.calibration.exits.fit.quantise_exit", costly)
    reporter = SilentReporter()
    made = run_calibration(settings(tmp_path), reporter).bundle
    assert "the exit at r1 stays in floats: int8 costs 10.0% of its answers" in reporter.notes
    assert "QuantizeLinear" not in operators(made)


def test_what_was_measured_is_what_the_device_does(bundle: Bundle) -> None:
    head = Head(BundleGraphs(bundle.part("device"), [create_runtime("onnx")]))
    plain = {point.id: point for point in bundle.points}
    rng = np.random.default_rng(3)
    pictures = [head.prepare(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)) for _ in range(20)]
    for point in (point for point in bundle.points if point.exit):
        for picture in pictures:
            done, without = head.run(point, picture), head.run(plain[point.id.removesuffix("-exit1")], picture)
            if done.exit is None:
                assert done.payload == without.payload
                if done.outputs is not None and without.outputs is not None:
                    np.testing.assert_allclose(done.outputs[0], without.outputs[0], rtol=1e-4, atol=1e-5)
            else:
                assert done.outputs is not None
                assert done.outputs[0].shape == (1, 5)


def test_the_same_command_gives_the_same_exits(bundle: Bundle, tmp_path: Path) -> None:
    again = run_calibration(settings(tmp_path), SilentReporter()).bundle
    path = bundle.manifest.exits[0].graphs[0].file
    assert again.read(path) == bundle.read(path)
    assert again.manifest.exits[0].thresholds == bundle.manifest.exits[0].thresholds


def test_parts_hold_what_machines_need(bundle: Bundle) -> None:
    device, server = bundle.part("device"), bundle.part("server")
    path = bundle.manifest.exits[0].graphs[0].file
    assert path in device
    # Whether it is worth asking there depends on what was measured.
    uses = bundle.manifest.exits[0].servers
    assert (path in server) is bool(uses)
    _, loaded = load_tails(server, create_runtime("onnx"))
    assert {key[0] for key in loaded.exits} == {server.points[server.point_number(use.point)].end for use in uses}
    small = bundle.part("device", runtime="onnx", precision="fp32")
    assert path not in small
    assert Bundle.from_bytes(small.to_bytes()).hash == bundle.hash
    assert Bundle.from_bytes(bundle.part("device", precision="int8").to_bytes()).hash == bundle.hash


def test_several_promises_each_have_a_threshold(tmp_path: Path) -> None:
    made = run_calibration(settings(tmp_path, exit_drops=(0.6, 0.3), exits=1, exit_steps=400), SilentReporter()).bundle
    thresholds = made.manifest.exits[0].thresholds
    assert [threshold.drop for threshold in thresholds] == [0.3, 0.6]
    assert thresholds[0].confidence >= thresholds[1].confidence


def test_too_few_inputs_for_a_promise(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"takes 299 held-out inputs, and there are 45 .*--exit-drop 0\.064"):
        run_calibration(settings(tmp_path, exit_drops=(0.01,)), SilentReporter())


def test_tasks_without_exits_are_refused(tmp_path: Path) -> None:
    given = settings(tmp_path)
    onnx.save(two_scale_net(), given.model)
    with pytest.raises(CalibrationError, match="exits answer classifications only, and this task is agreement"):
        run_calibration(settings_of(given, cuts=2, exits=1), SilentReporter())


def settings_of(given: Settings, **changes: object) -> Settings:
    return Settings(**({name: getattr(given, name) for name in given.__dataclass_fields__} | changes))  # type: ignore[arg-type]


def test_where_exits_go() -> None:
    def chosen(wanted: int | tuple[str, ...]) -> list[str]:
        return [boundary.label for boundary in choose_exits(_boundaries(), wanted)]

    assert chosen(0) == []
    assert chosen(1) == ["d"]
    assert chosen(2) == ["b", "d"]
    assert chosen(("d", "a", "d")) == ["a", "d"]
    with pytest.raises(CalibrationError, match=r"'e' for an exit; .*: a, b, c, d"):
        choose_exits(_boundaries(), ("e",))


def test_no_file_is_used_twice(tmp_path: Path) -> None:
    files = shuffled(open_dataset(picture_folder(tmp_path / "data", 100)).sources)
    more = picture_folder(tmp_path / "more", 50)
    for folder in (None, more):
        given = Settings("m.onnx", tmp_path / "data", tmp_path / "out", train_data=folder)
        data = ExitData.divide(given, files[:90], files[:10], files[90:], None)
        groups = [{source.path for source in group} for group in (data.training, data.tuning, data.held_out)]
        assert all(groups)
        assert not groups[0] & groups[1]
        assert not (groups[0] | groups[1]) & groups[2]
        measured, fitted = ({source.path for source in part} for part in (files[90:], files[:10]))
        assert not groups[2] & (measured | fitted)
        assert not (groups[0] | groups[1]) & measured
        assert len(groups[2]) == (40 if folder is None else 80)


def test_bad_options_are_refused(tmp_path: Path) -> None:
    command = [str(tmp_path / "net.onnx"), "--data", str(tmp_path), "--out", str(tmp_path / "o"), "--exits", "1"]
    for option, message in (
        ("--exit-drop", "--exit-drop takes shares"),
        ("--exit-steps", "see --exit-steps"),
        ("--exit-views", "see --exit-views"),
    ):
        done = CliRunner().invoke(calibrate, [*command, option, "0"])
        assert done.exit_code == 1
        assert message in done.output


def test_spans_around_an_exit_are_written_where_no_other_point_needs_them() -> None:
    graph = inspect(residual_net())
    names = ([spec.name for spec in graph.inputs], ["r1"], ["r3"], [spec.name for spec in graph.outputs])
    boundaries = [Boundary(i, tuple(graph.specs[name] for name in part)) for i, part in enumerate(names)]
    exit = Exit("exit1-fp32", 1, "fp32", (), (), 0.0)
    none = Measurement(0.9, 0, 0, 1.0)
    local, remote = Point("l", 3, 3, none, "fp32", exit=exit.id), Point("r", 2, 2, none, "fp32", "c", exit=exit.id)
    around = spans_around((local, remote), [exit])
    assert around == dict.fromkeys([(0, 1, "fp32"), (1, 2, "fp32"), (1, 3, "fp32")], "device")
    for tails, parts in (
        (frozenset(), {"0-1": "device", "1-2": "device", "1-3": "device", "0-3": "both"}),
        (frozenset({(1, 3, "fp32")}), {"0-1": "device", "1-2": "device", "1-3": "both", "0-3": "both"}),
    ):
        wanted = frozenset({(0, 3, "fp32")}) | tails
        exported = export_spans(graph, {"fp32": graph.model}, boundaries, wanted, around=around)
        found = {f"{span.start}-{span.end}": exported.files[span.graphs[0].file][0] for span in exported.spans}
        assert found == parts
    assert spans_around((Point("p", 3, 3, none, "fp32"),), [exit]) == {}
