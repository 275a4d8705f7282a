import json
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import numpy_helper
from tests.support.networks import SIDE, control_flow_net, picture_folder, residual_net

from cutpoint.calibration.cli import calibrate
from cutpoint.calibration.work import WorkFolder
from cutpoint.sdk.bundle import Bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    onnx.save(residual_net(), str(tmp_path / "net.onnx"))
    picture_folder(tmp_path / "data", 20, classes=5)
    return tmp_path


def _run(folder: Path, model: str, *options: str, data: str = "data") -> Result:
    arguments = [model, "--data", str(folder / data), "--out", str(folder / "out.cutpoint"), *options]
    return CliRunner().invoke(calibrate, arguments)


def test_json_for_machines(folder: Path) -> None:
    options = ("--cuts", "1", "--samples", "5", "--calibration-samples", "5", "--json")
    result = _run(folder, str(folder / "net.onnx"), *options)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    bundle = Bundle.open(folder / "out.cutpoint")
    assert told["hash"] == bundle.hash
    assert [point["id"] for point in told["points"]] == [point.id for point in bundle.points]
    assert told["task"]["samples"] == 5
    assert "measuring points" in result.stderr


def test_a_table_for_people_and_all_of_preprocessing(folder: Path) -> None:
    (folder / "how.toml").write_text('size = 1\n[preprocessing]\nscale = "1/64"\nchannels = "bgr"\nresize = 20\n')
    (folder / "names.txt").write_text("class0\nclass1\nclass2\nclass3\nclass4\n")
    options = ["--preprocess", str(folder / "how.toml"), "--size", str(SIDE), "--mean", "0.5", "--std", "0.1,0.2,1/4"]
    options += [
        "--labels",
        str(folder / "names.txt"),
        "--codecs",
        "raw",
        "--precisions",
        "fp32",
        "--interpolation",
        "bicubic",
    ]
    result = _run(folder, str(folder / "net.onnx"), *options)
    assert result.exit_code == 0, result.output
    assert "cut0-raw-exact" in result.stdout
    how = Bundle.open(folder / "out.cutpoint").manifest.preprocessing
    assert how is not None
    assert (how.scale, how.channels, how.resize, how.interpolation) == (1 / 64, "bgr", 20, "bicubic")
    assert (how.mean, how.std) == ((0.5, 0.5, 0.5), (0.1, 0.2, 0.25))


def _factory(folder: Path) -> str:
    (folder / "models.py").write_text("def factory():\n    raise RuntimeError('no weights')\n")
    return f"{folder}/models.py:factory"


def _changed(folder: Path, change: Callable[[onnx.ModelProto], object]) -> str:
    net = residual_net()
    change(net)
    onnx.save(net, str(folder / "changed.onnx"))
    return str(folder / "changed.onnx")


def _spoil(net: onnx.ModelProto) -> None:
    tensor = net.graph.initializer[0]
    tensor.CopyFrom(numpy_helper.from_array(np.full_like(numpy_helper.to_array(tensor), np.nan), tensor.name))


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("missing folder", "no such folder"),
        ("empty folder", "no pictures"),
        ("factory that raises", "the factory raised RuntimeError: no weights"),
        ("control flow", "layer 'node_out' (If) is dynamic control flow"),
        ("bad scale", "'a lot' is not a number"),
        ("bad shape", "'1x3xtall' is not a shape"),
        ("bad toml", "not a readable TOML file"),
        ("no labels file", "cannot be read"),
        ("unknown field", "unknown field"),
        ("wrong size", "takes pictures of (1, 3, 16, 16), but preprocessing gives 64×64: see --size"),
        ("weights that are not finite", "holds NaN or infinity for a calibration sample"),
        ("unknown operator", "(Nonsense) is a custom operator, which onnxruntime cannot run"),
        ("no labels", "wants labels"),
        ("no boxes", "knows the outputs of YOLOX"),
        ("node slices", "'1' is no way to cut a span: give a number of slices from 2 on, or speeds such as 1:0.6:0.4"),
        ("speeds", "'1:0' is no way to cut a span"),
        ("budget", "--budget soon: not a time: write 90s, 10m or 2h"),
        ("constraints", "'acuracy' is not one of accuracy_drop"),
    ],
)
def test_errors_are_one_clear_line_and_leave_nothing(folder: Path, case: str, message: str) -> None:
    pytest.importorskip("torch", reason="needs cutpoint[calibrate]")
    model, data, options = str(folder / "net.onnx"), "data", []
    (folder / "empty").mkdir()
    (folder / "bad.toml").write_text("scale = = 3")
    (folder / "odd.toml").write_text("sdt = 3")
    match case:
        case "missing folder":
            data = "nowhere"
        case "empty folder":
            data = "empty"
        case "factory that raises":
            model = _factory(folder)
        case "control flow":
            model = str(folder / "if.onnx")
            onnx.save(control_flow_net(), model)
        case "bad scale":
            options = ["--scale", "a lot"]
        case "bad shape":
            options = ["--input", "1x3xtall"]
        case "bad toml":
            options = ["--preprocess", str(folder / "bad.toml")]
        case "no labels file":
            options = ["--labels", str(folder / "nowhere.txt")]
        case "wrong size":
            options = ["--size", "64"]
        case "weights that are not finite":
            model = _changed(folder, _spoil)
        case "unknown operator":
            model = _changed(folder, lambda net: setattr(net.graph.node[1], "op_type", "Nonsense"))
        case "no labels":
            picture_folder(folder / "plain", 20)
            data, options = "plain", ["--task", "classification"]
        case "no boxes":
            options = ["--task", "detection"]
        case "node slices":
            options = ["--node-slices", "2,1"]
        case "speeds":
            options = ["--node-slices", "1:0"]
        case "budget":
            options = ["--budget", "soon"]
        case "constraints":
            (folder / "limits.toml").write_text("acuracy = 1")
            options = ["--constraints", str(folder / "limits.toml")]
        case "unknown field":
            options = ["--preprocess", str(folder / "odd.toml")]
    before = set(folder.iterdir())
    result = _run(folder, model, *options, data=data)
    assert result.exit_code == 1
    assert message in result.output
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    made = {folder / name for name in ("if.onnx", "changed.onnx", "plain", "limits.toml")}
    assert {path for path in folder.iterdir() if path.name != "__pycache__"} <= before | made


