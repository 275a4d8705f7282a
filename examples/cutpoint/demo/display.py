"""What the demonstration shows in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from cutpoint.demo.run import ChannelRun, StrategyRun

__all__ = ["result_table", "show_live", "show_results"]


def _reason(run: StrategyRun) -> str:
    """Why the last answer came from where it came from."""
    result = run.last
    if result is None or run.client is None:
        return ""
    if result.fallback is not None:
        return f"device stepped in: {type(result.fallback).__name__}"
    if result.hedged:
        return "server late: device started, too"
    channel = run.client.conditions.channel
    believed = "no link" if channel is None else f"{channel.uplink / 1e6:.1f} Mbit/s, {channel.rtt * 1e3:.0f} ms"
    expected = f"{believed} → expects {result.plan.predicted_ms:.0f} ms"
    for other in result.plan.runners_up[:1]:
        expected += f", {other.latency_ms:.0f} at {other.point.id}"
    return expected


def show_live(run: ChannelRun) -> RenderableType:
    """The state of a channel that is running."""
    at = max((request.at for each in run.runs for request in each.requests), default=0.0)
    rate = run.channel.trace.rate(at) / 1e6
    bar = "█" * min(40, round(4 * rate)) if rate > 0 else ""
    head = Text(f"{run.channel.name}: {rate:5.1f} Mbit/s up, {2e3 * run.channel.delay:.0f} ms round trip  ", "bold")
    head.append(bar or "outage", "green" if rate > 0 else "red")
    table = Table("strategy", "answers", "p50 ms", "p95 ms", "accuracy", "now at", "why", box=None)
    for each in run.runs:
        last = each.last
        table.add_row(
            each.strategy.name,
            f"{len(each.answered())}/{len(each.requests)}",
            f"{each.latency_ms(0.5):.0f}",
            f"{each.latency_ms(0.95):.0f}",
            f"{each.mean('correct'):.0%}",
            last.point.id if last else "",
            _reason(each),
        )
    return Group(head, table)


def result_table(run: ChannelRun) -> Table:
    """The results of one channel."""
    mean = run.channel.trace.mean / 1e6
    table = Table(
        *("strategy", "answered", "p50 ms", "p95 ms", "bytes", "accuracy", "energy mJ*", "points"),
        title=f"{run.channel.name} ({mean:.1f} Mbit/s mean)",
        title_justify="left",
    )
    for each in run.runs:
        row = each.summary()
        points = row["points"]
        assert isinstance(points, dict)
        used = ", ".join(f"{name} ×{count}" for name, count in sorted(points.items(), key=lambda item: -item[1])[:3])
        table.add_row(
            each.strategy.name,
            f"{row['answered']}/{row['requests']}",
            *(f"{each.latency_ms(quantile):.0f}" for quantile in (0.5, 0.95)),
            f"{each.mean('bytes_sent'):,.0f}",
            f"{each.mean('correct'):.1%}",
            f"{each.mean('energy_mj'):.0f}",
            used,
        )
    return table


def show_results(console: Console, runs: Sequence[ChannelRun], slowdown: float) -> None:
    """The tables at the end, and what they rest on."""
    for run in runs:
        console.print(result_table(run))
    console.print(
        f"The device is emulated: {slowdown:g}× slower than one core of this machine. The links are emulated, too; "
        "server, client, sockets and pictures are real.\n"
        "* estimate from published constants of radio and processor (cutpoint.sdk.energy).",
        style="dim",
    )
