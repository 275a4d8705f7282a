"""The street behind the signs: sky, skyline, ground with a road, and a wall of houses or foliage on either side.

Everything is a function of world coordinates (metres: X to the right, Y up from the ground, Z along the street), so
that a moving camera sees one and the same street.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cutpoint.demo._textures import FloatArray, fractal, gather

_Limit = float | tuple[float, ...]

_LOTS = 16  # houses on one side before their look repeats


@dataclass(frozen=True, slots=True)
class Camera:
    """A pin-hole camera that looks along +Z.

    Attributes:
        x, y, z: position in metres; y is the height above the ground.
        focal: focal length in pixels.
        centre: image position (column, row) of the vanishing point, in pixels.
        shape: height and width of the picture in pixels.
    """

    x: float
    y: float
    z: float
    focal: float
    centre: tuple[float, float]
    shape: tuple[int, int]

    def project(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Column and row in pixels of a point in front of the camera."""
        scale = self.focal / (z - self.z)
        return self.centre[0] + scale * (x - self.x), self.centre[1] - scale * (y - self.y)


@dataclass(frozen=True, slots=True)
class Wall:
    """One side of the street: a plane parallel to Z, made of lots with their own height and look.

    Arrays are indexed by lot, (16,) or (16, 3); lengths in metres, colours on a 0–255 scale.
    """

    x: float
    lot: float
    foliage: bool
    height: FloatArray
    colour: FloatArray
    window: FloatArray
    pitch: FloatArray
    grain: float
    table: int


@dataclass(frozen=True, slots=True)
class Street:
    """The fixed look of one street."""

    sky_low: FloatArray
    sky_high: FloatArray
    clouds: float
    skyline: FloatArray
    asphalt: FloatArray
    verge: FloatArray
    road: float
    dashed: bool
    haze: float
    walls: tuple[Wall, Wall]
    table: int


def _between(rng: np.random.Generator, low: _Limit, high: _Limit, size: tuple[int, ...] | None = None) -> FloatArray:
    return np.asarray(rng.uniform(low, high, () if size is None else size), np.float32)


def _wall(rng: np.random.Generator, x: float) -> Wall:
    foliage = bool(rng.random() < 0.4)
    if foliage:
        depth = _between(rng, 0.0, 1.0, (_LOTS, 1))
        colour = np.array([[38, 52, 22]], np.float32) * (1 - depth) + np.array([[98, 106, 58]], np.float32) * depth
        colour *= _between(rng, 0.88, 1.12, (_LOTS, 3))
        height = _between(rng, 2.0, 7.0, (_LOTS,))
    else:
        colour = _between(rng, 80, 215, (_LOTS, 1)) * _between(rng, (0.95, 0.82, 0.66), (1.06, 1.0, 0.96), (_LOTS, 3))
        height = _between(rng, 4.0, 15.0, (_LOTS,))
        height[rng.random(_LOTS) < 0.2] = 1.2
    return Wall(
        x=x,
        lot=float(rng.uniform(5.0, 12.0)),
        foliage=foliage,
        height=height,
        colour=colour,
        window=_between(rng, 0.2, 0.4, (_LOTS,)),
        pitch=_between(rng, 1.2, 3.0, (_LOTS,)),
        grain=float(rng.uniform(34.0, 60.0) if foliage else rng.uniform(14.0, 40.0)),
        table=int(rng.integers(4)),
    )


def _verge(rng: np.random.Generator) -> FloatArray:
    """Grass or pavement."""
    base = np.array([82, 92, 52] if rng.random() < 0.5 else [146, 142, 136], np.float32)
    return base * _between(rng, 0.75, 1.2) * _between(rng, 0.94, 1.06, (3,))


def make_street(rng: np.random.Generator) -> Street:
    """Draw one street at random."""
    overcast = float(rng.random())
    blue = np.array([118, 160, 214], np.float32)
    grey = np.array([196, 200, 204], np.float32)
    road = float(rng.uniform(2.6, 4.6))
    shift = float(rng.uniform(-1.8, 1.8))
    return Street(
        sky_low=grey * float(rng.uniform(0.95, 1.2)),
        sky_high=(blue * (1 - overcast) + grey * overcast) * float(rng.uniform(0.8, 1.1)),
        clouds=float(rng.uniform(4.0, 26.0)),
        skyline=_between(rng, 0.01, 0.14, (64,)),
        asphalt=_between(rng, 70, 130) * _between(rng, 0.95, 1.05, (3,)),
        verge=_verge(rng),
        road=road,
        dashed=bool(rng.random() < 0.7),
        haze=float(rng.uniform(0.004, 0.02)),
        walls=(
            _wall(rng, shift - road - float(rng.uniform(0.8, 4.0))),
            _wall(rng, shift + road + float(rng.uniform(0.8, 4.0))),
        ),
        table=int(rng.integers(4)),
    )


def _paint_sky(street: Street, camera: Camera, image: FloatArray, rows: int) -> None:
    width = camera.shape[1]
    up = ((camera.centre[1] - np.arange(rows, dtype=np.float32)) / camera.focal)[:, None]
    across = ((np.arange(width, dtype=np.float32) - camera.centre[0]) / camera.focal)[None, :]
    mix = np.clip(up * 1.6, 0.0, 1.0)[:, :, None]
    sky = street.sky_low * (1.0 - mix) + street.sky_high * mix
    clouds = gather(fractal(street.table), across * 420.0 + 600.0, up * 900.0)
    image[:rows] = sky + (street.clouds * clouds)[:, :, None]
    column = ((across[0] * 24.0) + 32.0).astype(np.int32) & 63
    behind = (street.skyline[column][None, :] > up) & (up > -0.02)
    image[:rows][behind] = street.sky_low * np.float32(0.66) + (8.0 * clouds[behind])[:, None]


