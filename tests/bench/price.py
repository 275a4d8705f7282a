"""Eight real clients of one overloaded server, who follow its price, beside eight who are told that it is 0.

Devices, links and workers are slowed down by waiting, so that they do not take the processor from each other; all else
is real: sockets, server processes, policies, estimators, graphs. The two crowds run at the same time, each on a server
of its own. Beside them, the same crowds simulated. `offered` is the work of all if everybody sent his pictures,
relative to what the worker can do.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import as_file, files
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.table import Column, Table
from tests.bench._clients import Answer, Outing, Phone, go_out

from cutpoint.calibration.allocation import Crowd
from cutpoint.calibration.simulate import Outcome, Scenario, ServerScenario
from cutpoint.sdk import Bundle, Objective, Point
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.head import Head
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.sdk.tail import Tail
from cutpoint.sdk.testing import ServerProcess, Trace

TITLE = "Eight clients, one server: with its price and without"

_RULES = ("price", "price-blind")
_USERS = 8
_SECONDS = 75.0
#: Runs that tell how long a computation takes here, and seconds before each.
_RUNS = 10
_PAUSE = 0.3
#: Until users and price have settled.
_SETTLE = 15.0


@dataclass(frozen=True)
class _Case:
    """A crowd.

    Attributes:
        alone_ms: what the fastest and the slowest device need for the whole network; the others lie between them.
        period: seconds between requests of each.
        tail_ms: of the whole network, on the server.
        random: whether requests come at random times, and that is the mean between them.
        uplink: bit/s.
        rtt: seconds.
    """

    alone_ms: tuple[float, float]
    period: float
    tail_ms: float
    random: bool = False
    uplink: float = 3e7
    rtt: float = 0.01


_CASES = (
    # Twice what the server can do, from devices of which the slowest cannot do it alone either.
    _Case((280, 3000), 1.8, 450),
    _Case((280, 3000), 1.8, 450, random=True),
    # Less, and from devices that differ less.
    _Case((280, 1500), 2.4, 450),
    _Case((280, 1500), 2.4, 450, random=True),
    _Case((180, 870), 2.2, 360),
    _Case((250, 660), 1.44, 310),
)


def _local(bundle: Bundle) -> Point:
    """The fastest way without the server."""
    return min((point for point in bundle.points if point.local), key=lambda point: point.measured.device_ms)


def _whole(bundle: Bundle) -> Point:
    """The cheapest way to have the server compute the whole network."""
    ways = (point for point in bundle.points if not point.local and point.start == point.end == 0)
    return min(ways, key=lambda point: point.measured.decode_ms + point.measured.tail_ms)


def _scenarios(case: _Case, bundle: Bundle) -> list[Scenario]:
    local = _local(bundle).measured.device_ms
    return [
        Scenario(
            Trace.constant(case.uplink),
            case.rtt,
            device_scale=alone / local,
            period=case.period,
            poisson=case.random,
            requests=int(_SECONDS / case.period),
            begin=case.period * number / _USERS,
            answer_bytes=bundle.manifest.boundaries[-1].nbytes,
            seed=number,
        )
        for number, alone in enumerate(np.geomspace(*case.alone_ms, _USERS).tolist())
    ]


def _figures(each: Sequence[Sequence[tuple[float, float, str, bool]]]) -> dict[str, Any]:
    """Of requests of each user: (seconds when due, milliseconds, point, whether the server answered)."""
    settled = [[ms for at, ms, _, _ in its if at >= _SETTLE] for its in each]
    every = [ms for its in settled for ms in its]
    return {
        "p50_ms": float(np.percentile(every, 50)),
        "p95_ms": float(np.percentile(every, 95)),
        "mean_ms": float(np.mean(every)),
        "users_p95_ms": [float(np.percentile(its, 95)) for its in settled],
        "edge": float(np.mean([edge for its in each for *_, edge in its])),
        "points": dict(Counter(point for its in each for _, _, point, _ in its).most_common()),
    }


def _typical_ms(run: Callable[[], object]) -> float:
    """Processor time, each time after a pause as between requests: caches are cold then."""
    times = []
    for _ in range(_RUNS):
        time.sleep(_PAUSE)
        began = time.thread_time()
        run()
        times.append(time.thread_time() - began)
    return median(times) * 1e3


def _here_ms(bundle: Bundle) -> tuple[float, float]:
    """What this machine needs now for the whole network, as device and as server."""
    graphs = BundleGraphs(bundle, [create_runtime("onnx")])
    head, tail = Head(graphs), Tail(graphs).graph(_whole(bundle))
    zeros = head.zeros()
    return _typical_ms(lambda: head.run(_local(bundle), zeros)), _typical_ms(lambda: tail.run(zeros))


async def _really(
    rule: str, scenarios: Sequence[Scenario], path: Path, slowdowns: tuple[float, float]
) -> dict[str, Any]:
    """Args: slowdowns of a device whose scale is 1, and of the server."""
    device, server = slowdowns
    phones = [Phone(s.due().tolist(), s.device_scale * device, s.uplink.mean, s.rtt, rule) for s in scenarios]
    async with ServerProcess(path, "--slowdown", str(server), "--threads", "1", "--max-batch", "1") as process:
        each: list[list[Answer]] = await go_out(Outing(process.url, str(path), phones))
    lost = sum(len(phone.due) for phone in phones) - sum(map(len, each))
    return _figures([[(a.at, a.latency_ms, a.point, a.source == "edge") for a in its] for its in each]) | {"lost": lost}


def _simulated(crowd: Crowd, rule: str) -> dict[str, Any]:
    outcomes: list[list[Outcome]] = crowd.run(rule).outcomes
    return _figures([[(o.at, o.latency_ms, o.point.id, not o.point.local) for o in its] for its in outcomes])


async def _case(case: _Case, path: Path) -> dict[str, Any]:
    bundle = await asyncio.to_thread(Bundle.open, path)
    device_ms, server_ms = await asyncio.to_thread(_here_ms, bundle)
    slowdowns = _local(bundle).measured.device_ms / device_ms, case.tail_ms / server_ms
    scenarios = _scenarios(case, bundle)
    found = await asyncio.gather(*(_really(rule, scenarios, path, slowdowns) for rule in _RULES))
    whole = _whole(bundle).measured
    server = ServerScenario(1, case.tail_ms / (whole.decode_ms + whole.tail_ms))
    crowd = Crowd(bundle, scenarios, [Objective()] * _USERS, server)
    return asdict(case) | {
        "offered": _USERS / case.period * case.tail_ms / 1e3,
        "real": dict(zip(_RULES, found, strict=True)),
        "simulated": {rule: _simulated(crowd, rule) for rule in (*_RULES, "central")},
    }


async def _run() -> dict[str, Any]:
    with as_file(files("cutpoint.demo").joinpath("scenes.cutpoint")) as path:
        return {"cases": [await _case(case, path) for case in _CASES]}


def run() -> dict[str, Any]:
    """Measures; see the module's docstring."""
    return asyncio.run(_run())


def table(result: dict[str, Any]) -> Table:
    """A section for each crowd; `worst` is the highest p95 of a user."""
    figures = ("p50 ms", "p95 ms", "to blind", "mean", "worst", "edge", "lost")
    rows = Table(Column("crowd", no_wrap=True), Column("rule", no_wrap=True), *figures)
    for case in result["cases"]:
        rows.add_section()
        low, high = case["alone_ms"]
        times = "at random" if case["random"] else "regular"
        crowd = f"{low:.0f}–{high:.0f} ms alone", f"every {case['period']} s", times, f"{case['offered']:.1f} offered"
        for line in crowd:
            rows.add_row(f"[bold]{line}")
        for kind in ("real", "simulated"):
            for rule, its in case[kind].items():
                ratio = its["p95_ms"] / case[kind]["price-blind"]["p95_ms"]
                shown = [
                    f"{its['p50_ms']:.0f}",
                    f"{its['p95_ms']:.0f}",
                    f"{ratio:.2f}",
                    f"{its['mean_ms']:.0f}",
                ]
                shown += [f"{max(its['users_p95_ms']):.0f}", f"{its['edge']:.0%}", str(its.get("lost", ""))]
                rows.add_row(kind, rule, *shown)
    return rows
