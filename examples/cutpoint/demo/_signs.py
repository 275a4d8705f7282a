"""The traffic signs: sixteen classes, several of which differ by a few strokes only.

Every face is drawn from polygons and strokes (no fonts, so that machines agree) at a large size, once, and kept as a
small pyramid of RGBA pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

from PIL import Image, ImageDraw

Point = tuple[float, float]
Colour = tuple[int, int, int]

CLASSES: tuple[str, ...] = (
    "speed_30",
    "speed_50",
    "speed_60",
    "speed_80",
    "ahead_only",
    "left_only",
    "right_only",
    "curve_left",
    "curve_right",
    "crossroads",
    "side_road",
    "no_left_turn",
    "no_right_turn",
    "yield",
    "no_entry",
    "priority_road",
)
"""Class names; the position in this tuple is the label."""

PYRAMID: tuple[int, ...] = (256, 128, 64, 32)
"""Sides in pixels at which every face is kept."""

RED: Colour = (196, 22, 34)
BLUE: Colour = (16, 78, 168)
WHITE: Colour = (240, 240, 236)
BLACK: Colour = (22, 22, 24)
YELLOW: Colour = (250, 196, 20)

_SIDE = 512  # drawing size; unit coordinates run from -1 to 1


class Face:
    """A square drawing surface in unit coordinates (x to the right, y down, both −1 … 1)."""

    def __init__(self, rim: Colour) -> None:
        # The colour under transparent pixels is the rim's, so that resampling does not darken the edge.
        self.image = Image.new("RGBA", (_SIDE, _SIDE), (*rim, 0))
        self._draw = ImageDraw.Draw(self.image)

    def _px(self, points: Sequence[Point]) -> list[Point]:
        half = _SIDE / 2
        return [((x + 1.0) * half, (y + 1.0) * half) for x, y in points]

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """Fill a polygon."""
        self._draw.polygon(self._px(points), fill=(*colour, 255))

    def disc(self, radius: float, colour: Colour, centre: Point = (0.0, 0.0)) -> None:
        """Fill a circle."""
        (x, y), half = self._px([centre])[0], _SIDE / 2
        r = radius * half
        self._draw.ellipse((x - r, y - r, x + r, y + r), fill=(*colour, 255))

    def stroke(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """Draw a polyline with round joints and ends."""
        half = _SIDE / 2
        self._draw.line(self._px(points), fill=(*colour, 255), width=round(width * half), joint="curve")
        for end in (points[0], points[-1]):
            self.disc(width / 2, colour, end)


def regular(corners: int, radius: float, turn: float, centre: Point = (0.0, 0.0)) -> list[Point]:
    """Corners of a regular polygon; `turn` in degrees, 0 puts the first corner to the right."""
    angles = [math.radians(turn + 360.0 * k / corners) for k in range(corners)]
    return [(centre[0] + radius * math.cos(a), centre[1] + radius * math.sin(a)) for a in angles]


def _arc(centre: Point, rx: float, ry: float, start: float, stop: float, steps: int = 24) -> list[Point]:
    angles = [math.radians(start + (stop - start) * k / steps) for k in range(steps + 1)]
    return [(centre[0] + rx * math.cos(a), centre[1] + ry * math.sin(a)) for a in angles]


def _digit(face: Face, digit: int, x: float, width: float = 0.125) -> None:
    """One digit of about 0.42 × 0.85 units centred at (x, 0)."""
    strokes: dict[int, list[list[Point]]] = {
        0: [_arc((x, 0.0), 0.17, 0.36, 0.0, 360.0)],
        3: [_arc((x - 0.02, -0.18), 0.17, 0.18, -160.0, 90.0), _arc((x - 0.02, 0.18), 0.19, 0.18, -90.0, 160.0)],
        5: [
            [(x + 0.16, -0.36), (x - 0.13, -0.36), (x - 0.15, -0.04)],
            [(x - 0.15, -0.04), *_arc((x - 0.01, 0.13), 0.18, 0.23, -120.0, 150.0)],
        ],
        6: [_arc((x, 0.14), 0.17, 0.22, 0.0, 360.0), [*_arc((x + 0.12, 0.1), 0.29, 0.46, 185.0, 272.0)]],
        8: [_arc((x, -0.19), 0.15, 0.17, 0.0, 360.0), _arc((x, 0.18), 0.18, 0.18, 0.0, 360.0)],
    }
    for line in strokes[digit]:
        face.stroke(line, width, BLACK)


def _speed(tens: int) -> Face:
    face = Face(RED)
    face.disc(0.97, RED)
    face.disc(0.74, WHITE)
    _digit(face, tens, -0.27)
    _digit(face, 0, 0.27)
    return face


def _arrow_head(face: Face, tip: Point, direction: Point, size: float, colour: Colour) -> None:
    (x, y), (dx, dy) = tip, direction
    base = (x - dx * size, y - dy * size)
    face.polygon([tip, (base[0] - dy * size * 0.7, base[1] + dx * size * 0.7),
                  (base[0] + dy * size * 0.7, base[1] - dx * size * 0.7)], colour)  # fmt: skip


def _bent_arrow(face: Face, side: int, colour: Colour, width: float) -> None:
    """An arrow that comes from below and turns to the left (side = -1) or the right (side = +1)."""
    face.stroke([(-0.22 * side, 0.5), (-0.22 * side, -0.12), (0.12 * side, -0.12)], width, colour)
    _arrow_head(face, (0.52 * side, -0.12), (side, 0.0), 0.4, colour)


def _mandatory(side: int) -> Face:
    face = Face(BLUE)
    face.disc(0.97, WHITE)
    face.disc(0.92, BLUE)
    if side == 0:
        face.stroke([(0.0, 0.55), (0.0, -0.15)], 0.22, WHITE)
        _arrow_head(face, (0.0, -0.62), (0.0, -1.0), 0.46, WHITE)
    else:
        _bent_arrow(face, side, WHITE, 0.22)
    return face


def _no_turn(side: int) -> Face:
    face = Face(RED)
    face.disc(0.97, RED)
    face.disc(0.76, WHITE)
    _bent_arrow(face, side, BLACK, 0.17)
    face.stroke([(-0.56, -0.56), (0.56, 0.56)], 0.15, RED)
    return face


def _warning(glyph: Callable[[Face], None]) -> Face:
    face = Face(RED)
    face.polygon(regular(3, 1.1, -90.0, (0.0, 0.22)), RED)
    face.polygon(regular(3, 0.72, -90.0, (0.0, 0.22)), WHITE)
    glyph(face)
    return face


def _curve(side: int) -> Callable[[Face], None]:
    def draw(face: Face) -> None:
        face.stroke([(-0.1 * side, 0.46), (-0.1 * side, 0.2), (0.06 * side, 0.02)], 0.13, BLACK)
        _arrow_head(face, (0.2 * side, -0.18), (0.6 * side, -0.8), 0.24, BLACK)

    return draw


def _crossroads(face: Face) -> None:
    face.stroke([(0.0, 0.46), (0.0, -0.18)], 0.15, BLACK)
    face.stroke([(-0.24, 0.18), (0.24, 0.18)], 0.15, BLACK)


def _side_road(face: Face) -> None:
    face.stroke([(0.0, 0.46), (0.0, -0.18)], 0.15, BLACK)
    face.stroke([(0.0, 0.18), (0.26, 0.18)], 0.13, BLACK)


def _yield() -> Face:
    face = Face(RED)
    face.polygon(regular(3, 1.1, 90.0, (0.0, -0.22)), RED)
    face.polygon(regular(3, 0.66, 90.0, (0.0, -0.22)), WHITE)
    return face


def _no_entry() -> Face:
    face = Face(RED)
    face.disc(0.97, WHITE)
    face.disc(0.93, RED)
    face.polygon([(-0.66, -0.15), (0.66, -0.15), (0.66, 0.15), (-0.66, 0.15)], WHITE)
    return face


def _priority() -> Face:
    face = Face(WHITE)
    face.polygon(regular(4, 0.98, 0.0), WHITE)
    face.polygon(regular(4, 0.93, 0.0), BLACK)
    face.polygon(regular(4, 0.9, 0.0), WHITE)
    face.polygon(regular(4, 0.6, 0.0), YELLOW)
    return face


_FACES: dict[str, Callable[[], Face]] = {
    "speed_30": lambda: _speed(3),
    "speed_50": lambda: _speed(5),
    "speed_60": lambda: _speed(6),
    "speed_80": lambda: _speed(8),
    "ahead_only": lambda: _mandatory(0),
    "left_only": lambda: _mandatory(-1),
    "right_only": lambda: _mandatory(1),
    "curve_left": lambda: _warning(_curve(-1)),
    "curve_right": lambda: _warning(_curve(1)),
    "crossroads": lambda: _warning(_crossroads),
    "side_road": lambda: _warning(_side_road),
    "no_left_turn": lambda: _no_turn(-1),
    "no_right_turn": lambda: _no_turn(1),
    "yield": _yield,
    "no_entry": _no_entry,
    "priority_road": _priority,
}


def pyramid(image: Image.Image) -> tuple[Image.Image, ...]:
    """The picture at every side of PYRAMID, area-averaged."""
    return tuple(image.resize((side, side), Image.Resampling.BOX) for side in PYRAMID)


@lru_cache(maxsize=len(CLASSES))
def sign(label: int) -> tuple[Image.Image, ...]:
    """The face of a class as RGBA pictures with the sides in PYRAMID.

    Raises:
        IndexError: `label` is not an index of CLASSES.
    """
    return pyramid(_FACES[CLASSES[label]]().image)
