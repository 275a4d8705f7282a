"""`cutpoint simulate`."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from cutpoint.calibration.allocation.crowd import Crowd
from cutpoint.calibration.allocation.report import crowd_report, crowd_table
from cutpoint.calibration.simulate.policies import ArgminPolicy, BottleneckPolicy, DeadlinePolicy, oracle
from cutpoint.calibration.simulate.population import Population
from cutpoint.calibration.simulate.scenario import Scenario
from cutpoint.calibration.simulate.server import ServerScenario
from cutpoint.calibration.simulate.summary import Summary, summarise
from cutpoint.calibration.simulate.world import simulate
from cutpoint.sdk.bundle import Bundle, Point
from cutpoint.sdk.energy import RADIOS, EnergyModel
from cutpoint.sdk.errors import InputError
from cutpoint.sdk.learned import LearnedPolicy
from cutpoint.sdk.objective import PRESETS, Objective
from cutpoint.sdk.policy import AdaptivePolicy, Policy, StaticPolicy, admissible, fastest_alone
from cutpoint.sdk.profiles import apply_profile, find_profile
from cutpoint.sdk.testing import load_trace

__all__ = ["POLICIES", "run_policy", "simulate_command"]

#: Names that `--policy` knows, beside ids of points.
POLICIES = ("adaptive", "device", "argmin", "bottleneck", "slimmable", "oracle")


@click.command("simulate")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--trace", "traces", multiple=True, type=click.Path(path_type=Path), help="Recorded link.")
@click.option("--policy", "policies", multiple=True, metavar="NAME", help="Default: adaptive, device, argmin, oracle.")
@click.option("--profile", metavar="NAME", help="Device: in the bundle, built in, or a device.json.")
@click.option("--device-scale", type=float, help="How much slower than that. Default: 20, or 1 with --profile.")
@click.option("--server-scale", default=1.0, show_default=True, help="The same for the server.")
@click.option("--rtt", default=0.05, show_default=True, help="Seconds there and back.")
@click.option("--period", type=float, help="Seconds between requests. Default: 0.5, or 1.4 times a local answer.")
@click.option("--requests", default=400, show_default=True, help="For each trace.")
@click.option("--objective", type=click.Choice(list(PRESETS)), default="latency", show_default=True)
@click.option("--deadline", type=float, help="Seconds for an answer.")
@click.option("--late-cost", type=float, help="Cost of an answer after it. Default: more than everything else.")
@click.option("--accuracy-drop", default=0.01, show_default=True, help="Against the uncut model, 0 to 1.")
@click.option("--radio", type=click.Choice(list(RADIOS)), default="lte", show_default=True)
@click.option("--seed", default=0, show_default=True, help="Of the sizes of payloads, and of the users.")
@click.option("--users", type=int, help="So many users of one server, each with his own device, link and times.")
@click.option("--seconds", default=60.0, show_default=True, help="With --users: for which they ask.")
@click.option("--workers", default=1, show_default=True, help="With --users: of the server.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def simulate_command(
    bundle: Path,
    traces: tuple[Path, ...],
    policies: tuple[str, ...],
    profile: str | None,
    device_scale: float | None,
    server_scale: float,
    rtt: float,
    period: float | None,
    requests: int,
    objective: str,
    deadline: float | None,
    late_cost: float | None,
    accuracy_drop: float,
    radio: str,
    seed: int,
    users: int | None,
    seconds: float,
    workers: int,
    as_json: bool,
) -> None:
    """Compare policies over recorded traces, on a virtual clock, with the points that BUNDLE measured.

    A policy is adaptive (what clients do), device, argmin (Neurosurgeon), bottleneck (dynamic split over natural
    bottlenecks), slimmable (the deadline rule), oracle (knows the trace), a file of `cutpoint train-policy`, or the id
    of a point: always that.

    With --users all of them share one server, and what is compared is price (what clients do), price-blind, central (a
    solver that knows everybody), static, edge and device. Devices are a third to three times as fast as --device-scale
    says, links are those of --trace, or of 2 to 40 Mbit/s, and a user asks once in 0.7 to 1.4 --period.
    """
    if device_scale is None:
        device_scale = 20.0 if profile is None else 1.0
    if min(device_scale, server_scale, requests) <= 0 or rtt < 0 or (period is not None and period <= 0):
        raise InputError("scales, requests and period are above 0, and --rtt is at least 0")
    if users is None and not traces:
        raise InputError("there is no --trace; only --users can do without")
    opened = Bundle.open(bundle)
    if profile is not None:
        opened = apply_profile(opened, find_profile(opened, profile))
    # The virtual clock knows requests that are sent when the device is done.
    opened = opened.on_device([point for point in opened.points if point.slicing is None])
    if users is not None:
        if min(users, workers) < 1:
            raise InputError("--users and --workers are at least 1")
        if deadline is not None:
            raise InputError("the rules of --users have no --deadline in common")
        population = Population(
            device_scale=(device_scale / 3, 3 * device_scale),
            period=(0.7 * (period or 2.0), 1.4 * (period or 2.0)),
            traces=[load_trace(path) for path in traces],
        )
        answer = opened.manifest.boundaries[-1].nbytes
        scenarios = population.draw(users, seconds, server_scale, answer, seed)
        one = Objective.preset(objective, accuracy_drop=accuracy_drop)
        crowd = Crowd(opened, scenarios, [one] * users, ServerScenario(workers, server_scale))
        report = crowd_report(crowd, policies or ("price", "price-blind", "central", "device"))
        if as_json:
            click.echo(json.dumps(report))
        else:
            Console().print(crowd_table(report))
        return
    priced = {} if late_cost is None else {"late_cost": late_cost}
    wanted = Objective.preset(objective, deadline=deadline, accuracy_drop=accuracy_drop, **priced)
    points = admissible(opened.points, wanted.floor(opened.manifest.task.uncut))
    alone_s = fastest_alone(points).measured.device_ms * device_scale / 1e3
    energy = EnergyModel(RADIOS[radio])
    summaries: dict[str, dict[str, Summary]] = {}
    for path in traces:
        scenario = Scenario(
            load_trace(path),
            rtt,
            device_scale=device_scale,
            server_scale=server_scale,
            period=period or max(0.5, 1.4 * alone_s),
            requests=requests,
            answer_bytes=opened.manifest.boundaries[-1].nbytes,
            thrifty=wanted.thrifty,
            energy=energy,
            seed=seed,
        )
        names = policies or ("adaptive", "device", "argmin", "oracle")
        summaries[path.name] = {name: run_policy(name, scenario, opened, points, wanted) for name in names}
    if as_json:
        click.echo(json.dumps({t: {n: s.as_json() for n, s in rows.items()} for t, rows in summaries.items()}))
    else:
        for trace, rows in summaries.items():
            Console().print(_table(trace, rows))


def run_policy(
    name: str, scenario: Scenario, bundle: Bundle, points: tuple[Point, ...], objective: Objective
) -> Summary:
    """Simulates a policy by its name.

    Args:
        name: one of `POLICIES`, the path of a trained policy (.onnx), or the id of a point.
        scenario: what requests meet.
        bundle: that the points are of.
        points: above the accuracy floor.
        objective: what is wanted.

    Raises:
        BundleError: if there is no policy and no point of that name.
        InputError: if the policy needs a deadline and there is none.
    """
    local = fastest_alone(points)
    if name == "oracle":
        return summarise(oracle(scenario, points, objective), scenario.energy)
    uncut = bundle.manifest.task.uncut
    adaptive = AdaptivePolicy(
        points, objective, uncut=uncut, energy=scenario.energy, answer_bytes=scenario.answer_bytes
    )
    fallback = None
    policy: Policy
    match name:
        case "adaptive":
            policy, fallback = adaptive, local
        case "device":
            policy = StaticPolicy(local, local)
        case "argmin":
            policy = ArgminPolicy(points)
        case "bottleneck":
            policy = BottleneckPolicy(bundle, points)
        case "slimmable":
            if objective.deadline is None:
                raise InputError("the slimmable rule needs a --deadline")
            policy = DeadlinePolicy(_levels(bundle), objective.deadline)
        case _ if name.endswith(".onnx"):
            policy, fallback = LearnedPolicy.open(name, adaptive, bundle), local
        case _:
            point = bundle.points[bundle.point_number(name)]
            policy = StaticPolicy(point, local)
    return summarise(simulate(scenario, policy, fallback), scenario.energy)


def _levels(bundle: Bundle) -> list[Point]:
    """The levels of the codec that has most of them behind a head, at one cut and precision."""
    groups: dict[tuple[str, str | None], list[Point]] = {}
    for point in bundle.points:
        if point.codec is not None and point.start > 0:
            groups.setdefault((point.codec, point.precision), []).append(point)
    if not groups:
        raise InputError("the slimmable rule needs points behind a cut, and the bundle has none")
    return max(groups.values(), key=len)


def _table(trace: str, rows: dict[str, Summary]) -> Table:
    table = Table("policy", "p50 ms", "p95 ms", "mean ms", "energy mJ", "hedged", "answered by", title=trace)
    for name, row in rows.items():
        shares = ", ".join(f"{where} {share:.0%}" for where, share in row.shares.items())
        figures = (f"{value:.0f}" for value in (row.p50_ms, row.p95_ms, row.mean_ms, row.energy_mj))
        table.add_row(name, *figures, f"{row.hedged:.0%}", shares)
    return table
