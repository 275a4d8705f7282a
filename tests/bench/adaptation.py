"""Adaptive against every fixed point, rules from the literature, and somebody who knows the future, on recorded links.

MobileNetV2 and DeiT-tiny, accuracy floor one point, devices 5, 20 and 60 times slower than a core here, eight recorded
uplinks. All policies run in the simulator over 400 requests a trace; the adaptive one, the device alone and the best
fixed points also run for real: client, server process, photographs, link emulator. Both in one table, so that it shows
how far the simulator can be believed.

Draws `docs/adaptation.svg`. Needs the shared data. `CUTPOINT_BENCH_SECONDS` sets how long each link is used for real
(default 15; 0: not at all).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Group
from rich.table import Table
from tests.bench._bundles import NETWORKS, bundle_path
from tests.bench._real import Run, run_for_real
from tests.bench._timeline import Series, draw_timeline
from tests.bench._traces import Recorded, recorded_links

from cutpoint.calibration.simulate import (
    ArgminPolicy,
    BottleneckPolicy,
    Outcome,
    Scenario,
    oracle,
    place,
    simulate,
    summarise,
)
from cutpoint.sdk import AdaptivePolicy, Bundle, EnergyModel, Objective, Point, StaticPolicy
from cutpoint.sdk.policy import admissible, efficient

TITLE = "Adaptive against fixed points and an oracle on recorded links"

_SPEEDS = (5.0, 20.0, 60.0)
_REQUESTS = 400
_SECONDS = 15.0
_ENERGY = Objective.preset("energy")
#: What the plot shows.
_DRAWN, _DRAWN_SECONDS = "ATT-LTE-driving-2016", 90.0
_PLOT = Path(__file__).parents[2] / "docs" / "adaptation.svg"
Outcomes = list[list[Outcome]]


class _Case(NamedTuple):
    """A network on a device."""

    name: str
    bundle: Bundle
    points: tuple[Point, ...]
    local: Point
    speed: float

    def scenario(self, link: Recorded, requests: int, probe: float = 1.0) -> Scenario:
        alone_s = self.local.measured.device_ms * self.speed / 1e3
        return Scenario(
            link.trace,
            link.rtt,
            device_scale=self.speed,
            period=max(0.5, 1.4 * alone_s),
            requests=requests,
            probe=probe,
            answer_bytes=self.bundle.manifest.boundaries[-1].nbytes,
            energy=EnergyModel(link.radio),
        )

    def adaptive(self, scenario: Scenario, objective: Objective) -> list[Outcome]:
        uncut = self.bundle.manifest.task.uncut
        policy = AdaptivePolicy(
            self.points, objective, uncut=uncut, energy=scenario.energy, answer_bytes=scenario.answer_bytes
        )
        return simulate(scenario, policy, self.local)


def _cases() -> list[_Case]:
    cases = []
    for name in NETWORKS:
        bundle = Bundle.open(bundle_path(name))
        points = admissible(bundle.points, Objective().floor(bundle.manifest.task.uncut))
        local = min((point for point in points if point.local), key=lambda point: point.measured.device_ms)
        cases += [_Case(name, bundle, points, local, speed) for speed in _SPEEDS]
    return cases


# -- simulated ---------------------------------------------------------------------------------------------------


def _pooled(outcomes: Outcomes) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([outcome.latency_ms for trace in outcomes for outcome in trace])


def _figures(outcomes: Outcomes, links: Sequence[Recorded]) -> dict[str, Any]:
    latency = _pooled(outcomes)
    energy = [summarise(trace, EnergyModel(link.radio)).energy_mj for trace, link in zip(outcomes, links, strict=True)]
    return {
        "p50_ms": float(np.median(latency)),
        "p95_ms": float(np.percentile(latency, 95)),
        "mean_ms": float(latency.mean()),
        "energy_mj": float(np.mean(energy)),
    }


def _simulated(case: _Case, links: Sequence[Recorded]) -> dict[str, Any]:
    fixed = efficient(case.points, by_metric=False)
    scenarios = [case.scenario(link, _REQUESTS) for link in links]
    # A fixed point needs no probes, and does not pay for them.
    silent = [replace(scenario, probe=1e9) for scenario in scenarios]
    thrifty = [replace(scenario, thrifty=_ENERGY.thrifty) for scenario in scenarios]
    runs: dict[str, Outcomes] = {
        "adaptive": [case.adaptive(scenario, Objective()) for scenario in scenarios],
        "oracle": [oracle(scenario, fixed, Objective()) for scenario in scenarios],
        "argmin": [simulate(scenario, ArgminPolicy(case.points)) for scenario in scenarios],
        "bottleneck": [simulate(scenario, BottleneckPolicy(case.bundle, case.points)) for scenario in scenarios],
        "adaptive, energy": [case.adaptive(scenario, _ENERGY) for scenario in thrifty],
        "oracle, energy": [oracle(scenario, fixed, _ENERGY) for scenario in silent],
    }
    for point in fixed:
        runs[point.id] = [simulate(scenario, StaticPolicy(point, case.local)) for scenario in silent]
    figures = {name: _figures(outcomes, links) for name, outcomes in runs.items()}
    names = [point.id for point in fixed]
    best = {key: min(names, key=lambda name: figures[name][key]) for key in ("p50_ms", "p95_ms", "mean_ms")}
    cuts = [point.id for point in fixed if point.start > 0 and not point.local]
    pictures = [point.id for point in fixed if point.start == 0]
    frugal = {
        kind: min(group, key=lambda name: figures[name]["energy_mj"])
        for kind, group in (("cut", cuts), ("picture", pictures))
        if group
    }
    alone = np.array([outcome.latency_ms for trace in runs[case.local.id] for outcome in trace])
    alone = alone.reshape(len(links), -1).mean(axis=1)
    own = np.array([[outcome.latency_ms for outcome in trace] for trace in runs["adaptive"]]).mean(axis=1)
    knowing = np.array([[outcome.latency_ms for outcome in trace] for trace in runs["oracle"]]).mean(axis=1)
    return {
        "network": case.name,
        "speed": case.speed,
        "alone_ms": float(alone[0]),
        "figures": figures,
        "best": best,
        "frugal": frugal,
        "traces": [
            {
                "trace": link.name,
                "adaptive": summarise(trace, EnergyModel(link.radio)).as_json(),
                "oracle_mean_ms": float(knowing[number]),
                "device_mean_ms": float(alone[number]),
            }
            for number, (link, trace) in enumerate(zip(links, runs["adaptive"], strict=True))
        ],
        "worst_against_device": float((own / alone).max()),
    }


# -- for real ----------------------------------------------------------------------------------------------------


async def _real(
    case: _Case, links: Sequence[Recorded], simulated: dict[str, Any], seconds: float
) -> list[dict[str, Any]]:
    """A row for each link and strategy, beside what the simulator says of the same seconds."""
    by_id = {point.id: point for point in case.points}
    fixed = {name: by_id[name] for name in dict.fromkeys(simulated["best"].values())} | {case.local.id: case.local}
    runs: list[Run] = await run_for_real(case.bundle, fixed, links, case.speed, seconds)
    rows = []
    for run in runs:
        # Both scales as the clients measured them: this machine may be busier than when it calibrated.
        requests = len(run.latency_ms)
        scenario = replace(
            case.scenario(run.link, requests),
            device_scale=run.device_scale,
            server_scale=run.server_scale,
            period=run.period,
        )
        if run.point is None:
            outcomes = case.adaptive(scenario, Objective())
        else:
            outcomes = simulate(replace(scenario, probe=1e9), StaticPolicy(run.point, case.local))
        predicted = summarise(outcomes, scenario.energy)
        rows.append(
            {
                "network": case.name,
                "speed": case.speed,
                "trace": run.link.name,
                "policy": "adaptive" if run.point is None else run.point.id,
                "requests": requests,
                "latency_ms": [round(latency, 1) for latency in run.latency_ms],
                "p50_ms": float(np.median(run.latency_ms)),
                "p95_ms": float(np.percentile(run.latency_ms, 95)),
                "mean_ms": float(np.mean(run.latency_ms)),
                "simulated_p50_ms": predicted.p50_ms,
                "simulated_mean_ms": predicted.mean_ms,
                "shares": {place(by_id[name]): share for name, share in run.shares.items()},
                "hedged": run.hedged,
            }
        )
    return rows


def run() -> dict[str, Any]:
    """Measures; see the module's docstring."""
    seconds = float(os.environ.get("CUTPOINT_BENCH_SECONDS", _SECONDS))
    links = recorded_links()
    simulated, real = [], []
    for case in _cases():
        simulated.append(_simulated(case, links))
        if seconds > 0:
            real += asyncio.run(_real(case, links, simulated[-1], seconds))
    _draw(case, links)
    return {"requests": _REQUESTS, "seconds": seconds, "simulated": simulated, "real": real}


