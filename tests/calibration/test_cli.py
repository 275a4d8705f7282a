import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner, Result
from tests.support.networks import SIDE, control_flow_net, picture_folder, residual_net

from cutpoint.calibration.cli import calibrate
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
    ],
)
def test_errors_are_one_clear_line_and_leave_nothing(folder: Path, case: str, message: str) -> None:
    pytest.importorskip("torch")
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
        case "unknown field":
            options = ["--preprocess", str(folder / "odd.toml")]
    before = set(folder.iterdir())
    result = _run(folder, model, *options, data=data)
    assert result.exit_code == 1
    assert message in result.output
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    assert {path for path in folder.iterdir() if path.name != "__pycache__"} <= before | {folder / "if.onnx"}


def test_an_interruption_says_how_to_go_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cutpoint.calibration.pipeline.run_calibration", interrupted)
    result = _run(folder, str(folder / "net.onnx"))
    assert result.exit_code == 130
    assert "same command again" in result.output


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
