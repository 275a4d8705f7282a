"""The demonstration's HTML report: one self-contained file with plots and pictures."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from PIL import Image

from cutpoint.demo.run import ChannelRun
from cutpoint.demo.scenes import CLASSES, Scene
from cutpoint.sdk.files import write_file

__all__ = ["write_report"]

_COLOURS = ("#0b6e4f", "#6c757d", "#c1666b", "#3d5a80")
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 860, 240, 56, 28
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:900px;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:.5rem 0 1rem;width:100%}
th,td{text-align:right;padding:.25rem .6rem;border-bottom:1px solid #ddd}
th:first-child,td:first-child,th:last-child{text-align:left} .points{font-size:12px;color:#555;text-align:left}
svg{width:100%;height:auto;background:#fafafa} figure{display:inline-block;margin:4px;text-align:center;font-size:12px}
.key{display:inline-block;width:.8em;height:.8em;margin:0 .3em 0 1em}
"""


def _plot(run: ChannelRun) -> str:
    """Latency of every request over time (logarithmic), above the link's rate."""
    low, high = 5.0, 10.0
    for each in run.runs:
        high = max([high, *(1.3 * request.latency_ms for request in each.requests)])

    def x(at: float) -> float:
        return _LEFT + (_WIDTH - _LEFT) * at / run.seconds

    def y(latency: float) -> float:
        share = math.log(max(latency, low) / low) / math.log(high / low)
        return (_HEIGHT - _BOTTOM) * (1 - share)

    trace = run.channel.trace
    peak = max(trace.rates)
    floor = _HEIGHT - _BOTTOM
    outline = [f"{x(0):.1f},{floor}"]
    for i in range(round(run.seconds / trace.step)):
        top = floor - 0.3 * floor * trace.rates[i % len(trace.rates)] / peak
        outline += [f"{x(i * trace.step):.1f},{top:.1f}", f"{x((i + 1) * trace.step):.1f},{top:.1f}"]
    outline.append(f"{x(run.seconds):.1f},{floor}")
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="latency on {escape(run.channel.name)}">',
        f'<polygon points="{" ".join(outline)}" fill="#dfe7ef"/>',
    ]
    for tick in (10, 30, 100, 300, 1000, 3000, 10000):
        if low <= tick <= high:
            parts.append(
                f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="#e3e3e3"/>'
                f'<text x="{_LEFT - 6}" y="{y(tick) + 4:.1f}" font-size="11" text-anchor="end">{tick} ms</text>'
            )
    for each, colour in zip(run.runs, _COLOURS, strict=True):
        for request in each.requests:
            shape = f'cx="{x(request.at):.1f}" cy="{y(request.latency_ms):.1f}" r="3"'
            fill = colour if request.correct is not None else "none"
            what = escape(f"{each.strategy.name}: {request.latency_ms:.0f} ms, {request.point or request.source}")
            parts.append(f'<circle {shape} fill="{fill}" stroke="{colour}"><title>{what}</title></circle>')
    parts.append(
        f'<text x="{_LEFT}" y="{_HEIGHT - 8}" font-size="11">0 s; shaded: the link, up to {peak / 1e6:.1f} Mbit/s'
        f'</text><text x="{_WIDTH}" y="{_HEIGHT - 8}" font-size="11" text-anchor="end">{run.seconds:.0f} s</text></svg>'
    )
    return "".join(parts)


def _table(run: ChannelRun) -> str:
    head = "<tr><th>strategy<th>answered<th>p50 ms<th>p95 ms<th>bytes<th>accuracy<th>energy mJ<th>points</tr>"
    rows = []
    for each, colour in zip(run.runs, _COLOURS, strict=True):
        summary = each.summary()
        points = summary["points"]
        assert isinstance(points, dict)
        used = ", ".join(f"{escape(name)} ×{count}" for name, count in sorted(points.items(), key=lambda i: -i[1]))
        rows.append(
            f'<tr><td><span class="key" style="background:{colour};margin-left:0"></span>{escape(each.strategy.name)}'
            f"<td>{summary['answered']}/{summary['requests']}<td>{summary['p50_ms']:.0f}<td>{summary['p95_ms']:.0f}"
            f"<td>{summary['bytes_mean']:,.0f}<td>{summary['accuracy']:.1%}<td>{summary['energy_mj']:.0f}"
            f'<td class="points">{used}</tr>'
        )
    return f"<table>{head}{''.join(rows)}</table>"


def _picture(scene: Scene) -> str:
    buffer = io.BytesIO()
    Image.fromarray(scene.image).save(buffer, "WEBP", quality=80)
    data = base64.b64encode(buffer.getvalue()).decode()
    label = escape(CLASSES[scene.label])
    return f'<figure><img width="128" src="data:image/webp;base64,{data}" alt="{label}"><br>{label}</figure>'


def write_report(
    path: Path, runs: Sequence[ChannelRun], scenes: Sequence[Scene], *, slowdown: float, version: str
) -> None:
    """Writes the report; `path` is whole or not there.

    Args:
        path: of the HTML file.
        runs: the channels.
        scenes: the pictures that were used; the first few are shown.
        slowdown: of the emulated device.
        version: of cutpoint.
    """
    sections = "".join(f"<h2>{escape(run.channel.name)}</h2>{_plot(run)}{_table(run)}" for run in runs)
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>cutpoint demo</title>'
        f"<style>{_STYLE}</style><h1>cutpoint demo</h1>"
        f"<p>cutpoint {escape(version)}. The device is emulated, {slowdown:g}× slower than a core of the machine that "
        "ran this, and so are the links; server, client, sockets and pictures are real. Each dot is a request, plotted "
        "when it was due; a hollow one was not answered. Energy is an estimate from published constants.</p>"
        f"{sections}<h2>Pictures</h2>{''.join(_picture(scene) for scene in scenes[:12])}</html>"
    )
    write_file(path, page.encode())