def _draw(case: _Case, links: Sequence[Recorded]) -> None:
    """One link as the policies saw it."""
    link = next(link for link in links if link.name == _DRAWN)
    scenario = case.scenario(link, int(_DRAWN_SECONDS))
    fixed = efficient(case.points, by_metric=False)
    picture = min(
        (point for point in fixed if point.start == 0 and not point.local), key=lambda point: point.measured.bytes_mean
    )
    runs = {
        "adaptive": case.adaptive(scenario, Objective()),
        "device alone": simulate(scenario, StaticPolicy(case.local, case.local)),
        f"always {picture.id}": simulate(scenario, StaticPolicy(picture, case.local)),
        "oracle": oracle(scenario, fixed, Objective()),
    }
    series = [Series(name, [(outcome.at, outcome.latency_ms) for outcome in run]) for name, run in runs.items()]
    title = f"{case.name}, device ×{case.speed:g}, {link.name}"
    _PLOT.write_text(draw_timeline(title, link.trace, _DRAWN_SECONDS, series))


# -- tables ------------------------------------------------------------------------------------------------------


def _ratio(part: float, whole: float) -> str:
    return f"{part / whole - 1:+.0%}"


def _pooled_table(rows: Sequence[dict[str, Any]]) -> Table:
    columns = ("network", "device", "", "p50 ms", "p95 ms", "mean ms", "energy mJ")
    shown = Table(*columns, title="Simulated, all traces pooled")
    for row in rows:
        figures, best = row["figures"], row["best"]
        named = {
            "adaptive": "adaptive",
            f"best fixed p50: {best['p50_ms']}": best["p50_ms"],
            f"best fixed p95: {best['p95_ms']}": best["p95_ms"],
            f"best fixed mean: {best['mean_ms']}": best["mean_ms"],
            "argmin (Neurosurgeon)": "argmin",
            "natural bottlenecks": "bottleneck",
            "oracle": "oracle",
        }
        for number, (title, name) in enumerate(named.items()):
            head = (row["network"], f"×{row['speed']:g}") if number == 0 else ("", "")
            keys = ("p50_ms", "p95_ms", "mean_ms", "energy_mj")
            shown.add_row(*head, title, *(f"{figures[name][key]:.0f}" for key in keys))
        own = figures["adaptive"]
        verdict = (
            f"p50 {own['p50_ms'] / figures[best['p50_ms']]['p50_ms']:.2f}×, "
            f"p95 {own['p95_ms'] / figures[best['p95_ms']]['p95_ms']:.2f}× the best fixed; mean "
            f"{_ratio(own['mean_ms'], figures[best['mean_ms']]['mean_ms'])} (oracle "
            f"{_ratio(figures['oracle']['mean_ms'], figures[best['mean_ms']]['mean_ms'])}), "
            f"{_ratio(own['mean_ms'], figures['oracle']['mean_ms'])} to the oracle"
        )
        shown.add_row("", "", verdict, "", "", "", "", end_section=True)
    return shown


