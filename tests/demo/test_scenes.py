"""The rendered picture set: the same everywhere, well formed, varied, and coherent in time."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cutpoint.demo.scenes import CLASSES, Scene, render, video, write_folder

seeds = st.integers(0, 2**40)
sizes = st.tuples(st.integers(64, 220), st.integers(64, 220))


def check(scene: Scene, size: tuple[int, int]) -> None:
    assert scene.image.shape == (*size, 3)
    assert scene.image.dtype == np.uint8
    assert scene.mask.shape == size
    assert scene.mask.dtype == np.bool_
    assert scene.boxes.shape == (1, 4)
    assert scene.boxes.dtype == np.int32
    assert 0 <= scene.label < len(CLASSES)
    left, top, right, bottom = (int(v) for v in scene.boxes[0])
    assert 0 <= left < right <= size[1]
    assert 0 <= top < bottom <= size[0]
    rows, columns = np.nonzero(scene.mask)
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (left, top, right, bottom)


@settings(max_examples=60, deadline=None)
@given(seed=seeds, size=sizes)
def test_every_scene_is_well_formed_at_any_size(seed: int, size: tuple[int, int]) -> None:
    check(render(seed, size), size)


@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_a_seed_names_one_picture(seed: int) -> None:
    one, two = render(seed, (96, 128)), render(seed, (96, 128))
    np.testing.assert_array_equal(one.image, two.image)
    np.testing.assert_array_equal(one.mask, two.mask)
    assert one.label == two.label
    assert not np.array_equal(one.image, render(seed + 1, (96, 128)).image)


@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_the_label_and_the_place_do_not_depend_on_the_resolution(seed: int) -> None:
    small, large = render(seed, (128, 128)), render(seed, (256, 256))
    assert small.label == large.label
    np.testing.assert_allclose(small.boxes * 2, large.boxes, atol=3)


@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_the_centre_crop_keeps_the_sign(seed: int) -> None:
    left, top, right, bottom = (int(v) for v in render(seed).boxes[0])
    assert min(left, top) >= 16
    assert max(right, bottom) <= 240


def test_labels_and_places_of_known_seeds() -> None:
    """Labels and places come from the generator and plain geometry, so every machine agrees (boxes to a rounding)."""
    for seed, (label, box) in enumerate([(6, (137, 79, 168, 115)), (10, (109, 77, 126, 92)), (7, (86, 46, 100, 60))]):
        scene = render(seed)
        assert scene.label == label
        np.testing.assert_allclose(scene.boxes[0], box, atol=1)


def test_all_classes_appear_about_equally_often() -> None:
    labels = [render(seed, (64, 64)).label for seed in range(600)]
    counts = np.bincount(labels, minlength=len(CLASSES))
    assert counts.min() >= 15
    assert counts.max() <= 75


def test_classes_are_distinct_names() -> None:
    assert len(set(CLASSES)) == len(CLASSES) == 16


def test_pictures_are_as_hard_to_compress_as_photographs() -> None:
    lengths: dict[int, list[int]] = {30: [], 90: []}
    for seed in range(20):
        for quality, found in lengths.items():
            buffer = io.BytesIO()
            Image.fromarray(render(seed, (224, 224)).image).save(buffer, "JPEG", quality=quality)
            found.append(buffer.tell())
    assert 2_000 < np.mean(lengths[30]) < 6_000
    assert 10_000 < np.mean(lengths[90]) < 22_000


def test_the_sign_lies_under_the_mask() -> None:
    """A sign changes the picture where the mask says so: its pixels differ from those just outside the box."""
    different = 0
    for seed in range(20):
        scene = render(seed)
        left, top, right, bottom = (int(v) for v in scene.boxes[0])
        around = np.zeros_like(scene.mask)
        around[max(top - 6, 0) : bottom + 6, max(left - 6, 0) : right + 6] = True
        around[top:bottom, left:right] = False
        inside = scene.image[scene.mask].astype(float)
        outside = scene.image[around].astype(float)
        different += bool(np.abs(inside.mean(axis=0) - outside.mean(axis=0)).max() > 8 or inside.std() > outside.std())
    assert different >= 18


@pytest.mark.parametrize("size", [(63, 64), (64, 63), (0, 0)])
def test_sizes_too_small_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 64"):
        render(0, size)
    with pytest.raises(ValueError, match="at least 64"):
        next(video(0, 1, size))


def test_negative_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        render(-1)


def test_video_is_well_formed_and_repeatable() -> None:
    first, second = list(video(3, 12, (64, 96))), list(video(3, 12, (64, 96)))
    assert len(first) == 12
    for one, two in zip(first, second, strict=True):
        check(one, (64, 96))
        np.testing.assert_array_equal(one.image, two.image)


def test_video_of_no_frames_is_empty() -> None:
    assert list(video(0, 0)) == []


def test_video_moves_smoothly_between_rare_cuts() -> None:
    size = (96, 96)
    scenes = list(video(5, 240, size))
    widths = [int(s.boxes[0, 2] - s.boxes[0, 0]) for s in scenes]
    centres = [(s.boxes[0, :2] + s.boxes[0, 2:]) / 2 for s in scenes]
    cuts = [
        k
        for k in range(1, len(scenes))
        if abs(widths[k] - widths[k - 1]) > 4 or np.abs(centres[k] - centres[k - 1]).max() > 6
    ]
    assert 2 <= len(cuts) <= 6
    for k in range(1, len(scenes)):
        change = np.abs(scenes[k].image.astype(float) - scenes[k - 1].image.astype(float)).mean()
        if k not in cuts:
            assert scenes[k].label == scenes[k - 1].label
            assert 0.0 < change < 30.0
    starts, ends = [0, *cuts], [*cuts, len(scenes)]
    for start, end in zip(starts[:-1], ends[:-1], strict=True):
        assert widths[end - 1] > widths[start]  # the camera drives towards the sign


def test_write_folder_is_readable(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    write_folder(folder, 5, seed=40)
    header, *rows = (folder / "labels.tsv").read_text(encoding="utf-8").splitlines()
    assert header.split("\t") == ["file", "class_index", "class_name"]
    assert tuple((folder / "classes.txt").read_text(encoding="utf-8").splitlines()) == CLASSES
    assert len(rows) == 5
    for k, row in enumerate(rows):
        name, index, class_name = row.split("\t")
        scene = render(40 + k)
        assert (int(index), class_name) == (scene.label, CLASSES[scene.label])
        with Image.open(folder / name) as image:
            pixels = np.asarray(image.convert("RGB")).astype(float)
        assert pixels.shape == (256, 256, 3)
        assert np.abs(pixels - scene.image).mean() < 6.0
