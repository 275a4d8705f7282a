import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cutpoint.calibration.data import open_dataset
from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.tasks.annotations import Box, annotate, read_boxes, read_mask
from cutpoint.sdk.bundle import Preprocessing

STRETCHED = Preprocessing(32, 32)
LETTERBOX = Preprocessing(32, 32, letterbox=True)
CROPPED = Preprocessing(16, 16, resize=16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures of 64 × 32 in `images`."""
    (tmp_path / "images").mkdir()
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (64, 32)).save(tmp_path / "images" / name)
    return tmp_path / "images"


def _boxes(folder: Path, how: Preprocessing) -> tuple[Box, ...]:
    return read_boxes(annotate(folder, open_dataset(folder).sources)[0], how)


@pytest.mark.parametrize("place", ["images/a.txt", "labels/a.txt", "images/labels/a.txt"])
def test_text_files_in_all_geometries(folder: Path, place: str) -> None:
    file = folder.parent / place
    file.parent.mkdir(exist_ok=True)
    file.write_text("3 0.5 0.5 0.5 0.5\n\n1 0.05 0.5 0.1 0.2\n")
    first, second = _boxes(folder, STRETCHED)
    assert first == Box(3, 8, 8, 16, 16)
    assert second.label == 1
    assert _boxes(folder, LETTERBOX)[0] == Box(3, 8, 4, 16, 8)
    # The left object lies outside the crop.
    assert _boxes(folder, CROPPED) == (Box(3, 0, 4, 16, 8),)


def test_coco(folder: Path) -> None:
    data = {
        "images": [{"id": 7, "file_name": "a.jpg"}],
        "categories": [{"id": 18}, {"id": 1}],
        "annotations": [
            {"image_id": 7, "category_id": 18, "bbox": [16, 8, 32, 16], "iscrowd": 1},
            {"image_id": 8, "category_id": 1, "bbox": [0, 0, 1, 1]},
        ],
    }
    (folder.parent / "annotations.json").write_text(json.dumps(data))
    assert _boxes(folder, STRETCHED) == (Box(1, 8, 8, 16, 16, crowd=True),)
    assert annotate(folder, open_dataset(folder).sources)[1].boxes is None


def test_what_does_not_read_is_named(folder: Path) -> None:
    (folder / "a.txt").write_text("3 0.5 0.5 0.5 0.5\n1 2\n")
    with pytest.raises(CalibrationError, match=r"a\.txt, line 2"):
        _boxes(folder, STRETCHED)
    (folder / "annotations.json").write_text("{}")
    with pytest.raises(CalibrationError, match=r"annotations\.json"):
        _boxes(folder, STRETCHED)


@pytest.mark.parametrize("place", ["images/a.png", "masks/a.png", "images/masks/a.png"])
def test_masks_follow_the_picture(folder: Path, place: str) -> None:
    file = folder.parent / place
    file.parent.mkdir(exist_ok=True)
    mask = np.zeros((32, 64), np.uint8)
    mask[:, 32:] = 5
    Image.fromarray(mask).save(file)
    dataset = open_dataset(folder)
    assert [source.name for source in dataset.sources] == ["a.jpg", "b.jpg"]
    source, bare = annotate(folder, dataset.sources)
    assert source.mask == file
    assert bare.mask is None
    assert (read_mask(file, STRETCHED, 4, 4, 255) == [[0, 0, 5, 5]] * 4).all()
    assert (read_mask(file, LETTERBOX, 4, 4, 255) == [[0, 0, 5, 5]] * 2 + [[255] * 4] * 2).all()
    assert (read_mask(file, CROPPED, 4, 4, 255) == [[0, 0, 5, 5]] * 4).all()


def test_a_mask_has_one_channel(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "m.png")
    with pytest.raises(CalibrationError, match="one channel"):
        read_mask(tmp_path / "m.png", None, 4, 4, 255)
    (tmp_path / "m.png").write_bytes(b"no")
    with pytest.raises(CalibrationError, match="not a readable mask"):
        read_mask(tmp_path / "m.png", None, 4, 4, 255)
