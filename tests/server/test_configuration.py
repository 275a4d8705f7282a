"""Settings from file, environment and flags."""

import subprocess
import sys
from pathlib import Path

import pytest

from cutpoint.sdk.errors import InputError
from cutpoint.server import Settings
from cutpoint.server.configuration import read_configuration


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "edge.toml"
    file.write_text('port = 1\nmax_queue = 2\nthreads = 3\ntoken_file = "tokens"\nbatch_window = 0.25\n')
    environment = {"CUTPOINT_SERVE_MAX_QUEUE": "20", "CUTPOINT_SERVE_THREADS": "30", "CUTPOINT_TOKEN": "a client's"}
    got = read_configuration(file, environment, {"threads": 300})
    settings = got.settings
    assert (settings.port, settings.max_queue, settings.threads) == (1, 20, 300)
    assert settings.batch_window == 0.25
    assert settings.token_file == tmp_path / "tokens"  # beside the file that names it
    assert got.origins == {
        "port": str(file),
        "token_file": str(file),
        "batch_window": str(file),
        "max_queue": "CUTPOINT_SERVE_MAX_QUEUE",
        "threads": "--threads",
    }
    assert read_configuration(None, {}, {}).settings == Settings()


def test_printed_settings_can_be_read_again(tmp_path: Path) -> None:
    flags = {"port": 9, "models": tmp_path / 'a "b"', "log_format": "json", "batch_window": 0.5}
    printed = read_configuration(None, {}, flags).as_toml()
    assert "max_queue = 256  # default" in printed
    assert "port = 9  # --port" in printed
    file = tmp_path / "again.toml"
    file.write_text(printed)
    assert read_configuration(file, {}, {}).settings == read_configuration(None, {}, flags).settings


@pytest.mark.parametrize(
    ("text", "environment", "flags", "message"),
    [
        ("prot = 1", {}, {}, "edge.toml: there is no setting 'prot'"),
        ('port = "1"', {}, {}, "edge.toml: port cannot be '1'"),
        ("tls_cert = 5", {}, {}, "edge.toml: tls_cert"),
        ("port = ", {}, {}, "edge.toml cannot be read as TOML"),
        ("max_queue = 0", {}, {}, "edge.toml: max_queue must be at least 1"),
        ("max_connections_per_address = 0", {}, {}, "edge.toml: max_connections_per_address must be at least 1"),
        ("max_queue = 0", {"CUTPOINT_SERVE_MAX_QUEUE": "-2"}, {}, "CUTPOINT_SERVE_MAX_QUEUE: max_queue must be"),
        ("", {"CUTPOINT_SERVE_PROT": "1"}, {}, "CUTPOINT_SERVE_PROT: there is no setting 'prot'"),
        ("", {"CUTPOINT_SERVE_PORT": "many"}, {}, "CUTPOINT_SERVE_PORT: port cannot be 'many'"),
        ("", {}, {"upstream": "cloud.example"}, "--upstream: upstream is a server's address, ws://… or wss://…"),
        ('upstream_token_file = "token"', {}, {}, "edge.toml: upstream_token_file is of use with upstream only"),
        ("upstream_drop = 2", {}, {}, "edge.toml: upstream_drop is a task metric"),
        ("", {}, {"max_hops": 255}, "--max-hops: max_hops is between 0 and 254, not 255"),
        ("", {}, {"slowdown": 0.5}, "--slowdown: slowdown is at least 1"),
        ('slowdown = 2\nengine = "ray"', {}, {}, "edge.toml: slowdown is at least 1, and of no use with engine ray"),
        ("", {}, {"port": 70000}, "--port: port is between 0 and 65535, not 70000"),
        (
            "",
            {},
            {"peer": ("http://there",)},
            "--peer: peer is a server's address, ws://… or wss://…, not 'http://there'",
        ),
        ("", {"CUTPOINT_SERVE_PEER": ",".join(["ws://x"] * 8)}, {}, "PEER: peer names 8 nodes; a group has at most 8"),
        ('peer_token_file = "token"', {}, {}, "edge.toml: peer_token_file is of use with peer only"),
        ("", {}, {"peer_rule": "best"}, "--peer-rule: peer_rule cannot be 'best'"),
        ("", {}, {"log_format": "xml"}, "--log-format: log_format cannot be 'xml'"),
        ("", {}, {"idle_timeout": float("nan")}, "--idle-timeout: idle_timeout must be more than 0"),
    ],
)
def test_what_cannot_be_used_is_named_with_where_it_comes_from(
    tmp_path: Path, text: str, environment: dict[str, str], flags: dict[str, object], message: str
) -> None:
    file = tmp_path / "edge.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        read_configuration(file, environment, flags)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.toml cannot be read"):
        read_configuration(tmp_path / "nowhere.toml", {}, {})


def test_serve_prints_its_settings(tmp_path: Path) -> None:
    file = tmp_path / "edge.toml"
    file.write_text("max_batch = 4\n")
    command = [sys.executable, "-m", "cutpoint.sdk", "serve", "--config", str(file), "--port", "81", "--print-config"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert f"max_batch = 4  # {file}" in done.stdout
    assert "port = 81  # --port" in done.stdout
    again = tmp_path / "again.toml"
    again.write_text(done.stdout)
    assert read_configuration(again, {}, {}).settings.max_batch == 4


def test_one_address_may_have_half_of_the_connections() -> None:
    assert [Settings(max_connections=most).connections_per_address for most in (1, 2, 5, 1000)] == [1, 1, 3, 500]
    assert Settings(max_connections_per_address=7).connections_per_address == 7
