from pathlib import Path

import pytest
from tests.support.networks import picture_folder

from cutpoint.calibration.data import open_dataset, shuffled
from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.settings import Settings
from cutpoint.calibration.training.codecs import choose_boundaries, training_sources
from cutpoint.codecs import TensorSpec
from cutpoint.sdk.bundle import Boundary


def _boundaries() -> list[Boundary]:
    shapes = [(1, 3, 8, 8), (1, 8, 8, 8), (1, 8, 4, 4), (1, 64, 4, 4), (1, 12, 4, 4), (1, 16)]
    macs = [0, 10, 40, 50, 90, 100]
    labels = ["input", "a", "b", "c", "d", "output"]
    return [
        Boundary(i, (TensorSpec(label, shape, "float32"),), label, mac)
        for i, (label, shape, mac) in enumerate(zip(labels, shapes, macs, strict=True))
    ]


def test_where_codecs_are_trained() -> None:
    def chosen(wanted: int | tuple[str, ...]) -> list[str]:
        return [boundary.label for boundary in choose_boundaries(_boundaries(), wanted)]

    assert chosen(0) == []
    assert chosen(1) == ["b"]
    assert chosen(2) == ["b", "d"]
    assert chosen(9) == ["a", "b", "c", "d"]
    assert chosen(("d", "a", "d")) == ["a", "d"]
    with pytest.raises(CalibrationError, match=r"'e' to train .*: a, b, c, d"):
        choose_boundaries(_boundaries(), ("e",))


def test_no_training_on_what_is_measured(tmp_path: Path) -> None:
    data = picture_folder(tmp_path / "data", 10)
    files = shuffled(open_dataset(data).sources)
    settings = Settings("m.onnx", data, tmp_path / "out")
    assert training_sources(settings, files[:3], files[5:]) == files[:3]
    settings = Settings("m.onnx", tmp_path / "other", tmp_path / "out", train_data=data)
    assert training_sources(settings, [], files[5:]) == files[:5]
    with pytest.raises(CalibrationError, match="train on others"):
        training_sources(settings, [], files)
