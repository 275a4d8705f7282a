"""A picture set made on the spot: street scenes with one traffic sign each, from a seed, at any resolution.

The pictures have the statistics that matter to codecs (1/f textures, sharp edges, blur, sensor noise) and classes that
differ by a few strokes, so that the accuracy of a network moves when the picture is compressed. Nothing is downloaded
and no font is used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from cutpoint.demo import _clutter
from cutpoint.demo._signs import CLASSES, PYRAMID, sign
from cutpoint.demo._street import Camera, Street, make_street, paint_street
from cutpoint.demo._textures import FloatArray, white, window

__all__ = ["CLASSES", "Scene", "render", "video", "write_folder"]

_SIGN = 0.8  # side of a sign in metres
_FOCAL = 1.1  # focal length in units of the shorter side of the picture
_STILL = (0.05, 0.25)  # side of the sign in a still picture, as a share of the shorter side of the picture
_NEAR = (0.16, 0.24)  # the same at the end of a clip, where the camera is nearest
_LEAST = 64  # shortest side in pixels at which a sign still covers some


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture and what is known about it.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        label: index into CLASSES of the sign.
        boxes: int32 (1, 4): left, top, right, bottom of the sign in pixels; right and bottom exclusive.
        mask: bool (H, W), true where the sign covers more than half of the pixel.
    """

    image: NDArray[np.uint8]
    label: int
    boxes: NDArray[np.int32]
    mask: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Card:
    """A flat object: its pictures, the middle of its lower edge in the world (metres), its side in metres."""

    pictures: tuple[Image.Image, ...]
    x: float
    y: float
    z: float
    side: float
    pole: bool = False


@dataclass(frozen=True, slots=True)
class _Light:
    sun: float
    gain: float
    tint: FloatArray
    contrast: float
    blur: float
    smear: int
    noise: float
    grain: float


@dataclass(frozen=True, slots=True)
class _World:
    street: Street
    cards: tuple[_Card, ...]
    label: int
    sign: tuple[float, float, float]
    turn: tuple[float, float, float]
    fade: FloatArray
    light: _Light


@dataclass(frozen=True, slots=True)
class _View:
    """Where the camera is, independent of the resolution (offsets in units of the shorter side)."""

    x: float
    y: float
    z: float
    pan: float
    tilt: float


def _checked(size: tuple[int, int]) -> tuple[int, int]:
    height, width = size
    if min(height, width) < _LEAST:
        raise ValueError(f"a scene needs at least {_LEAST} × {_LEAST} pixels, not {height} × {width}")
    return height, width


def _camera(view: _View, size: tuple[int, int]) -> Camera:
    height, width = size
    unit = min(height, width)
    centre = (width / 2 + view.pan * unit, height / 2 + view.tilt * unit)
    return Camera(view.x, view.y, view.z, _FOCAL * unit, centre, size)


def _make_light(rng: np.random.Generator) -> _Light:
    dusk = float(rng.random() ** 3)
    warm = float(rng.normal(0.0, 0.06))
    return _Light(
        sun=float(rng.uniform(-1.0, 1.0)),
        gain=float(rng.uniform(0.75, 1.15)) * (1.0 - 0.62 * dusk),
        tint=np.array([1.0 + warm, 1.0, 1.0 - warm], np.float32),
        contrast=float(rng.uniform(0.8, 1.2)),
        blur=float(rng.uniform(0.25, 0.85)),
        smear=int(rng.choice([1, 1, 1, 1, 1, 2, 3])),
        noise=float(rng.uniform(1.5, 5.0)) + 3.5 * dusk,
        grain=float(rng.uniform(0.2, 0.6)),
    )


