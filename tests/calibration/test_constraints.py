from pathlib import Path

import pytest

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.search.constraints import Constraints, Weights, load_constraints


def _load(tmp_path: Path, text: str) -> Constraints:
    (tmp_path / "limits.toml").write_text(text)
    return load_constraints(tmp_path / "limits.toml")


def test_limits_sizes_and_weights(tmp_path: Path) -> None:
    text = 'accuracy_drop = 0.01\nbytes = "4kB"\ndevice_ms = 20\ndevice_memory = "1.5 MiB"\n[weights]\ntail = 0\n'
    found = _load(tmp_path, text)
    assert found == Constraints(0.01, 4000.0, 20.0, None, 1.5 * 2**20, Weights(tail=0.0))
    assert found.weights.axes == (1.0, 1.0, 1.0, 0.0)
    assert found.flat()["weight.tail"] == 0
    assert found.flat()["bytes"] == 4000
    assert "tail_ms" not in found.flat()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("acuracy_drop = 1", "'acuracy_drop' is not one of accuracy_drop, bytes"),
        ("bytes = 'much'", "'much' is not a size"),
        ("bytes = -1", "0 or more"),
        ("device_ms = 'x'", "device_ms"),
        ("[weights]\nspeed = 1", "speed"),
        ("[weights]\ntail = -1", "0 or more"),
        ("bytes = = 1", "not a readable TOML file"),
    ],
)
def test_what_cannot_be_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        _load(tmp_path, text)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="nowhere"):
        load_constraints(tmp_path / "nowhere")