def _energy_table(rows: Sequence[dict[str, Any]]) -> Table:
    columns = ("network", "device", "adaptive mJ", "oracle mJ", "best fixed cut mJ", "", "best fixed picture mJ", "")
    shown = Table(*columns, title="Objective energy, simulated: energy, and mean latency against the fixed point")
    for row in rows:
        figures = row["figures"]
        own = figures["adaptive, energy"]
        cells = [f"{own['energy_mj']:.0f}", f"{figures['oracle, energy']['energy_mj']:.0f}"]
        for kind in ("cut", "picture"):
            name = row["frugal"].get(kind)
            if name is None:
                cells += ["", ""]
                continue
            other = figures[name]
            cells += [
                f"{other['energy_mj']:.0f} {name}",
                f"{_ratio(own['energy_mj'], other['energy_mj'])}, latency {_ratio(own['mean_ms'], other['mean_ms'])}",
            ]
        shown.add_row(row["network"], f"×{row['speed']:g}", *cells)
    return shown


def _trace_table(rows: Sequence[dict[str, Any]]) -> Table:
    columns = ("network", "device", "trace", "p50 / p95 / mean ms", "oracle", "device", "hedged", "answered by")
    shown = Table(*columns, title="Simulated, adaptive by trace")
    for row in rows:
        for number, trace in enumerate(row["traces"]):
            own = trace["adaptive"]
            head = (row["network"], f"×{row['speed']:g}") if number == 0 else ("", "")
            shares = ", ".join(f"{where} {share:.0%}" for where, share in own["shares"].items())
            shown.add_row(
                *head,
                trace["trace"],
                f"{own['p50_ms']:.0f} / {own['p95_ms']:.0f} / {own['mean_ms']:.0f}",
                f"{trace['oracle_mean_ms']:.0f}",
                f"{trace['device_mean_ms']:.0f}",
                f"{own['hedged']:.0%}",
                shares,
                end_section=number == len(row["traces"]) - 1,
            )
    return shown