def _make_cards(rng: np.random.Generator, street: Street, far: float) -> tuple[_Card, ...]:
    """Everything but the sign, nearer than `far` or well behind it."""
    left, right = street.walls[0].x, street.walls[1].x
    cards: list[_Card] = []

    def beside(margin: float) -> float:
        edge = left if rng.random() < 0.5 else right
        return edge + math.copysign(float(rng.uniform(0.2, margin)), -edge)

    for _ in range(rng.integers(0, 4)):
        side = float(rng.uniform(3.0, 7.0))
        tree = _clutter.tree(int(rng.integers(_clutter.TREES)))
        cards.append(_Card(tree, beside(1.2), 0.0, far + float(rng.uniform(1.0, 25.0)), side))
    for _ in range(rng.integers(0, 4)):
        car = _clutter.car(int(rng.integers(_clutter.CARS)))
        x = (left + right) / 2 + float(rng.uniform(-0.9, 0.9)) * street.road
        cards.append(_Card(car, x, 0.0, far + float(rng.uniform(2.0, 30.0)), 1.9))
    for _ in range(rng.integers(0, 3)):
        person = _clutter.person(int(rng.integers(_clutter.PEOPLE)))
        cards.append(_Card(person, beside(2.0), 0.0, far + float(rng.uniform(0.5, 14.0)), 1.8))
    for _ in range(rng.integers(0, 4)):
        plate = _clutter.plate(int(rng.integers(_clutter.PLATES)))
        side = float(rng.uniform(0.5, 1.1))
        height = float(rng.uniform(1.4, 3.6))
        cards.append(_Card(plate, beside(3.0), height, far + float(rng.uniform(0.4, 10.0)), side, pole=True))
    return tuple(sorted(cards, key=lambda card: -card.z))


def _make_world(rng: np.random.Generator, extent: tuple[float, float]) -> tuple[_World, _View]:
    """Draw a world and the view that shows its sign at a size within `extent` (share of the shorter side)."""
    street = make_street(rng)
    view = _View(
        x=float(rng.uniform(-1.0, 1.0)),
        y=float(rng.uniform(1.1, 2.1)),
        z=0.0,
        pan=float(rng.normal(0.0, 0.08)),
        tilt=float(rng.uniform(-0.04, 0.16)),
    )
    # Small signs are the more frequent ones, as in a real street.
    share = extent[0] * (extent[1] / extent[0]) ** float(rng.random() ** 1.5)
    away = _FOCAL * _SIGN / share
    reach = 0.43 - share / 2
    column = float(rng.uniform(-reach, reach)) - view.pan
    row = float(rng.uniform(-reach, min(reach, 0.12))) - view.tilt
    place = (view.x + column * away / _FOCAL, view.y - row * away / _FOCAL, away)
    world = _World(
        street=street,
        cards=_make_cards(rng, street, away),
        label=int(rng.integers(len(CLASSES))),
        sign=place,
        turn=(
            float(np.clip(rng.normal(0.0, 0.33), -0.8, 0.8)),
            float(rng.normal(0.0, 0.08)),
            float(rng.normal(0.0, 0.07)),
        ),
        fade=np.array([rng.uniform(0.72, 1.05), rng.uniform(0.0, 34.0)], np.float32),
        light=_make_light(rng),
    )
    return world, view


def _sprite(pictures: tuple[Image.Image, ...], pixels: float) -> Image.Image:
    """The smallest picture of the pyramid that is not smaller than `pixels`."""
    fitting = [k for k, side in enumerate(PYRAMID) if side >= pixels]
    return pictures[fitting[-1]] if fitting else pictures[0]


def _blend(image: FloatArray, patch: NDArray[np.uint8], left: int, top: int, gain: float, lift: float) -> None:
    """Lay an RGBA patch over the picture, in place; parts outside are cut off."""
    height, width = image.shape[:2]
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + patch.shape[1], width), min(top + patch.shape[0], height)
    if x0 >= x1 or y0 >= y1:
        return
    part = patch[y0 - top : y1 - top, x0 - left : x1 - left].astype(np.float32)
    weight = part[:, :, 3:] * np.float32(1 / 255)
    target = image[y0:y1, x0:x1]
    target += (part[:, :, :3] * np.float32(gain) + np.float32(lift) - target) * weight


