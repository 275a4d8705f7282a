"""Eight real clients of one overloaded server, who follow its price, beside eight who are told that it is 0.

Devices, links and workers are slowed down by waiting, so that they do not take the processor from each other; all else
is real: sockets, server processes, policies, estimators, graphs. The two crowds run at the same time, each on a server
of its own. Beside them, the same crowds simulated. `offered` is the work of all if everybody sent his pictures,
relative to what the worker can do.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Column, Table
from tests.bench._clients import Answer, Outing, Phone, go_out
from tests.bench._slow_server import slow_server

from cutpoint.calibration.allocation import Crowd
from cutpoint.calibration.simulate import Outcome, Scenario, ServerScenario
from cutpoint.sdk import Bundle, Objective
from cutpoint.sdk.testing import Trace

TITLE = "Eight clients, one server: with its price and without"

_RULES = ("price", "price-blind")
_USERS = 8
_SECONDS = 75.0
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
    _Case((280, 1500), 2.4, 450),
    _Case((250, 660), 1.44, 310),
    _Case((180, 870), 2.2, 360),
    _Case((280, 1500), 2.4, 450, random=True),
)


def _scenarios(case: _Case, bundle: Bundle) -> list[Scenario]:
    local = min(point.measured.device_ms for point in bundle.points if point.local)
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


async def _really(case: _Case, rule: str, scenarios: Sequence[Scenario], path: Path, slowdown: float) -> dict[str, Any]:
    phones = [Phone(s.due().tolist(), s.device_scale, s.uplink.mean, s.rtt, rule) for s in scenarios]
    async with slow_server(path, slowdown, "--threads", "1", "--max-batch", "1") as server:
        each: list[list[Answer]] = await go_out(Outing(server.url, str(path), phones))
    lost = sum(len(phone.due) for phone in phones) - sum(map(len, each))
    return _figures([[(a.at, a.latency_ms, a.point, a.source == "edge") for a in its] for its in each]) | {"lost": lost}


def _simulated(crowd: Crowd, rule: str) -> dict[str, Any]:
    outcomes: list[list[Outcome]] = crowd.run(rule).outcomes
    return _figures([[(o.at, o.latency_ms, o.point.id, not o.point.local) for o in its] for its in outcomes])


async def _case(case: _Case, path: Path) -> dict[str, Any]:
    bundle = await asyncio.to_thread(Bundle.open, path)
    whole = min(
        p.measured.decode_ms + p.measured.tail_ms for p in bundle.points if not p.local and p.start == p.end == 0
    )
    slowdown = case.tail_ms / whole
    scenarios = _scenarios(case, bundle)
    found = await asyncio.gather(*(_really(case, rule, scenarios, path, slowdown) for rule in _RULES))
    crowd = Crowd(bundle, scenarios, [Objective()] * _USERS, ServerScenario(1, slowdown))
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
