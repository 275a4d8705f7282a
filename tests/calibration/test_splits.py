from pathlib import Path

import numpy as np
import pytest
from tests.support.networks import SIDE, picture_folder, residual_net

from cutpoint.calibration.data import open_dataset
from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.importers import ImportedModel
from cutpoint.calibration.progress import SilentReporter
from cutpoint.calibration.settings import Settings
from cutpoint.calibration.splits import Splits, load_splits
from cutpoint.codecs import TensorSpec

NET = ImportedModel("net", residual_net(), (TensorSpec("x", (1, 3, SIDE, SIDE), "float32"),), "onnx", lambda _: [])


def load(data: Path, evaluation: Path | None = None, reporter: SilentReporter | None = None) -> Splits:
    settings = Settings("net.onnx", data, data.parent / "out", calibration_samples=8, samples=12)
    other = open_dataset(evaluation) if evaluation is not None else None
    return load_splits(settings, NET, open_dataset(data), other, reporter or SilentReporter())


def names(splits: Splits) -> tuple[set[str], set[str], set[str]]:
    measured = {source.name for source in splits.evaluation.sources}
    trained = {source.name for source in splits.training}
    return {source.name for source in splits.calibration.sources}, measured, trained


def test_nothing_is_measured_on_what_calibration_may_see(tmp_path: Path) -> None:
    splits = load(picture_folder(tmp_path / "data", 30, classes=5))
    calibration, measured, training = names(splits)
    assert (len(calibration), len(measured)) == (8, 12)
    assert calibration < training
    assert not measured & training
    assert splits.classes == ("class0", "class1", "class2", "class3", "class4")
    assert splits.preprocessing is not None
    assert splits.calibration.tensors[0][0].shape == (1, SIDE, SIDE, 3)


def test_few_files_serve_twice_and_that_is_said(tmp_path: Path) -> None:
    reporter = SilentReporter()
    calibration, measured, training = names(load(picture_folder(tmp_path / "data", 5), reporter=reporter))
    assert calibration == measured == training
    assert reporter.notes == ["only 5 files: points are measured on the calibration files themselves"]


def test_a_folder_to_measure_on_leaves_the_other_to_calibration(tmp_path: Path) -> None:
    data, evaluation = picture_folder(tmp_path / "data", 9), picture_folder(tmp_path / "other", 10, classes=2)
    splits = load(data, evaluation)
    assert [len(part) for part in names(splits)] == [8, 10, 9]
    assert splits.classes == ("class0", "class1")


def test_only_labelled_files_are_measured_where_there_are_any(tmp_path: Path) -> None:
    folder = picture_folder(tmp_path / "data", 9)
    (folder / "labels.tsv").write_text("003.png\t4\n007.png\t1\n")
    splits = load(picture_folder(tmp_path / "other", 9), folder)
    assert {(source.name, source.label) for source in splits.evaluation.sources} == {("003.png", 4), ("007.png", 1)}


def test_tensors_are_taken_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "tensors"
    folder.mkdir()
    for number in range(10):
        np.save(folder / f"{number}.npy", np.full((3, SIDE, SIDE), number, np.float32))
    splits = load(folder)
    assert splits.preprocessing is None
    assert splits.calibration.tensors[0][0].shape == (1, 3, SIDE, SIDE)
    with pytest.raises(CalibrationError, match="one holds pictures, the other tensors"):
        load(folder, picture_folder(tmp_path / "pictures", 9))


def test_broken_files_are_named_once(tmp_path: Path) -> None:
    folder = picture_folder(tmp_path / "data", 5)
    (folder / "broken.png").write_bytes(b"no picture")
    reporter = SilentReporter()
    splits = load(folder, reporter=reporter)
    assert [name for name, _ in splits.skipped] == ["broken.png"]
    assert "1 unreadable file skipped" in reporter.notes[-1]
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "a.jpg").write_bytes(b"no")
    with pytest.raises(CalibrationError, match=r"loading evaluation data: no file of 1 could be read.*a\.jpg"):
        load(folder, bad)
