"""The report in a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from cutpoint.calibration.report.compare import Comparison, front
from cutpoint.calibration.report.switching import HIGHEST, LOWEST, Stretch
from cutpoint.calibration.report.view import View

__all__ = ["comparison_text", "report_text"]


def report_text(view: View, stretches: Sequence[Stretch], about: str) -> Group:
    """The front, the switching points, and what was rejected.

    Args:
        view: of the bundle.
        stretches: the fastest point at each rate.
        about: what they hold for.
    """
    bundle = f", bundle {view.hash[:12]}" if view.hash else ""
    lines = [
        f"{view.name}: {view.metric} of the uncut model {view.uncut:.1%} on {view.samples} samples",
        f"{len(view.points)} points, measured on {view.measured_on or 'an unnamed machine'}{bundle}",
    ]
    shown: list[Table | Text] = [Text("\n".join(lines))]
    for device in view.devices[1:]:
        shown.append(Text(f"device {device.name}{' (estimate)' if device.estimate else ''}: {device.about}"))
    shown += [Text(f"note: {note}") for note in view.notes]
    shown += [_front_table(view), _stretch_table(stretches, about)]
    if view.trials:
        table = Table("rejected", "reason", title=f"{len(view.trials)} trials rejected", title_justify="left")
        for reason, count in Counter(trial.reason for trial in view.trials).most_common():
            table.add_row(str(count), reason)
        shown.append(table)
    return Group(*shown)


def _front_table(view: View) -> Table:
    table = Table(title="Points that no other beats in accuracy and bytes; ms as calibrated", title_justify="left")
    table.add_column("point", no_wrap=True)
    for column in (view.metric, "bytes", "p95", "device ms", "server ms"):
        table.add_column(column, justify="right")
    times = dict(zip((point.id for point in view.points), view.devices[0].ms, strict=True))
    local = [point for point in view.points if point.wire == 0]
    for point in (*front(view.points), *local):
        sizes = ("–", "–") if point.wire == 0 else (f"{point.bytes:,.0f}", f"{point.bytes_p95:,.0f}")
        server = "–" if point.wire == 0 else f"{point.server_ms:.2f}"
        table.add_row(point.id, f"{point.metric:.1%}", *sizes, f"{times[point.id]:.2f}", server)
    return table


def _stretch_table(stretches: Sequence[Stretch], about: str) -> Table:
    table = Table(title=f"Fastest by uplink rate: {about}", title_justify="left")
    for column in ("from", "to"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("point", no_wrap=True)
    table.add_column("ms at the upper end", justify="right")
    for stretch in stretches:
        low = "any" if stretch.low <= LOWEST * 1.001 else rate_text(stretch.low)
        high = "any" if stretch.high >= HIGHEST * 0.999 else rate_text(stretch.high)
        table.add_row(low, high, stretch.point.id, f"{stretch.latency_ms:.1f}")
    return table


def rate_text(rate: float) -> str:
    """A rate in bit/s for people."""
    return f"{rate / 1e6:.3g} Mbit/s" if rate >= 1e6 else f"{rate / 1e3:.3g} kbit/s"


def comparison_text(comparison: Comparison) -> Group:
    """Bytes at equal accuracy, and how good the fronts are."""
    a, b = comparison.a, comparison.b
    lines = [
        f"A: {a.name}, {a.metric} of the uncut model {a.uncut:.1%}, {len(a.points)} points, {a.hash[:12]}",
        f"B: {b.name}, {b.metric} of the uncut model {b.uncut:.1%}, {len(b.points)} points, {b.hash[:12]}",
        f"hypervolume over {a.metric} and log bytes: A {comparison.a_volume:.3f}, B {comparison.b_volume:.3f}",
        f"on the front of A only {len(comparison.only_a)}, of B only {len(comparison.only_b)}",
    ]
    if (a.metric, a.samples) != (b.metric, b.samples):
        lines.append("the metrics were not measured in the same way: read them with care")
    table = Table(title="Fewest bytes at equal accuracy", title_justify="left")
    for column in ("given up", a.metric, "A", "B", "B / A"):
        table.add_column(column, justify="right")
    for row in comparison.equal:
        sides = [
            "–" if size is None else f"{size:,.0f} {point}"
            for size, point in ((row.a_bytes, row.a_point), (row.b_bytes, row.b_point))
        ]
        ratio = "–" if row.ratio is None else f"{row.ratio:.2f}"
        table.add_row(f"{row.drop:.1%}", f"{row.metric:.1%}", *sides, ratio)
    return Group(Text("\n".join(lines)), table)