def _paint_ground(street: Street, camera: Camera, image: FloatArray, first: int) -> None:
    height, width = camera.shape
    down = ((np.arange(first, height, dtype=np.float32) + 0.5 - camera.centre[1]) / camera.focal)[:, None]
    away = camera.y / np.maximum(down, 0.004)
    x = camera.x + ((np.arange(width, dtype=np.float32) + 0.5 - camera.centre[0]) / camera.focal)[None, :] * away
    z = camera.z + away
    middle = (street.walls[0].x + street.walls[1].x) / 2.0
    side = np.abs(x - middle)
    on_road = side < street.road
    near = 1.0 / (1.0 + away * 0.06)
    fine = gather(fractal(street.table + 4), x * 60.0, np.broadcast_to(z * 60.0, x.shape))
    coarse = gather(fractal(street.table ^ 1), x * 14.0, np.broadcast_to(z * 9.0, x.shape))
    shade = (11.0 * near) * fine + 7.0 * coarse
    colour = np.where(on_road[:, :, None], street.asphalt, street.verge)
    kerb = (side > street.road - 0.12) & on_road
    paint = (side < 0.07) & on_road
    if street.dashed:
        paint &= (z % 6.0) < 3.0
    paint |= (side > street.road - 0.55) & (side < street.road - 0.42)
    colour[paint] = 205.0
    colour[kerb] = street.asphalt * np.float32(1.35)
    shade[~on_road] *= 1.5
    ground = colour + shade[:, :, None]
    fog = np.clip(away * street.haze, 0.0, 0.8)[:, :, None]
    image[first:] = ground + (street.sky_low - ground) * fog


def _paint_wall(wall: Wall, street: Street, camera: Camera, image: FloatArray, sun: float) -> None:
    height, width = camera.shape
    ray = (np.arange(width, dtype=np.float32) + 0.5 - camera.centre[0]) / camera.focal
    offset = wall.x - camera.x
    columns = np.flatnonzero(ray * offset > abs(offset) / 70.0)
    if columns.size == 0:
        return
    first, last = int(columns[0]), int(columns[-1]) + 1
    away = offset / ray[first:last]
    z = camera.z + away
    lot = (z / wall.lot).astype(np.int32) & (_LOTS - 1)
    rise = (camera.centre[1] - np.arange(height, dtype=np.float32) - 0.5) / camera.focal
    y = camera.y + rise[:, None] * away[None, :]
    top = wall.height[lot][None, :]
    rough = gather(fractal(wall.table + 4), np.broadcast_to((z * wall.grain)[None, :], y.shape), y * -wall.grain)
    if wall.foliage:
        top = top + 0.45 * gather(fractal(wall.table ^ 1), np.broadcast_to((z * 30.0)[None, :], y.shape), y * 30.0)
    inside = (y > 0.0) & (y < top)
    rows = np.flatnonzero(inside.any(axis=1))
    if rows.size == 0:
        return
    cut = slice(int(rows[0]), int(rows[-1]) + 1)
    y, rough, inside = y[cut], rough[cut], inside[cut]
    near = (1.0 / (1.0 + np.abs(away) * 0.05))[None, :]
    if wall.foliage:
        tone = 1.0 + 0.42 * rough + 0.12 * (y / np.float32(4.0) - 0.5)
    else:
        tone = 1.0 + 0.08 * rough
        tone -= 0.14 * near * ((y * 6.0) % 1.0 < 0.18)
    colour = (wall.colour[lot][None, :, :] * np.float32(sun)) * np.maximum(tone, 0.12)[:, :, None]
    if not wall.foliage:
        _windows(wall, lot, z, y, near, rough, colour)
    fog = np.clip(np.abs(away) * street.haze, 0.0, 0.8)[None, :, None]
    colour += (street.sky_low - colour) * fog
    target = image[cut, first:last]
    target[inside] = colour[inside]


def _windows(
    wall: Wall,
    lot: NDArray[np.int32],
    z: FloatArray,
    y: FloatArray,
    near: FloatArray,
    rough: FloatArray,
    colour: FloatArray,
) -> None:
    """Darken (or light) the panes of a house front, in place; `colour` is (rows, columns, 3)."""
    along, up = z / wall.pitch[lot], y / np.float32(2.9)
    span = wall.window[lot]
    u, v = np.abs(along % 1.0 - 0.5), np.abs(up % 1.0 - 0.55)
    frame = (u < span + 0.05)[None, :] & (v < 0.33)
    pane = (u < span)[None, :] & (v < 0.28)
    number = along.astype(np.int32)[None, :] * 7 + up.astype(np.int32) * 13
    glass = (36.0 + 22.0 * (number & 3) + 14.0 * rough).astype(np.float32)
    colour[frame] *= np.float32(1.18)
    weight = (0.9 * np.sqrt(near))[:, :, None] * pane[:, :, None]
    colour += (glass[:, :, None] * np.array([0.92, 1.0, 1.1], np.float32) - colour) * weight


def paint_street(street: Street, camera: Camera, sun: float) -> FloatArray:
    """Paint the street as the camera sees it.

    Args:
        street: what to paint.
        camera: from where.
        sun: −1 … 1, which side of the street lies in the light.

    Returns:
        float32 (height, width, 3), RGB on a 0–255 scale, not clipped.
    """
    height, width = camera.shape
    image = np.empty((height, width, 3), np.float32)
    horizon = min(max(round(camera.centre[1]), 0), height)
    _paint_sky(street, camera, image, horizon)
    _paint_ground(street, camera, image, horizon)
    for wall, side in zip(street.walls, (1.0, -1.0), strict=True):
        _paint_wall(wall, street, camera, image, 0.85 + 0.25 * side * sun)
    return image
