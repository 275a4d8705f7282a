"""What else lies beside pictures: masks as PNG, boxes in YOLO's text files or in COCO's JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cutpoint.calibration.data import MASK_FOLDERS, Source
from cutpoint.calibration.errors import CalibrationError
from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Preprocessing

__all__ = ["Box", "annotate", "read_boxes", "read_mask"]

#: Folders within the pictures' own or beside it that boxes are looked for in; for masks see `MASK_FOLDERS`.
_BOXES = ("labels",)
_COCO = ("annotations.json", "instances.json")


@dataclass(frozen=True, slots=True)
class Box:
    """An object in a picture.

    Attributes:
        label: class index.
        left, top, width, height: in pixels.
        crowd: whether it is several objects, which detectors may find or not.
    """

    label: int
    left: float
    top: float
    width: float
    height: float
    crowd: bool = False


def annotate(folder: Path, sources: Sequence[Source]) -> tuple[Source, ...]:
    """`sources` with the files of their masks and boxes, where there are any.

    A file of the picture's name ending in ``.png`` or ``.txt`` is looked for beside the picture, and in folders called
    ``masks`` or ``labels`` within `folder` or beside it; ``annotations.json`` in COCO's form in `folder` or above it.
    """
    coco = next((path for place in (folder, folder.parent) for name in _COCO if (path := place / name).is_file()), None)
    listed = _coco_names(coco) if coco else frozenset()
    found = []
    for source in sources:
        mask = _beside(folder, source, sorted(MASK_FOLDERS), ".png")
        boxes = coco if source.path.name in listed else _beside(folder, source, _BOXES, ".txt")
        found.append(replace(source, mask=mask, boxes=boxes))
    return tuple(found)


def _beside(folder: Path, source: Source, names: Sequence[str], ending: str) -> Path | None:
    inside = Path(source.name).with_suffix(ending)
    places = [source.path.with_suffix(ending)]
    places += [root / name / inside for root in (folder, folder.parent) for name in names]
    return next((place for place in places if place != source.path and place.is_file()), None)


def read_mask(path: Path, how: Preprocessing | None, height: int, width: int, outside: int) -> Array:
    """Class of each pixel, int64 (height, width), after the geometry that the picture goes through.

    Args:
        path: PNG of one channel; the value is the class.
        how: of the picture.
        height, width: of the model's output.
        outside: class of what the picture does not cover.

    Raises:
        CalibrationError: if it does not read.
    """
    try:
        with Image.open(path) as file:
            mask = file.copy() if file.mode in ("L", "P", "I", "I;16") else None
    except OSError as error:
        raise CalibrationError(f"{path}: not a readable mask: {error}") from error
    if mask is None:
        raise CalibrationError(f"{path}: a mask has one channel, its value is the class")
    if how is not None:
        place = _placing(mask.size, how)
        corners = place(0, 0), place(*mask.size)
        canvas = Image.new("I", (how.width, how.height), outside)
        (left, top), (right, bottom) = ((round(x), round(y)) for x, y in corners)
        canvas.paste(mask.convert("I").resize((right - left, bottom - top), Image.Resampling.NEAREST), (left, top))
        mask = canvas
    return np.asarray(mask.resize((width, height), Image.Resampling.NEAREST)).astype(np.int64)


def read_boxes(source: Source, how: Preprocessing) -> tuple[Box, ...]:
    """A picture's objects, in the pixels of boundary 0; what the crop leaves nothing of is left out.

    Raises:
        CalibrationError: if the file does not read; names the line.
    """
    assert source.boxes is not None, "only asked about sources with an annotation"
    with Image.open(source.path) as picture:
        width, height = picture.size
    given = _coco_boxes(source) if source.boxes.suffix == ".json" else _yolo_boxes(source.boxes, width, height)
    place = _placing((width, height), how)
    boxes = []
    for box in given:
        left, top = place(box.left, box.top)
        right, bottom = place(box.left + box.width, box.top + box.height)
        left, right = (min(max(side, 0.0), float(how.width)) for side in (left, right))
        top, bottom = (min(max(side, 0.0), float(how.height)) for side in (top, bottom))
        if right > left and bottom > top:
            boxes.append(replace(box, left=left, top=top, width=right - left, height=bottom - top))
    return tuple(boxes)


def _placing(size: tuple[int, int], how: Preprocessing) -> Callable[[float, float], tuple[float, float]]:
    """From pixels of a picture to those of boundary 0: see `cutpoint.sdk.pictures`."""
    width, height = size
    x_scale, y_scale, x_move, y_move = how.width / width, how.height / height, 0.0, 0.0
    if how.letterbox:
        x_scale = y_scale = min(x_scale, y_scale)
    elif how.resize is not None:
        x_scale = y_scale = how.resize / min(size)
        x_move, y_move = (how.width - width * x_scale) / 2, (how.height - height * y_scale) / 2
    return lambda x, y: (x * x_scale + x_move, y * y_scale + y_move)


def _yolo_boxes(path: Path, width: int, height: int) -> list[Box]:
    """Lines of class, centre and size, relative to the picture."""
    boxes = []
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationError(f"{path}: cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not (fields := line.split()):
            continue
        try:
            label, x, y, w, h = int(fields[0]), *(float(field) for field in fields[1:])
        except ValueError:
            raise CalibrationError(
                f"{path}, line {number}: expected a class, centre x, centre y, width, height"
            ) from None
        boxes.append(Box(label, (x - w / 2) * width, (y - h / 2) * height, w * width, h * height))
    return boxes


@lru_cache(maxsize=2)
def _coco(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text("utf-8"))
        return {key: list(data[key]) for key in ("images", "annotations", "categories")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CalibrationError(f"{path}: not annotations in COCO's form: {error}") from error


def _coco_names(path: Path) -> frozenset[str]:
    return frozenset(Path(image["file_name"]).name for image in _coco(path)["images"])


def _coco_boxes(source: Source) -> list[Box]:
    """Classes are numbered by the order of the categories' ids, as detectors trained on COCO number them."""
    assert source.boxes is not None, "only asked about sources with an annotation"
    data = _coco(source.boxes)
    labels = {number: index for index, number in enumerate(sorted(entry["id"] for entry in data["categories"]))}
    images = {image["id"] for image in data["images"] if Path(image["file_name"]).name == source.path.name}
    boxes = []
    for entry in data["annotations"]:
        if entry["image_id"] in images:
            left, top, width, height = (float(side) for side in entry["bbox"])
            boxes.append(Box(labels[entry["category_id"]], left, top, width, height, bool(entry.get("iscrowd"))))
    return boxes
