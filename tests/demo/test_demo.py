"""The demonstration, as a stranger runs it: its own server process, emulated links, the shipped bundle."""

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from tests.support.decoders import check_batches

from cutpoint.demo.channels import make_channels
from cutpoint.sdk import Bundle, Objective
from cutpoint.sdk.testing import Trace

STRATEGIES = ["cutpoint", "device only", "WebP to server", "fixed cut"]


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    return Bundle.open(str(files("cutpoint.demo").joinpath("scenes.cutpoint")))


def run_demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cutpoint.sdk", "demo", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, object], str]:
    report = tmp_path_factory.mktemp("demo") / "report.html"
    done = run_demo("--seconds", "8", "--json", "--report", str(report))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), report.read_text()


def test_json_has_every_channel_and_strategy(outcome: tuple[dict[str, object], str]) -> None:
    result, _ = outcome
    assert result["seconds"] == 8
    assert isinstance(result["version"], str)
    channels = result["channels"]
    assert isinstance(channels, list)
    assert [channel["name"] for channel in channels] == ["Wi-Fi", "LTE, driving", "3G", "Tunnel"]
    for channel in channels:
        assert [strategy["name"] for strategy in channel["strategies"]] == STRATEGIES
        for strategy in channel["strategies"]:
            assert strategy["requests"] >= 3
            assert 0 < strategy["p50_ms"] <= strategy["p95_ms"]
            assert sum(strategy["points"].values()) == strategy["answered"]
            if strategy["answered"]:
                assert strategy["energy_mj"] > 0
        cutpoint, device, *fixed = channel["strategies"]
        assert 0 <= cutpoint["hedged"] <= 1
        assert all(strategy["hedged"] == 0 for strategy in (device, *fixed))
        # Local is always there: both answer everything, whatever the link does.
        assert cutpoint["answered"] == cutpoint["requests"]
        assert device["answered"] == device["requests"]
        assert device["bytes_mean"] == 0
        assert cutpoint["accuracy"] > 0.6


def test_report_is_self_contained(outcome: tuple[dict[str, object], str]) -> None:
    _, page = outcome
    assert page.count("<svg") == 4
    assert page.count("data:image/webp;base64,") >= 12
    assert "http" not in page.replace("http-equiv", "")
    assert page.endswith("</html>")


def test_text_output_says_what_is_emulated(tmp_path: Path) -> None:
    done = run_demo("--seconds", "2", "--device-slowdown", "5")
    assert done.returncode == 0, done.stderr
    assert "5× slower" in done.stdout
    assert "emulated" in done.stdout
    assert "Tunnel" in done.stdout


def test_bundle_can_be_taken_out(tmp_path: Path, shipped: Bundle) -> None:
    path = tmp_path / "scenes.cutpoint"
    done = run_demo("--save-bundle", str(path))
    assert done.returncode == 0, done.stderr
    assert Bundle.open(path).hash == shipped.hash
    assert path.stat().st_size <= 6e6


def test_decoders_of_the_bundle_take_batches(shipped: Bundle) -> None:
    entries = [codec for codec in shipped.manifest.codecs if codec.decoder]
    assert {codec.config["of"] for codec in entries} == {"affine", "klt", "bottleneck", "slimmable"}
    for codec in entries:
        check_batches(shipped.read(codec.decoder[0].file), codec.symbols, len(codec.levels))


def test_too_short_a_demo_is_refused() -> None:
    done = run_demo("--seconds", "0.1")
    assert done.returncode == 1
    assert "--seconds 0.1 is too short" in done.stderr


def test_channels_are_what_their_names_say() -> None:
    wifi, lte, third, tunnel = make_channels(20.0, seed=3)
    assert wifi.trace.mean > 4 * lte.trace.mean > 8 * third.trace.mean
    assert 0.2 < tunnel.trace.rates.count(0.0) / len(tunnel.trace.rates) < 0.3
    assert make_channels(20.0, seed=3) == make_channels(20.0, seed=3)
    assert make_channels(20.0, seed=4) != make_channels(20.0, seed=3)


def test_strategies_keep_the_accuracy_floor(shipped: Bundle) -> None:
    from cutpoint.demo.strategies import make_strategies

    objective = Objective(accuracy_drop=0.02)
    floor = objective.floor(shipped.manifest.task.uncut)
    strategies = make_strategies(shipped, objective, Trace.constant(2e6), 0.02, 40.0)
    assert [strategy.name for strategy in strategies] == STRATEGIES
    fixed = strategies[3].point
    assert fixed is not None
    assert fixed.start > 0
    assert fixed.measured.metric >= floor
