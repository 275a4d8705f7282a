"""A link's rate and what requests over it took, as a small SVG file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import log10
from typing import NamedTuple

from cutpoint.sdk.testing import Trace

__all__ = ["Series", "draw_timeline"]

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 900, 320, 56, 40, 40
_COLOURS = ("#d62728", "#777777", "#1f77b4", "#2ca02c")
_LOW, _HIGH = 30.0, 10_000.0


class Series(NamedTuple):
    """Latencies of a policy: (seconds, milliseconds)."""

    name: str
    points: Sequence[tuple[float, float]]


def draw_timeline(title: str, trace: Trace, seconds: float, series: Sequence[Series]) -> str:
    """An SVG: rate as an area below, latencies as dots on a logarithmic axis."""
    floor = _HEIGHT - _BOTTOM
    peak = max(trace.rate(i * trace.step) for i in range(int(seconds / trace.step))) / 1e6

    def x(at: float) -> float:
        return round(_LEFT + (_WIDTH - _LEFT - 12) * at / seconds, 1)

    def y(latency: float) -> float:
        share = log10(min(_HIGH, max(_LOW, latency)) / _LOW) / log10(_HIGH / _LOW)
        return round(floor - (floor - _TOP) * share, 1)

    outline = [f"{x(0)},{floor}"]
    for i in range(int(seconds / trace.step)):
        top = round(floor - 0.45 * (floor - _TOP) * trace.rate(i * trace.step) / 1e6 / peak, 1)
        outline += [f"{x(i * trace.step)},{top}", f"{x((i + 1) * trace.step)},{top}"]
    outline.append(f"{x(seconds)},{floor}")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="12"><rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_LEFT}" y="18" font-weight="bold">{escape(title)}</text>',
        f'<polygon points="{" ".join(outline)}" fill="#dfe7ef"/>',
    ]
    for tick in (50, 100, 200, 500, 1000, 2000, 5000, 10_000):
        parts.append(f'<path d="M{_LEFT} {y(tick)}H{_WIDTH - 12}" stroke="#e8e8e8"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(tick) + 4}" text-anchor="end">{tick:,}</text>')
    for number, (name, points) in enumerate(series):
        colour = _COLOURS[number % len(_COLOURS)]
        radius = 3 if number == 0 else 2
        parts += [
            f'<circle cx="{x(at)}" cy="{y(ms)}" r="{radius}" fill="{colour}"/>' for at, ms in points if at <= seconds
        ]
        left = _LEFT + 190 * number
        parts.append(f'<circle cx="{left + 6}" cy="31" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{left + 16}" y="35">{escape(name)}</text>')
    parts.append(
        f'<text x="{_LEFT}" y="{_HEIGHT - 12}">0 s; dots: milliseconds; shaded: uplink, up to {peak:.0f} Mbit/s</text>'
        f'<text x="{_WIDTH - 12}" y="{_HEIGHT - 12}" text-anchor="end">{seconds:g} s</text></svg>'
    )
    return "\n".join(parts) + "\n"