def _pole(image: FloatArray, camera: Camera, x: float, y: float, z: float) -> None:
    """A grey pole from the ground up to height y."""
    column, top = camera.project(x, y, z)
    bottom = camera.project(x, 0.0, z)[1]
    half = 0.035 * camera.focal / (z - camera.z)
    x0, x1 = math.floor(column - half), math.ceil(column + half)
    x0, x1 = max(x0, 0), min(max(x1, x0 + 1), image.shape[1])
    y0, y1 = max(round(top), 0), min(round(bottom), image.shape[0])
    if x0 < x1 and y0 < y1:
        tone = np.linspace(150.0, 92.0, x1 - x0, dtype=np.float32)
        image[y0:y1, x0:x1] = tone[None, :, None]


def _place(image: FloatArray, camera: Camera, card: _Card, haze: float) -> None:
    if card.z - camera.z < 1.5:
        return
    pixels = card.side * camera.focal / (card.z - camera.z)
    if pixels > 2.0 * max(camera.shape):
        return
    if card.pole:
        _pole(image, camera, card.x, card.y, card.z)
    column, bottom = camera.project(card.x, card.y, card.z)
    # Resampling to the exact, fractional place keeps slow motion free of jumps by whole pixels.
    left, top = math.floor(column - pixels / 2), math.floor(bottom - pixels)
    side = math.ceil(pixels) + 2
    source = _sprite(card.pictures, pixels)
    scale = source.width / pixels
    shift = (left - (column - pixels / 2), top - (bottom - pixels))
    patch = source.transform(
        (side, side),
        Image.Transform.AFFINE,
        (scale, 0.0, shift[0] * scale, 0.0, scale, shift[1] * scale),
        Image.Resampling.BILINEAR,
    )
    fog = min((card.z - camera.z) * haze, 0.7)
    _blend(image, np.asarray(patch), left, top, 1.0 - fog, 190.0 * fog)


def _quad(world: _World, camera: Camera) -> NDArray[np.float64]:
    """Image positions (4, 2) of the corners of the sign: upper left, upper right, lower right, lower left."""
    yaw, pitch, roll = world.turn
    corners = np.array([(-1, 1), (1, 1), (1, -1), (-1, -1)], np.float64) * (_SIGN / 2)
    x = corners[:, 0] * math.cos(roll) - corners[:, 1] * math.sin(roll)
    y = corners[:, 0] * math.sin(roll) + corners[:, 1] * math.cos(roll)
    depth = x * math.sin(yaw) + y * math.sin(pitch)
    x, y = x * math.cos(yaw), y * math.cos(pitch)
    cx, cy, cz = world.sign
    return np.array([camera.project(cx + a, cy + b, cz + c) for a, b, c in zip(x, y, depth, strict=True)])


def _homography(source: NDArray[np.float64], target: NDArray[np.float64]) -> list[float]:
    """The eight coefficients Pillow wants: from `source` (picture) to `target` (texture) positions."""
    rows, right = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        right += [u, v]
    return [float(c) for c in np.linalg.solve(np.array(rows), np.array(right))]


def _place_sign(image: FloatArray, camera: Camera, world: _World) -> NDArray[np.bool_]:
    """Draw the sign with its pole, in place, and give its mask."""
    _pole(image, camera, *world.sign)
    quad = _quad(world, camera)
    low = np.floor(quad.min(axis=0)).astype(int) - 1
    width, height = (int(v) for v in np.ceil(quad.max(axis=0)).astype(int) + 1 - low)
    source = _sprite(sign(world.label), max(width, height))
    side = source.width
    texture = np.array([(0, 0), (side, 0), (side, side), (0, side)], np.float64)
    patch = np.asarray(
        source.transform(
            (width, height), Image.Transform.PERSPECTIVE, _homography(quad - low, texture), Image.Resampling.BILINEAR
        )
    )
    left, top = int(low[0]), int(low[1])
    _blend(image, patch, left, top, float(world.fade[0]), float(world.fade[1]))
    mask = np.zeros(image.shape[:2], np.bool_)
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + width, mask.shape[1]), min(top + height, mask.shape[0])
    if x0 < x1 and y0 < y1:
        mask[y0:y1, x0:x1] = patch[y0 - top : y1 - top, x0 - left : x1 - left, 3] > 127
    return mask


