"""Line plots with a logarithmic horizontal axis as small SVG files."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import ceil, floor, log10
from typing import NamedTuple

__all__ = ["Curve", "draw"]

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _LEGEND = 560, 400, 60, 40, 50, 230
_COLOURS = ("#777777", "#bbaa00", "#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b")
_LOWEST = -15.0


class Curve(NamedTuple):
    """A named line through points (x > 0, y)."""

    name: str
    points: list[tuple[float, float]]
    dashed: bool


def draw(panels: Sequence[tuple[str, Sequence[Curve]]], x_title: str, y_title: str) -> str:
    """An SVG with one panel above the other; y from -15 to 2.

    Args:
        panels: title and curves of each.
        x_title: of the horizontal axes.
        y_title: of the vertical axes.
    """
    height = _HEIGHT * len(panels)
    body = [_panel(title, curves, x_title, y_title, _HEIGHT * i) for i, (title, curves) in enumerate(panels)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH + _LEGEND} {height}" '
        f'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def _panel(title: str, curves: Sequence[Curve], x_title: str, y_title: str, offset: int) -> str:
    sizes = [x for curve in curves for x, _ in curve.points]
    low, high = log10(min(sizes)) - 0.05, log10(max(sizes)) + 0.05
    bottom = _HEIGHT - _BOTTOM

    def x_of(value: float) -> float:
        return round(_LEFT + (log10(value) - low) / (high - low) * (_WIDTH - _LEFT - 20), 1)

    def y_of(value: float) -> float:
        return round(_TOP + (2 - max(value, _LOWEST)) / (2 - _LOWEST) * (bottom - _TOP), 1)

    parts = [f'<g transform="translate(0 {offset})"><text x="{_LEFT}" y="24" font-weight="bold">{escape(title)}</text>']
    ticks = [m * 10**e for e in range(floor(low), ceil(high) + 1) for m in (1, 2, 5)]
    for tick in (tick for tick in ticks if low <= log10(tick) <= high):
        x = x_of(tick)
        parts.append(f'<path d="M{x} {_TOP}V{bottom}" stroke="#eeeeee"/>')
        parts.append(f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{tick:,}</text>')
    for tick in (0, -1, -2, -5, -10, -15):
        y = y_of(tick)
        parts.append(f'<path d="M{_LEFT} {y}H{_WIDTH - 20}" stroke="{"#999999" if tick == 0 else "#eeeeee"}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{tick}</text>')
    parts.append(f'<text x="{(_LEFT + _WIDTH) // 2}" y="{bottom + 36}" text-anchor="middle">{escape(x_title)}</text>')
    middle = (_TOP + bottom) // 2
    parts.append(f'<text transform="translate(16 {middle}) rotate(-90)" text-anchor="middle">{escape(y_title)}</text>')
    for number, curve in enumerate(curves):
        colour = _COLOURS[number % len(_COLOURS)]
        dash = ' stroke-dasharray="5 3"' if curve.dashed else ""
        shown = [(x, y) for x, y in curve.points if y >= _LOWEST]
        line = " ".join(f"{x_of(x)},{y_of(y)}" for x, y in shown)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        parts += [f'<circle cx="{x_of(x)}" cy="{y_of(y)}" r="3" fill="{colour}"/>' for x, y in shown]
        y = _TOP + 18 * number
        parts.append(f'<path d="M{_WIDTH} {y}h24" stroke="{colour}" stroke-width="2"{dash}/>')
        parts.append(f'<text x="{_WIDTH + 30}" y="{y + 4}">{escape(curve.name)}</text>')
    parts.append("</g>")
    return "\n".join(parts)
