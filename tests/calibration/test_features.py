from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.networks import picture_folder

from cutpoint.calibration.data import Source, load_samples, open_dataset
from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.training.features import collect_features
from cutpoint.codecs import Array, TensorSpec
from cutpoint.sdk.bundle import Preprocessing
from cutpoint.sdk.runtimes import Stop

HOW = Preprocessing(height=24, width=16)
SPECS = (TensorSpec("picture", (1, 24, 16, 3), "uint8"),)


class Seen:
    """A span that gives what it gets."""

    input_names = output_names = ("picture",)

    def run(self, inputs: tuple[Array, ...], stop: Stop | None = None) -> tuple[Array, ...]:
        return tuple(inputs)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    return list(open_dataset(picture_folder(tmp_path_factory.mktemp("features"), 6)).sources)


@pytest.fixture(scope="module")
def plain(files: list[Source]) -> Array:
    return np.concatenate([tensor for (tensor,) in load_samples(files, 6, SPECS, HOW).tensors])


def test_all_pictures_as_they_are_then_their_mirror_images(files: list[Source], plain: Array) -> None:
    heard: list[int] = []
    (pictures,) = collect_features(Seen(), files, SPECS, HOW, 100, advance=lambda: heard.append(1))
    np.testing.assert_array_equal(pictures, np.concatenate([plain, plain[:, :, ::-1]]))
    assert len(heard) == 6


def test_other_views_are_made_of_the_same_file(files: list[Source], plain: Array) -> None:
    shown: list[Path] = []

    def view(path: Path, whole: Array) -> Array:
        shown.append(path)
        return whole // 2

    (pictures,) = collect_features(Seen(), files, SPECS, HOW, 100, view, 3)
    assert shown == [file.path for file in files for _ in range(2)]
    np.testing.assert_array_equal(pictures, np.concatenate([plain, plain.repeat(2, axis=0) // 2]))
    (pictures,) = collect_features(Seen(), files, SPECS, HOW, 100, view, 1)
    np.testing.assert_array_equal(pictures, plain)


@pytest.mark.parametrize(("most", "whole"), [(4, 4), (6, 6), (8, 6), (17, 6), (18, 6)])
def test_every_file_comes_before_another_view_of_any(files: list[Source], plain: Array, most: int, whole: int) -> None:
    (pictures,) = collect_features(Seen(), files, SPECS, HOW, most, views=3)
    assert len(pictures) == most
    np.testing.assert_array_equal(pictures[:whole], plain[:whole])


def test_tensors_have_no_other_views_and_floats_are_halved(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[0.5, -2.0, 1e9, 3.0]], np.float32))
    spec = TensorSpec("x", (1, 4), "float32")
    (values,) = collect_features(Seen(), open_dataset(tmp_path).sources, [spec], None, 100)
    assert values.dtype == np.float16
    np.testing.assert_array_equal(values, [[0.5, -2.0, 65504.0, 3.0]])


def test_broken_files_leave_their_room_to_others(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(b"no picture")
    broken = Source(tmp_path / "b.png", "b.png")
    with pytest.raises(CalibrationError, match="none of the files"):
        collect_features(Seen(), [broken], SPECS, HOW, 100)
    Image.new("RGB", (30, 30)).save(tmp_path / "c.png")
    (pictures,) = collect_features(Seen(), [broken, Source(tmp_path / "c.png", "c.png")], SPECS, HOW, 2)
    assert len(pictures) == 2
