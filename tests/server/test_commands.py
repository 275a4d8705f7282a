"""`cutpoint serve` and `cutpoint infer`, as their users call them."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from PIL import Image
from tests.support.toy import picture

from cutpoint.sdk.testing import ServerProcess


def cutpoint(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cutpoint.sdk", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def pictures(folder: Path) -> list[str]:
    paths = []
    for label in range(3):
        path = folder / f"{label}.png"
        Image.fromarray(picture(label, label)).save(path)
        paths.append(str(path))
    return paths


async def test_infer_through_a_server(process: ServerProcess, bundle_file: Path, tmp_path: Path) -> None:
    point = "cut1-fp32-affine-fine"
    arguments = ["infer", str(bundle_file), "--server", process.url, "--mode", "edge", "--point", point, "--json"]
    arguments += pictures(tmp_path)
    done = await asyncio.to_thread(cutpoint, *arguments)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["top"][0][0] for line in lines] == ["red", "green", "blue"]
    for line in lines:
        assert set(line) == {"image", "top", "point", "source", "exit", "bytes_sent", "timing_ms", "hops"}
        (hop,) = line["hops"]
        assert hop["compute_ms"] > 0
        assert (line["point"], line["source"]) == (point, "edge")
        assert line["bytes_sent"] > 0
        assert line["timing_ms"]["total"] >= line["timing_ms"]["tail"] > 0


def test_infer_on_the_device_needs_no_server(bundle_file: Path, tmp_path: Path) -> None:
    done = cutpoint("infer", str(bundle_file), "--mode", "device", *pictures(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "green" in done.stdout
    assert "device" in done.stdout


def test_errors_are_one_line_and_an_exit_status(bundle_file: Path, tmp_path: Path) -> None:
    good = pictures(tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    for arguments, status, message in [
        (["infer", str(bundle_file), *good], 2, "--server"),
        (["infer", "nowhere.cutpoint", "--mode", "device", *good], 1, "no such bundle"),
        (["infer", str(bundle_file), "--mode", "device", "--point", "x", *good], 1, "no point 'x'"),
        (["infer", str(bundle_file), "--mode", "device", str(tmp_path / "broken.jpg")], 1, "1 of 1 images"),
        (["infer", str(bundle_file), "--server", "http://x", *good], 1, "ws://"),
        (["serve", "nowhere.cutpoint"], 1, "no such bundle"),
        (["serve", str(bundle_file), "--tls-cert", "only.pem"], 1, "--tls-cert: tls_cert needs tls_key"),
        (["serve", str(bundle_file), "--token-file", "nowhere"], 1, "cannot be read"),
        (["serve", str(bundle_file), "--host", "192.0.2.1"], 1, "cannot listen"),
        (["nonsense"], 2, "No such command"),
    ]:
        done = cutpoint(*arguments)
        assert done.returncode == status, (arguments, done.stderr)
        assert message in done.stderr, arguments
        assert "Traceback" not in done.stderr


def test_one_broken_picture_does_not_keep_the_others(bundle_file: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    good = pictures(tmp_path)
    done = cutpoint("infer", str(bundle_file), "--mode", "device", "--json", str(tmp_path / "broken.jpg"), *good)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 3
    assert "broken.jpg: not a picture" in done.stderr


def test_help_lists_every_layers_commands() -> None:
    done = cutpoint("--help")
    assert done.returncode == 0
    for command in ("calibrate", "demo", "infer", "serve"):
        assert command in done.stdout
    assert cutpoint("--version").returncode == 0