def _expose(image: FloatArray, light: _Light, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Light, lens and sensor: from scene values to the picture a camera would hand over."""
    height, width = image.shape[:2]
    scale = min(height, width) / 256
    image *= light.tint * np.float32(light.gain * light.contrast)
    image += np.float32(118.0 * light.gain * (1.0 - light.contrast))
    for _ in range(round((light.smear - 1) * scale)):
        image[:, :-1] = 0.5 * (image[:, :-1] + image[:, 1:])
    sharp = Image.fromarray(np.clip(image, 0.0, 255.0).astype(np.uint8))
    soft = np.asarray(sharp.filter(ImageFilter.GaussianBlur(light.blur * scale)), np.float32)
    shot = np.sqrt(soft[:, :, 1:2] * np.float32(1 / 128) + np.float32(0.35))
    luma = window(white(0), rng, (height, width))[:, :, None]
    colour = np.stack([window(white(1), rng, (height, width)) for _ in range(3)], axis=2)
    soft += shot * np.float32(light.noise) * (luma + np.float32(light.grain) * colour)
    return np.clip(soft + np.float32(0.5), 0.0, 255.0).astype(np.uint8)


def _take(world: _World, view: _View, size: tuple[int, int], rng: np.random.Generator) -> Scene:
    camera = _camera(view, size)
    image = paint_street(world.street, camera, world.light.sun)
    for card in world.cards:
        _place(image, camera, card, world.street.haze)
    mask = _place_sign(image, camera, world)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1] if rows.size else [0, 0, 0, 0]
    return Scene(_expose(image, world.light, rng), world.label, np.array([box], np.int32), mask)


def render(seed: int, size: tuple[int, int] = (256, 256)) -> Scene:
    """Render one picture.

    Args:
        seed: names the picture, ≥ 0; the same seed and size give the same picture.
        size: height and width in pixels, at least 64 each. The sign stays within the central 86 % of the shorter side,
            so that the usual centre crop from 256 to 224 keeps it.

    Raises:
        ValueError: the size is too small, or the seed is negative.
    """
    size = _checked(size)
    rng = np.random.default_rng((0x5CE4E, seed))
    world, view = _make_world(rng, _STILL)
    return _take(world, view, size, rng)


def video(seed: int, frames: int, size: tuple[int, int] = (256, 256)) -> Iterator[Scene]:
    """Render a drive: the camera moves towards a sign, sways a little, and cuts to another street now and then.

    Args:
        seed: names the sequence, ≥ 0.
        frames: how many pictures.
        size: height and width in pixels, at least 64 each.

    Raises:
        ValueError: the size is too small, or the seed is negative.
    """
    size = _checked(size)
    rng = np.random.default_rng((0x51DE0, seed))
    left = frames
    while left > 0:
        world, near = _make_world(rng, _NEAR)
        length = int(rng.integers(40, 90))
        back = world.sign[2] * float(rng.uniform(0.8, 2.0))
        phase = rng.uniform(0.0, 2 * math.pi, 3)
        for frame in range(min(length, left)):
            t = frame / 12.0
            view = replace(
                near,
                z=-back * (1.0 - frame / length),
                pan=near.pan + 0.006 * math.sin(1.1 * t + phase[0]) * (1.0 - frame / length),
                tilt=near.tilt + 0.005 * math.sin(2.3 * t + phase[1]) + 0.0015 * math.sin(7.0 * t + phase[2]),
            )
            yield _take(world, view, size, rng)
        left -= length


def write_folder(path: str | Path, count: int, seed: int) -> None:
    """Write pictures as files, with their labels: the layout that folder data sets of the SDK expect.

    Makes `00000.jpg` … (256 × 256, JPEG quality 92), `labels.tsv` (columns file, class_index, class_name, with a header
    line) and `classes.txt` (one class name per line, in label order). The folder is made if need be.

    Args:
        path: the folder.
        count: number of pictures.
        seed: the seed of the first picture; the others follow on.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["file\tclass_index\tclass_name"]
    for k in range(count):
        scene = render(seed + k)
        name = f"{k:05d}.jpg"
        Image.fromarray(scene.image).save(folder / name, quality=92)
        lines.append(f"{name}\t{scene.label}\t{CLASSES[scene.label]}")
    (folder / "labels.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "classes.txt").write_text("\n".join(CLASSES) + "\n", encoding="utf-8")