def _real_table(rows: Sequence[dict[str, Any]], seconds: float) -> Table:
    columns = ("network", "device", "trace", "policy", "n", "p50 / p95 / mean ms", "simulated p50, mean", "answered by")
    shown = Table(*columns, title=f"For real, {seconds:g} s a trace: client, server process, emulator, photographs")
    for row in rows:
        shares = ", ".join(f"{where} {share:.0%}" for where, share in row["shares"].items())
        shown.add_row(
            row["network"],
            f"×{row['speed']:g}",
            row["trace"],
            row["policy"],
            str(row["requests"]),
            f"{row['p50_ms']:.0f} / {row['p95_ms']:.0f} / {row['mean_ms']:.0f}",
            f"{row['simulated_p50_ms']:.0f} ({_ratio(row['simulated_p50_ms'], row['p50_ms'])}), "
            f"{row['simulated_mean_ms']:.0f} ({_ratio(row['simulated_mean_ms'], row['mean_ms'])})",
            shares,
        )
    return shown


def _real_pooled_table(rows: Sequence[dict[str, Any]]) -> Table:
    shown = Table(
        "network", "device", "policy", "n", "p50 ms", "p95 ms", "mean ms", title="For real, all traces pooled"
    )
    pooled: dict[tuple[str, float, str], list[float]] = {}
    for row in rows:
        pooled.setdefault((row["network"], row["speed"], row["policy"]), []).extend(row["latency_ms"])
    for (network, speed, policy), latency in pooled.items():
        figures = (np.median(latency), np.percentile(latency, 95), np.mean(latency))
        shown.add_row(network, f"×{speed:g}", policy, str(len(latency)), *(f"{figure:.0f}" for figure in figures))
    return shown


def table(result: dict[str, Any]) -> Group:
    """All tables."""
    rows = result["simulated"]
    shown = [_pooled_table(rows), _energy_table(rows), _trace_table(rows)]
    if result["real"]:
        shown += [_real_table(result["real"], result["seconds"]), _real_pooled_table(result["real"])]
    return Group(*shown)
