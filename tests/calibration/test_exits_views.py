from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.networks import picture_folder

from cutpoint.calibration.data import Source, load_samples, open_dataset
from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.exits.views import collect_views, random_view
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
    return list(open_dataset(picture_folder(tmp_path_factory.mktemp("views"), 6)).sources)


def collect(files: list[Source], views: int, most: int = 100, seed: int = 0) -> Array:
    (pictures,) = collect_views(Seen(), files, SPECS, HOW, views, most, seed)
    return pictures


def test_a_view_is_a_section_now_and_then_mirrored() -> None:
    # Red grows to the right, green downwards.
    rows, columns = np.mgrid[0:200, 0:200]
    picture = np.stack([columns, rows, 0 * rows], axis=-1).astype(np.uint8)
    rng = np.random.default_rng(0)
    mirrored = []
    for _ in range(200):
        view = random_view(picture, HOW, rng)
        assert (view.shape, view.dtype) == ((1, 24, 16, 3), np.uint8)
        red, green = view[0, 0, :, 0].astype(int), view[0, :, 0, 1].astype(int)
        mirrored.append(bool(red[0] > red[-1]))
        assert np.all(np.diff(green) >= 0)
        width, height = abs(red[-1] - red[0]) * 16 / 15, (green[-1] - green[0]) * 24 / 23
        assert 0.22 <= width * height / 200**2 <= 1.05
        # As wide as boundary 0 is in proportion, up to a third.
        assert 0.7 <= width / height * 24 / 16 <= 1.45 or max(width, height) > 190
    assert 60 < sum(mirrored) < 140


def test_the_first_view_is_the_picture_itself(files: list[Source]) -> None:
    pictures = collect(files, 3)
    assert len(pictures) == 18
    plain = load_samples(files, 6, SPECS, HOW).tensors
    for number, (tensor,) in enumerate(plain):
        np.testing.assert_array_equal(pictures[3 * number], tensor[0])
        assert not np.array_equal(pictures[3 * number + 1], pictures[3 * number + 2])


def test_views_come_from_the_seed(files: list[Source]) -> None:
    np.testing.assert_array_equal(collect(files, 3), collect(files, 3))
    assert not np.array_equal(collect(files, 3), collect(files, 3, seed=1))


def test_every_file_has_a_view_before_any_has_more_than_there_is_room_for(files: list[Source]) -> None:
    assert len(collect(files, 3, most=8)) == 8
    assert len(collect(files, 3, most=4)) == 4
    plain = load_samples(files, 6, SPECS, HOW).tensors
    shown = collect(files, 3, most=8)
    assert all(any(np.array_equal(tensor[0], picture) for picture in shown) for (tensor,) in plain)


def test_tensors_have_no_other_views_and_broken_files_none(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((1, 4), np.float32))
    spec = TensorSpec("x", (1, 4), "float32")
    sources = list(open_dataset(tmp_path).sources)
    (values,) = collect_views(Seen(), sources, [spec], None, 5, 100, 0)
    assert (values.shape, values.dtype) == ((1, 4), np.float16)
    (tmp_path / "b.png").write_bytes(b"no picture")
    broken = [Source(tmp_path / "b.png", "b.png")]
    with pytest.raises(CalibrationError, match="none of the files"):
        collect(broken, 2)
    Image.new("RGB", (30, 30)).save(tmp_path / "c.png")
    assert len(collect([*broken, Source(tmp_path / "c.png", "c.png")], 2)) == 2
