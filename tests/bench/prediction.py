"""What the report and the simulator predict, beside what the real client and server then measure.

Points: 20 at random of a bundle over loopback, client and server process; the device at this machine's speed, where
event loops and other programs weigh, and 20 times slower (by processor time), where splitting pays. Predicted is what a
report shows for a link without limits: the policy's formula and `OVERHEAD_MS`, with times measured just before and
after by the code of calibration, because another hour's machine is another machine. What a request takes beside that
work (event loops, threads and sockets of both processes) is the median over all points; `OVERHEAD_MS` comes from there.
Planned is what the client expects of the point while it runs, with the speeds of device and server that it has learned.

Traces: the adaptive client, the device alone and a fixed cut over recorded links through the emulator, and the same
requests in the simulator. `CUTPOINT_BENCH_SECONDS` sets how long each link is used (default 20).
"""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from rich.console import Group
from rich.table import Table
from tests.bench._bundles import bundle_path
from tests.bench._photographs import photographs
from tests.bench._real import Run, run_for_real
from tests.bench._traces import recorded_links

from cutpoint.calibration.report.switching import OVERHEAD_MS
from cutpoint.calibration.search.measure import time_points
from cutpoint.calibration.search.points import group_by_head
from cutpoint.calibration.simulate import Scenario, simulate, summarise
from cutpoint.sdk import (
    AdaptivePolicy,
    Bundle,
    Channel,
    Client,
    Conditions,
    EnergyModel,
    Objective,
    Point,
    StaticPolicy,
)
from cutpoint.sdk.channel import MAX_RATE
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.policy import admissible
from cutpoint.sdk.predictor import Predictor
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.sdk.testing import ServerProcess

TITLE = "Predicted against measured"

_POINTS, _SECONDS, _SPEED = 20, 20.0, 20.0
#: Requests of a point in a row, of which the first ones warm up, and rounds. The least of the medians of the rounds
#: counts, as in calibration: other programs on the machine can only make a round slower.
_ROW, _WARM_UP, _ROUNDS = 11, 3, 4
#: The case that takes the belief for certain: its median.
_MEDIAN = 3


# -- points --------------------------------------------------------------------------------------------------------


def _timed(bundle: Bundle, points: list[Point], samples: list[tuple[np.ndarray[Any, Any], ...]]) -> list[Point]:
    """The points with times of this moment: another day's machine is another machine."""
    graphs = BundleGraphs(bundle, [create_runtime("onnx")])
    found = {}
    for group in group_by_head(sorted(points, key=lambda point: (point.start, point.precision or ""))):
        found |= time_points(graphs, group, samples)
    return [
        msgspec.structs.replace(
            point,
            measured=msgspec.structs.replace(
                found[point.id],
                metric=point.measured.metric,
                bytes_mean=point.measured.bytes_mean,
                bytes_p95=point.measured.bytes_p95,
            ),
        )
        for point in points
    ]


async def _loopback(
    path: Path, points: list[Point], pictures: list[Any], speed: float
) -> dict[str, tuple[float, float]]:
    """Milliseconds of each point, measured and as the client planned."""
    taken: dict[str, list[tuple[float, float]]] = {point.id: [] for point in points}
    async with (
        ServerProcess(path, "--threads", "1", "--max-batch", "1") as server,
        Client(server.url, Bundle.open(path), objective=Objective(patience=1e9), slowdown=speed) as client,
    ):
        for _ in range(_ROUNDS):
            for point in points:
                row = [await client.infer((picture,), point=point.id) for picture in pictures[:_ROW]]
                times = [(result.timing.total, result.plan.predicted_ms) for result in row[_WARM_UP:]]
                measured, planned = np.median(times, axis=0)
                taken[point.id].append((float(measured), float(planned)))
        return {name: min(values) for name, values in taken.items()}


def _least(first: Point, second: Point) -> Point:
    """A point with the lesser of two measurements of each time: other programs can only make one longer."""
    a, b = first.measured, second.measured
    names = ("device_ms", "encode_ms", "decode_ms", "tail_ms")
    times = {name: min(getattr(a, name), getattr(b, name)) for name in names}
    return msgspec.structs.replace(first, measured=msgspec.structs.replace(a, **times))


def _point_rows(path: Path, speed: float) -> tuple[list[dict[str, Any]], float]:
    """The points, and what a request takes beside its work in milliseconds."""
    bundle = Bundle.open(path)
    drawn = random.Random(1).sample([point for point in bundle.points if not point.local], _POINTS)
    pictures = photographs(bundle, 30)
    samples = [(picture,) for picture in pictures]
    before = _timed(bundle, drawn, samples)
    measured = asyncio.run(_loopback(path, drawn, pictures, speed))
    after = _timed(bundle, drawn, samples)
    answer = bundle.manifest.boundaries[-1].nbytes

    def predict(point: Point, rtt: float) -> float:
        conditions = Conditions(Channel(MAX_RATE, rtt), device_scale=speed)
        return float(Predictor([point], EnergyModel(), answer).predict(conditions).latency_ms[_MEDIAN, 0])

    now = [_least(*pair) for pair in zip(before, after, strict=True)]
    beside = float(np.median([measured[point.id][0] - predict(point, 0.0) for point in now]))
    rows = []
    for point, timed in zip(drawn, now, strict=True):
        took, planned = measured[point.id]
        predicted = predict(timed, OVERHEAD_MS / 1e3)
        rows.append(
            {
                "point": point.id,
                "measured_ms": took,
                "planned_ms": planned,
                "predicted_ms": predicted,
                "as_calibrated_ms": predict(point, OVERHEAD_MS / 1e3),
                "error": predicted / took - 1,
                "planned_error": planned / took - 1,
            }
        )
    return rows, beside


