import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image
from tests.support.toy import picture, toy_bundle

from cutpoint.sdk import InputError
from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.commands.profile import attach, profile
from cutpoint.sdk.measure import Timing, measure_device
from cutpoint.sdk.profiles import apply_profile, load_profile

QUICK = Timing(repeats=5, seconds=0.2)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("measure") / "toy.cutpoint"
    # All that a device has.
    toy_bundle().part("device").save(path)
    return path


def test_every_head_and_encoder_is_measured(saved: Path) -> None:
    heard: list[str] = []
    found = measure_device(saved, "here", ("onnx",), QUICK, advance=heard.append)
    bundle = Bundle.open(saved)
    assert (found.name, found.bundle, found.threads) == ("here", bundle.hash, 1)
    assert [(head.end, head.precision, head.format) for head in found.heads] == [
        (1, "fp32", "onnx"),
        (2, "fp32", "onnx"),
    ]
    assert len(heard) == 3
    levels = {(codec.id, level) for codec in bundle.manifest.codecs for level in range(len(codec.levels))}
    assert {(encoder.codec, encoder.level) for encoder in found.encoders} == levels
    for cost in (*found.heads, *found.encoders):
        assert 0 < cost.p50_ms <= cost.p95_ms
    for head in found.heads:
        assert head.memory is not None
        assert 0 < head.memory < 2**28
    # Everything that was measured is used.
    there = apply_profile(bundle, found)
    times = {head.end: head.p50_ms for head in found.heads}
    assert [p.measured.device_ms for p in there.points if p.start] == [times[p.start] for p in bundle.points if p.start]


def test_command_writes_a_profile_that_can_be_attached(saved: Path, tmp_path: Path) -> None:
    Image.fromarray(picture(2)).save(tmp_path / "picture.png")
    out = tmp_path / "board.json"
    arguments = [str(saved), "--out", str(out), "--repeats", "5", "--seconds", "0.1", "--json"]
    done = CliRunner().invoke(profile, [*arguments, "--picture", str(tmp_path / "picture.png")], catch_exceptions=False)
    assert json.loads(done.stdout)["name"] == "board"
    whole = tmp_path / "toy"
    toy_bundle().save(whole)
    carrying = tmp_path / "carrying.cutpoint"
    CliRunner().invoke(attach, [str(whole), str(out), "--out", str(carrying)], catch_exceptions=False)
    assert Bundle.open(carrying).manifest.devices == (load_profile(out),)


def test_what_cannot_be_measured(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no runtime here reads its heads as tflite"):
        measure_device(saved, "here", ("tflite",), QUICK)
    with pytest.raises(InputError, match="'coreml'"):
        measure_device(saved, "here", ("coreml",), QUICK)
    with pytest.raises(InputError, match=r"encoders of the input: no result within 0\.01 s"):
        measure_device(saved, "here", ("onnx",), Timing(limit=0.01))
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"broken\.jpg"):
        measure_device(saved, "here", ("onnx",), QUICK, [tmp_path / "broken.jpg"])
    assert isinstance(CliRunner().invoke(profile, [str(saved), "--out", "x", "--repeats", "0"]).exception, InputError)