def test_an_interruption_says_how_to_go_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cutpoint.calibration.pipeline.run_calibration", interrupted)
    result = _run(folder, str(folder / "net.onnx"))
    assert result.exit_code == 130
    assert "same command again" in result.output


def _command(folder: Path) -> list[str]:
    options = ["--data", str(folder / "data"), "--out", str(folder / "out.cutpoint")]
    options += ["--samples", "10", "--cuts", "2", "--keep-all"]
    return [sys.executable, "-m", "cutpoint.sdk", "calibrate", str(folder / "net.onnx"), *options]


def _heeds_interrupts() -> None:
    """Undoes what a shell does to what it starts in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _interrupted(folder: Path, place: str) -> None:
    """Presses Ctrl-C when the stage `place` begins."""
    with subprocess.Popen(_command(folder), stderr=subprocess.PIPE, text=True, preexec_fn=_heeds_interrupts) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(place):
                process.send_signal(signal.SIGINT)
                break
        told = process.stderr.read()
        assert process.wait() == 130, told
        assert "same command again" in told
        assert "Traceback" not in told
    assert not (folder / "out.cutpoint").exists()
    assert (folder / ".out.cutpoint.work").is_dir()


@pytest.mark.timeout(300)
def test_interrupted_at_three_places_it_goes_on(folder: Path) -> None:
    for place in ("fitting codecs", "a first look at points", "measuring points, rung 2"):
        _interrupted(folder, place)
    steps = {path.name for path in (folder / ".out.cutpoint.work").iterdir()}
    assert {name.rsplit("-", 1)[0] for name in steps} >= {"int8", "klt", "affine", "probe", "answers"}
    finished = subprocess.run(_command(folder), capture_output=True, text=True, timeout=250)
    assert finished.returncode == 0, finished.stderr
    assert "quantising" not in finished.stderr
    assert len(Bundle.open(folder / "out.cutpoint").points) > 20
    assert not (folder / ".out.cutpoint.work").exists()


def test_no_room_for_a_file_is_one_line_and_what_is_done_stays(folder: Path) -> None:
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    def refusal() -> str:
        refused = subprocess.run(_command(folder), capture_output=True, text=True, timeout=250, preexec_fn=small_files)
        assert refused.returncode == 1
        assert "Traceback" not in refused.stderr
        assert not (folder / "out.cutpoint").exists()
        return refused.stderr

    assert "profile is cut short, no space left; finished steps are kept" in refusal()
    # With the profile there, which is the largest file of so small a network, it goes on to the next.
    _interrupted(folder, "fitting codecs")
    assert "File too large; finished steps are kept" in refusal()
    assert list((folder / ".out.cutpoint.work").glob("affine-*"))


def test_two_calibrations_with_one_output(folder: Path) -> None:
    with WorkFolder(folder / ".out.cutpoint.work"):
        result = _run(folder, str(folder / "net.onnx"))
    assert result.exit_code == 1
    assert "another calibration with this output is running" in result.output


_BASE_INSTALL = """
import builtins, importlib.util, sys
absent = {"torch", "onnx", "onnxscript", "onnx2torch", "litert_torch"}
real_import, real_find = builtins.__import__, importlib.util.find_spec
def no_import(name, *rest):
    if name.split(".")[0] in absent:
        raise ImportError(name)
    return real_import(name, *rest)
builtins.__import__ = no_import
importlib.util.find_spec = lambda name, *rest: None if name in absent else real_find(name, *rest)
from cutpoint.calibration.cli import calibrate
calibrate(sys.argv[1:])
"""


def test_help_and_a_hint_on_the_base_install() -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", _BASE_INSTALL, *arguments], capture_output=True, text=True, timeout=60
        )

    told = run("--help")
    assert told.returncode == 0, told.stderr
    assert "--calibration-samples" in told.stdout
    refused = run("net.onnx", "--data", "x", "--out", "y")
    assert refused.returncode == 1
    assert "pip install 'cutpoint[calibrate]'" in refused.stderr
    assert "Traceback" not in refused.stderr