# -- traces --------------------------------------------------------------------------------------------------------


def _simulated(bundle: Bundle, points: tuple[Point, ...], local: Point, run: Run) -> float:
    scenario = Scenario(
        run.link.trace,
        run.link.rtt + run.overhead,
        device_scale=run.device_scale,
        server_scale=run.server_scale,
        period=run.period,
        requests=len(run.latency_ms),
        answer_bytes=bundle.manifest.boundaries[-1].nbytes,
        energy=EnergyModel(run.link.radio),
    )
    if run.point is None:
        policy = AdaptivePolicy(
            points,
            Objective(),
            uncut=bundle.manifest.task.uncut,
            energy=scenario.energy,
            answer_bytes=scenario.answer_bytes,
        )
        return summarise(simulate(scenario, policy, local), scenario.energy).p50_ms
    silent = replace(scenario, probe=1e9)
    return summarise(simulate(silent, StaticPolicy(run.point, local)), scenario.energy).p50_ms


def _trace_rows(path: Path, seconds: float) -> list[dict[str, Any]]:
    bundle = Bundle.open(path)
    points = admissible(bundle.points, Objective().floor(bundle.manifest.task.uncut))
    local = min((point for point in points if point.local), key=lambda point: point.measured.device_ms)
    cut = min(
        (point for point in points if point.start and not point.local), key=lambda point: point.measured.bytes_mean
    )
    picture = min((point for point in points if not point.start), key=lambda point: point.measured.bytes_mean)
    fixed = {point.id: point for point in (local, cut, picture)}
    runs = asyncio.run(run_for_real(bundle, fixed, recorded_links(), _SPEED, seconds))
    return [
        {
            "trace": run.link.name,
            "policy": "adaptive" if run.point is None else run.point.id,
            "requests": len(run.latency_ms),
            "p50_ms": float(np.median(run.latency_ms)),
            "simulated_p50_ms": _simulated(bundle, points, local, run),
            "device_scale": run.device_scale,
            "server_scale": run.server_scale,
            "overhead_ms": run.overhead * 1e3,
        }
        for run in runs
    ]


# -- both ----------------------------------------------------------------------------------------------------------


def run() -> dict[str, Any]:
    """Measures; see the module's docstring."""
    path = bundle_path("MobileNetV2")
    seconds = float(os.environ.get("CUTPOINT_BENCH_SECONDS", _SECONDS))
    points = {speed: _point_rows(path, speed) for speed in (1.0, _SPEED)}
    traces = _trace_rows(path, seconds) if seconds > 0 else []
    off = [abs(row["simulated_p50_ms"] / row["p50_ms"] - 1) for row in traces]
    return {
        "load": os.getloadavg()[0],
        "points": [
            {
                "speed": speed,
                "beside_ms": beside,
                "median_error": float(np.median([abs(row["error"]) for row in rows])),
                "median_planned_error": float(np.median([abs(row["planned_error"]) for row in rows])),
                "rows": rows,
            }
            for speed, (rows, beside) in points.items()
        ],
        "traces": traces,
        "within_a_tenth": sum(each <= 0.1 for each in off),
        "median_trace_error": float(np.median(off)) if off else None,
    }


def table(result: dict[str, Any]) -> Group:
    """Both tables."""
    columns = ("point", "measured ms", "predicted ms", "error", "planned ms", "error", "as calibrated ms")
    shown = []
    for part in result["points"]:
        title = f"Loopback, device ×{part['speed']:g}, {part['beside_ms']:.2f} ms beside the work "
        title += f"({OVERHEAD_MS} in the prediction): median error {part['median_error']:.1%}, "
        title += f"of the client's plan {part['median_planned_error']:.1%}"
        points = Table(*columns, title=title)
        for row in sorted(part["rows"], key=lambda row: str(row["point"])):
            cells = f"{row['measured_ms']:.2f}", f"{row['predicted_ms']:.2f}", f"{row['error']:+.0%}"
            cells += f"{row['planned_ms']:.2f}", f"{row['planned_error']:+.0%}", f"{row['as_calibrated_ms']:.2f}"
            points.add_row(row["point"], *cells)
        shown.append(points)
    if result["traces"]:
        title = f"Traces: {result['within_a_tenth']} of {len(result['traces'])} within 10 % at p50"
        traces = Table("trace", "policy", "n", "p50 ms", "simulated", "error", title=title)
        for row in result["traces"]:
            error = row["simulated_p50_ms"] / row["p50_ms"] - 1
            cells = str(row["requests"]), f"{row['p50_ms']:.0f}", f"{row['simulated_p50_ms']:.0f}", f"{error:+.0%}"
            traces.add_row(row["trace"], row["policy"], *cells)
        shown.append(traces)
    return Group(*shown)
