"""The files in server/deploy say nothing that the server does not know."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cutpoint.server.configuration import PREFIX, read_configuration
from cutpoint.server.metrics import Metrics

FOLDER = Path(__file__).parents[2] / "server" / "deploy"


def known_metrics() -> set[str]:
    metrics = Metrics()
    metrics.requests.add(1, "p", "ok")
    metrics.received.add(1, "p")
    metrics.sent.add(1, "p")
    metrics.refused.labels("overloaded").inc()
    metrics.tail.observe(1.0, "p")
    lines = metrics.exposition().decode().splitlines()
    return {re.split(r"[{ ]", line)[0] for line in lines if not line.startswith("#")}


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    board = json.loads((FOLDER / "grafana.json").read_text())
    asked = {
        name
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(r"cutpoint_\w+", target["expr"])
    }
    assert len(asked) > 10
    assert asked <= known_metrics()


def test_the_settings_file_can_be_read() -> None:
    settings = read_configuration(FOLDER / "edge.toml", {}, {}).settings
    assert settings.token_file == FOLDER / "tokens.toml"


@pytest.mark.parametrize("name", ["Dockerfile", "cutpoint.service"])
def test_variables_are_settings(name: str) -> None:
    found = dict(re.findall(rf"({PREFIX}\w+)=(\S+)", (FOLDER / name).read_text()))
    assert found
    read_configuration(None, found, {})


def test_the_unit_is_one(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    # It wants the program that is started to be there.
    unit = (FOLDER / "cutpoint.service").read_text().replace("/opt/cutpoint/bin/cutpoint", "/bin/true")
    path = tmp_path / "cutpoint.service"
    path.write_text(unit)
    done = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False)
    assert not [line for line in done.stderr.splitlines() if "cutpoint.service" in line], done.stderr
    assert done.returncode == 0, done.stderr
