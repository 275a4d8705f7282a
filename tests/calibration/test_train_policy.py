import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.support.toy import toy_bundle

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.learning.cli import train_policy
from cutpoint.calibration.learning.policy_file import with_policy
from cutpoint.calibration.simulate.cli import simulate_command
from cutpoint.sdk import AdaptivePolicy, Bundle, CutpointError, LearnedPolicy, Objective
from cutpoint.sdk.learned import POLICY_FILE

QUICK = ["--decisions", "60", "--budget", "20", "--users", "1-2", "--device-scale", "100-500", "--server-scale", "50"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    toy_bundle().save(tmp_path / "toy.cutpoint")
    (tmp_path / "links").mkdir()
    for name, rate in (("slow", 8), ("fast", 40)):
        # Mahimahi: a line a packet, the millisecond in which it may go.
        lines = (str(1 + 1000 * i // rate) for i in range(10 * rate))
        (tmp_path / "links" / f"{name}.up").write_text("\n".join(lines))
    return tmp_path


def run(folder: Path, *more: str) -> Result:
    out = str(folder / "policy.onnx")
    arguments = [str(folder / "toy.cutpoint"), "--traces", str(folder / "links"), "--out", out, *QUICK, *more]
    return CliRunner().invoke(train_policy, arguments)


@pytest.mark.parametrize(
    "more", [[], ["--algorithm", "ppo", "--budget", "0.1s"], ["--error", "0.3", "--quantile", "0.8"]]
)
def test_writes_a_file_that_clients_accept(folder: Path, more: list[str]) -> None:
    done = run(folder, "--json", *more)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["links"] == 2
    assert found["users"] == "1 to 2"
    bundle = toy_bundle()
    analytic = AdaptivePolicy.for_bundle(bundle, Objective.preset("balanced"))
    assert LearnedPolicy.open(folder / "policy.onnx", analytic, bundle).refusal is None
    assert sorted(path.name for path in folder.iterdir()) == ["links", "policy.onnx", "toy.cutpoint"]


def test_bundle_with_a_policy(folder: Path) -> None:
    shipped = folder / "shipped.cutpoint"
    assert run(folder, "--save-bundle", str(shipped)).exit_code == 0
    bundle = Bundle.open(shipped)
    assert bundle.hash != toy_bundle().hash
    assert bundle.points == toy_bundle().points
    device = bundle.part("device")
    assert device.read(POLICY_FILE) == (folder / "policy.onnx").read_bytes()
    assert POLICY_FILE not in bundle.part("server")
    analytic = AdaptivePolicy.for_bundle(bundle, Objective.preset("balanced"))
    assert LearnedPolicy(device.read(POLICY_FILE), analytic, device).refusal is None
    again = run(folder, "--save-bundle", str(shipped))
    assert isinstance(again.exception, CutpointError)
    assert with_policy(bundle, b"other").read(POLICY_FILE) == b"other"


def test_policy_for_a_deadline(folder: Path) -> None:
    timely = ["--deadline", "0.06", "--late-cost", "100"]
    assert run(folder, *timely, "--accuracy-drop", "0.1").exit_code == 0
    bundle = toy_bundle()
    objective = Objective.preset("balanced", deadline=0.06, late_cost=100.0, accuracy_drop=0.1)
    policy = LearnedPolicy.open(folder / "policy.onnx", AdaptivePolicy.for_bundle(bundle, objective), bundle)
    assert policy.refusal is None
    assert policy.card is not None
    assert policy.card.points == tuple(point.id for point in policy.points)
    usual = AdaptivePolicy.for_bundle(bundle, Objective.preset("balanced", deadline=0.06))
    assert "another objective" in (LearnedPolicy.open(folder / "policy.onnx", usual, bundle).refusal or "")

    arguments = [str(folder / "toy.cutpoint"), "--trace", str(folder / "links" / "slow.up"), "--objective", "balanced"]
    arguments += [
        "--policy",
        str(folder / "policy.onnx"),
        "--requests",
        "20",
        "--device-scale",
        "200",
        *timely,
        "--json",
    ]
    done = CliRunner().invoke(simulate_command, arguments)
    assert done.exit_code == 0, done.output


def test_simulator_runs_it(folder: Path) -> None:
    assert run(folder).exit_code == 0
    arguments = [str(folder / "toy.cutpoint"), "--trace", str(folder / "links" / "slow.up"), "--json"]
    policy = ["--policy", str(folder / "policy.onnx"), "--policy", "device", "--objective", "balanced"]
    done = CliRunner().invoke(simulate_command, [*arguments, *policy, "--requests", "20", "--device-scale", "200"])
    assert done.exit_code == 0, done.output
    (rows,) = json.loads(done.stdout).values()
    assert set(rows) == {str(folder / "policy.onnx"), "device"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--budget", "soon"], "write minutes"),
        (["--budget", "0m"], "write minutes"),
        (["--budget", "1.5"], "write minutes"),
        (["--users", "two"], "--users 'two'"),
        (["--users", "0-3"], "users"),
        (["--device-scale", "5-1"], "device_scale"),
        (["--error", "-1"], "error -1.0 is below 0"),
        (["--quantile", "1"], "quantile 1.0"),
        (["--decisions", "0"], "--decisions 0"),
        (["--deadline", "0"], "deadline 0.0"),
        (["--late-cost", "-1"], "late_cost -1.0"),
    ],
)
def test_options_that_make_no_sense(folder: Path, more: list[str], message: str) -> None:
    done = run(folder, *more)
    assert isinstance(done.exception, CutpointError)
    assert message in str(done.exception)
    assert not (folder / "policy.onnx").exists()


def test_interrupted_by_the_user(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cutpoint.calibration.learning.memtl.train_memtl", interrupt)
    done = run(folder)
    assert done.exit_code == 130
    assert "same command again" in done.stderr


def test_missing_packages_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cutpoint.calibration.learning.cli.POLICY_PACKAGES", ("no_such_package",))
    done = run(folder)
    assert isinstance(done.exception, CalibrationError)
    assert "cutpoint[rl]" in str(done.exception)
