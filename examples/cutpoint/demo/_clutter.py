"""What stands about in a street and draws the eye away: trees, parked cars, people, plates that are no class.

All are flat cards that face the camera, kept as small pyramids of RGBA pictures and drawn once per process.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from cutpoint.demo._signs import BLACK, BLUE, RED, WHITE, YELLOW, Face, pyramid, regular
from cutpoint.demo._textures import fractal

CARS = 12
PLATES = 20
PEOPLE = 8
TREES = 8


@lru_cache(maxsize=CARS)
def car(which: int) -> tuple[Image.Image, ...]:
    """A car from behind or from the front, about 1.8 m wide and high with its shadow."""
    rng = np.random.default_rng((0xCA2, which))
    body = tuple(int(v) for v in rng.integers(0, 120, 3) * 0.6 + rng.integers(10, 160))
    dark = tuple(v // 2 for v in body)
    image = Image.new("RGBA", (256, 256), (20, 20, 22, 0))
    draw = ImageDraw.Draw(image)
    roof = int(rng.integers(62, 96))
    draw.ellipse((6, 222, 250, 252), fill=(18, 18, 20, 200))
    for x in (24, 196):
        draw.rectangle((x, 190, x + 36, 246), fill=(16, 16, 18, 255))
    draw.polygon([(54, roof), (202, roof), (238, 148), (18, 148)], fill=(*dark, 255))
    draw.polygon([(64, roof + 10), (192, roof + 10), (218, 142), (38, 142)], fill=(52, 62, 72, 255))
    draw.polygon([(64, roof + 10), (120, roof + 10), (86, 142), (38, 142)], fill=(96, 110, 120, 255))
    draw.rounded_rectangle((10, 140, 246, 222), 18, fill=(*body, 255))
    draw.rectangle((12, 196, 244, 216), fill=(*dark, 255))
    lamp = (188, 24, 26, 255) if rng.random() < 0.6 else (236, 232, 210, 255)
    for x in (18, 198):
        draw.rounded_rectangle((x, 154, x + 40, 176), 6, fill=lamp)
    draw.rectangle((98, 178, 158, 194), fill=(228, 226, 214, 255))
    draw.line((104, 186, 152, 186), fill=(30, 30, 34, 255), width=7)
    return pyramid(image)


@lru_cache(maxsize=PEOPLE)
def person(which: int) -> tuple[Image.Image, ...]:
    """A standing person, 1.75 units high in a square card."""
    rng = np.random.default_rng((0x9E0, which))
    coat, legs = (tuple(int(v) for v in rng.integers(0, 70, 3) + rng.integers(20, 130)) for _ in range(2))
    image = Image.new("RGBA", (256, 256), (60, 50, 46, 0))
    draw = ImageDraw.Draw(image)
    lean = int(rng.integers(-16, 17))
    draw.line((120, 140, 108 + lean, 252), fill=(*legs, 255), width=22)
    draw.line((136, 140, 146 - lean, 252), fill=(*legs, 255), width=22)
    draw.rounded_rectangle((98, 48, 158, 156), 22, fill=(*coat, 255))
    draw.line((102, 66, 92 - lean // 2, 140), fill=(*coat, 255), width=17)
    draw.line((154, 66, 164 - lean // 2, 140), fill=(*coat, 255), width=17)
    draw.ellipse((110, 8, 146, 50), fill=(196, 156, 130, 255))
    draw.pieslice((108, 4, 148, 48), 180, 360, fill=(50, 40, 34, 255))
    return pyramid(image)


@lru_cache(maxsize=TREES)
def tree(which: int) -> tuple[Image.Image, ...]:
    """A tree in a square card: a trunk and a ragged crown with holes."""
    rng = np.random.default_rng((0x72EE, which))
    at = (np.arange(256, dtype=np.float32) - 127.5) / 127.5
    x, y = at[None, :], at[:, None]
    leaf = fractal(4 + (which & 3))[:256, 256:512]
    blob = fractal((which + 1) & 3)[256:512, :256]
    crown = (x / 0.82) ** 2 + ((y + 0.3) / 0.6) ** 2 + 0.2 * blob + 0.1 * leaf < 0.92
    green = (
        np.array([74, 84, 40], np.float32)
        * np.float32(rng.uniform(0.6, 1.3))
        * rng.uniform(0.9, 1.1, 3).astype(np.float32)
    )
    tone = np.clip(1.0 + 0.45 * leaf - 0.35 * (y + 0.3), 0.1, 2.0)
    rgba = np.zeros((256, 256, 4), np.float32)
    rgba[:, :, :3] = green * tone[:, :, None]
    trunk = (np.abs(x + 0.02 * blob) < 0.06) & (y > -0.2) & ~crown
    rgba[trunk, :3] = np.array([84, 70, 56], np.float32) * (1.0 + 0.25 * leaf[trunk])[:, None]
    rgba[:, :, 3] = 255.0 * (crown | trunk)
    return pyramid(Image.fromarray(np.clip(rgba, 0, 255).astype(np.uint8), "RGBA"))


@lru_cache(maxsize=PLATES)
def plate(which: int) -> tuple[Image.Image, ...]:
    """A plate that resembles a sign and is none of the classes."""
    rng = np.random.default_rng((0x91A7E, which))
    kind = which % 10
    face = Face(WHITE)
    if kind == 0:
        face.disc(0.95, (150, 152, 150))  # the back of a sign
    elif kind == 1:
        face.polygon([(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)], BLUE)
        face.polygon([(-0.3, -0.5), (0.3, -0.5), (0.3, 0.5), (-0.3, 0.5)], WHITE)
    elif kind == 2:
        face.polygon([(-0.95, -0.5), (0.95, -0.5), (0.95, 0.5), (-0.95, 0.5)], WHITE)
        for y in (-0.25, 0.0, 0.25):
            end = float(rng.uniform(0.2, 0.8))
            face.stroke([(-0.75, y), (end, y)], 0.09, BLACK)
    elif kind == 3:
        face.polygon([(-0.95, -0.45), (0.95, -0.45), (0.95, 0.45), (-0.95, 0.45)], YELLOW)
        for x in rng.uniform(-0.7, 0.7, 6):
            face.stroke([(float(x), -0.2), (float(x) + 0.08, 0.2)], 0.1, BLACK)
    elif kind == 4:
        face.disc(0.95, RED)
        face.disc(0.72, WHITE)  # closed to all traffic: an empty ring
    elif kind == 5:
        face.disc(0.95, BLUE)
        face.disc(0.3, WHITE)
    elif kind == 6:
        face.polygon([(-0.92, -0.92), (0.92, -0.92), (0.92, 0.92), (-0.92, 0.92)], (214, 208, 190))
        for _ in range(14):
            corner = rng.uniform(-0.9, 0.7, 2)
            side = rng.uniform(0.1, 0.7, 2)
            x0, y0, x1, y1 = corner[0], corner[1], min(corner[0] + side[0], 0.9), min(corner[1] + side[1], 0.9)
            colour = (int(rng.integers(256)), int(rng.integers(256)), int(rng.integers(256)))
            face.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour)
    elif kind == 7:
        face.polygon(regular(8, 0.95, 22.5), (170, 172, 170))
    elif kind == 8:
        face.polygon([(-0.3, -0.95), (0.3, -0.95), (0.3, 0.95), (-0.3, 0.95)], (30, 34, 32))
        for y, colour in ((-0.6, RED), (0.0, (60, 50, 20)), (0.6, (20, 60, 40))):
            face.disc(0.22, colour, (0.0, y))
    else:
        face.polygon(regular(4, 1.2, 45.0), RED)
        for x in (-0.5, 0.0, 0.5):
            face.polygon([(x - 0.3, 0.8), (x, 0.8), (x + 0.25, -0.8), (x - 0.05, -0.8)], WHITE)
    return pyramid(face.image)
