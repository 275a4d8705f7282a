from pathlib import Path

import numpy as np
import pytest
from tests.support.networks import SIDE, picture_folder

from cutpoint.calibration.data import Source, load_samples, open_dataset, shuffled, split
from cutpoint.calibration.errors import CalibrationError
from cutpoint.codecs import TensorSpec
from cutpoint.sdk.bundle import Preprocessing

SPECS = [TensorSpec("picture", (1, SIDE, SIDE, 3), "uint8")]
HOW = Preprocessing(SIDE, SIDE)


def test_a_folder_per_class(tmp_path: Path) -> None:
    data = open_dataset(picture_folder(tmp_path, 9, classes=3))
    assert data.classes == ("class0", "class1", "class2")
    assert {source.label for source in data.sources if source.name.startswith("class2/")} == {2}


def test_class_names_decide_the_order(tmp_path: Path) -> None:
    data = open_dataset(picture_folder(tmp_path, 4, classes=2), labels=("other", "class1", "class0"))
    assert {source.label for source in data.sources if source.name.startswith("class0/")} == {2}
    assert data.classes == ("other", "class1", "class0")


@pytest.mark.parametrize("above", [False, True])
def test_labels_tsv_in_the_folder_or_above(tmp_path: Path, above: bool) -> None:
    folder = picture_folder(tmp_path / "pictures", 3)
    prefix = "pictures/" if above else ""
    text = f"file\tclass_index\twnid\n{prefix}000.png\t7\tn01\n{prefix}002.png\t3\n"
    ((tmp_path if above else folder) / "labels.tsv").write_text(text)
    assert [source.label for source in open_dataset(folder).sources] == [7, None, 3]


def test_a_bad_line_in_labels_tsv_is_named(tmp_path: Path) -> None:
    folder = picture_folder(tmp_path, 2)
    (folder / "labels.tsv").write_text("000.png\t1\n001.png\tcat\n")
    with pytest.raises(CalibrationError, match="line 2"):
        open_dataset(folder)


def test_pictures_without_labels(tmp_path: Path) -> None:
    assert not open_dataset(picture_folder(tmp_path, 3)).labelled


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="no such folder"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(CalibrationError, match="no pictures"):
        open_dataset(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(CalibrationError, match="not a folder"):
        open_dataset(tmp_path / "file")


def test_broken_pictures_are_skipped_and_named(tmp_path: Path) -> None:
    folder = picture_folder(tmp_path, 3)
    whole = (folder / "001.png").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_bytes(b"not a picture")
    samples = load_samples(open_dataset(folder).sources, 10, SPECS, HOW)
    assert len(samples.tensors) == 3
    assert [source.name for source, _ in samples.skipped] == ["cut.jpg", "text.jpg"]
    assert all(source.name in reason for source, reason in samples.skipped)


def test_tensors_from_files(tmp_path: Path) -> None:
    specs = [TensorSpec("a", (1, 4), "float32"), TensorSpec("b", (1, 2), "int64")]
    np.savez(tmp_path / "good.npz", a=np.ones((1, 4), np.float32), b=np.zeros(2, np.int64))
    np.savez(tmp_path / "lacks.npz", a=np.ones((1, 4), np.float32))
    np.save(tmp_path / "single.npy", np.ones(4, np.float32))
    data = open_dataset(tmp_path)
    assert data.tensors
    samples = load_samples(data.sources, 10, specs, None)
    assert [source.name for source in samples.sources] == ["good.npz"]
    assert len(samples.skipped) == 2
    assert len(load_samples(data.sources, 10, specs[:1], None).sources) == 3
    wrong = load_samples(data.sources[-1:], 1, [TensorSpec("a", (1, 5), "float32")], None)
    assert "float32[1, 5]" in wrong.skipped[0][1]


def _sources(count: int) -> list[Source]:
    return [Source(Path(f"{number}"), f"{number:03}") for number in range(count)]


@pytest.mark.parametrize(("count", "first", "second"), [(1000, 100, 200), (150, 75, 75), (20, 10, 10)])
def test_the_split_is_disjoint_and_serves_both(count: int, first: int, second: int) -> None:
    calibration, evaluation, disjoint = split(_sources(count), 100, 200)
    assert disjoint
    assert len(calibration) >= first
    assert len(evaluation) >= second
    assert not {s.name for s in calibration} & {s.name for s in evaluation}
    assert len(calibration) + len(evaluation) == count


def test_too_few_files_serve_twice() -> None:
    calibration, evaluation, disjoint = split(_sources(5), 100, 200)
    assert not disjoint
    assert calibration == evaluation


def test_the_order_is_mixed_but_always_the_same() -> None:
    assert shuffled(_sources(50)) == shuffled(list(reversed(_sources(50)))) != _sources(50)


def test_the_fingerprint_sees_values_and_labels(tmp_path: Path) -> None:
    folder = picture_folder(tmp_path, 4, classes=2)
    sources = open_dataset(folder).sources
    first = load_samples(sources[:2], 2, SPECS, HOW)
    assert first.fingerprint() == load_samples(sources[:2], 2, SPECS, HOW).fingerprint()
    assert first.fingerprint() != load_samples(sources[1:3], 2, SPECS, HOW).fingerprint()
