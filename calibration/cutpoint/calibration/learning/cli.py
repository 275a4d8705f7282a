"""`cutpoint train-policy`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import click
from rich.console import Console

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.extras import POLICY_PACKAGES, require
from cutpoint.calibration.progress import ConsoleReporter
from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.files import write_file
from cutpoint.sdk.objective import PRESETS, Objective
from cutpoint.sdk.testing import load_trace

__all__ = ["train_policy"]

#: Budgets, where none is given.
_USUAL = {"memtl": "1500", "ppo": "20000"}
_BUDGET = re.compile(r"(\d+(?:\.\d+)?)([sm]?)")


def _range(name: str, text: str) -> tuple[float, float]:
    """Two numbers with a - between, or one."""
    try:
        low, high = (float(part) for part in text.split("-")) if "-" in text else (float(text), float(text))
    except ValueError:
        raise CalibrationError(f"--{name} {text!r}: write two numbers with a - between, such as 1-8") from None
    return low, high


def _minutes(text: str) -> tuple[int, float | None]:
    """Steps, or minutes."""
    found = _BUDGET.fullmatch(text.strip())
    if found is None or float(found[1]) <= 0 or (not found[2] and "." in found[1]):
        raise CalibrationError(f"--budget {text!r}: write minutes (20m), seconds (90s), or a number of steps (1500)")
    if not found[2]:
        return int(found[1]), None
    return 1, float(found[1]) / (60 if found[2] == "s" else 1)


@click.command("train-policy")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--traces",
    "traces",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="Recorded link, or folder.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Policy file to write: .onnx.")
@click.option("--save-bundle", type=click.Path(path_type=Path), help="Also write BUNDLE with the policy in it.")
@click.option("--algorithm", type=click.Choice(["memtl", "ppo"]), default="memtl", show_default=True)
@click.option("--objective", type=click.Choice(list(PRESETS)), default="balanced", show_default=True)
@click.option("--deadline", type=float, help="Seconds for an answer.")
@click.option("--late-cost", type=float, help="Cost of an answer after the deadline, of the order of others.")
@click.option("--accuracy-drop", type=float, help="Against the uncut model, 0 to 1. Default: the objective's.")
@click.option("--budget", help="20m, 90s, or a number: steps (memtl; default 1500), decisions (ppo; 20000).")
@click.option("--decisions", default=8000, show_default=True, help="memtl: that the oracle demonstrates.")
@click.option("--error", default=0.0, show_default=True, help="By which estimates may be off: 0.3 for 30 %.")
@click.option("--quantile", type=float, help="Of the cost that counts, 0 to 1. Default: the mean.")
@click.option("--users", default="1-8", show_default=True, help="Of one server.")
@click.option("--device-scale", default="5-60", show_default=True, help="How much slower devices are.")
@click.option("--server-scale", default="1-30", show_default=True, help="The same for the server.")
@click.option("--period", default="0.5-2", show_default=True, help="Mean seconds between requests.")
@click.option("--seed", default=0, show_default=True, help="Of everything.")
@click.option("--json", "as_json", is_flag=True, help="Print the file's card as JSON.")
def train_policy(
    bundle: Path,
    traces: tuple[Path, ...],
    out: Path,
    save_bundle: Path | None,
    algorithm: str,
    objective: str,
    deadline: float | None,
    late_cost: float | None,
    accuracy_drop: float | None,
    budget: str | None,
    decisions: int,
    error: float,
    quantile: float | None,
    users: str,
    device_scale: str,
    server_scale: str,
    period: str,
    seed: int,
    as_json: bool,
) -> None:
    """Trains a policy for BUNDLE in simulated worlds, and writes it as a file for `Client(policy=…)`.

    memtl imitates an oracle that knows the links; ppo tries for itself. With --error and --quantile, costs are judged
    by that quantile over injected errors of the estimates. With a --budget of steps the result follows from --seed.
    Clients follow the policy for the same objective: weights, --deadline and --late-cost.

    An interrupted training goes on where it stopped when it is started again.
    """
    require(POLICY_PACKAGES, "training a policy", "rl")
    from cutpoint.calibration.learning.demonstrations import demonstrations
    from cutpoint.calibration.learning.memtl import train_memtl
    from cutpoint.calibration.learning.policy_file import with_policy
    from cutpoint.calibration.learning.ppo import train_ppo
    from cutpoint.calibration.learning.task import TrainingTask, finish
    from cutpoint.calibration.learning.worlds import Worlds
    from cutpoint.calibration.training.loop import Budget
    from cutpoint.calibration.work import digest

    if decisions < 1:
        raise CalibrationError(f"--decisions {decisions} is below 1")
    files = [file for path in traces for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    fewest, most = _range("users", users)
    worlds = Worlds(
        tuple(load_trace(file) for file in files),
        (int(fewest), int(most)),
        _range("device-scale", device_scale),
        _range("server-scale", server_scale),
        _range("period", period),
    )
    changes = {"deadline": deadline, "late_cost": late_cost, "accuracy_drop": accuracy_drop}
    wanted = Objective.preset(objective, **{name: value for name, value in changes.items() if value is not None})
    task = TrainingTask(Bundle.open(bundle), wanted, worlds, error, quantile, seed)
    reporter = ConsoleReporter(Console(stderr=True))
    length = Budget(*_minutes(budget or _USUAL[algorithm]))
    settings = f"{wanted} {algorithm} {length} {decisions} {error} {quantile} {seed}"
    key = digest(repr(worlds), task.bundle.hash, settings)
    checkpoint = out.with_name(f".{out.name}.{key}.checkpoint")
    try:
        if algorithm == "memtl":
            with reporter.stage("oracle", decisions) as advance:
                shown = demonstrations(task, decisions, advance)
            with reporter.stage("training", length.ticks) as advance:
                trained = train_memtl(task, shown, length, checkpoint, advance)
        else:
            with reporter.stage("training", length.ticks) as advance:
                trained = train_ppo(task, length, checkpoint, advance)
    except KeyboardInterrupt:
        click.echo("Interrupted. Start the same command again to go on.", err=True)
        sys.exit(130)
    data = finish(task, trained)
    write_file(out, data)
    if save_bundle is not None:
        with_policy(task.bundle, data).save(save_bundle)
    if as_json:
        click.echo(json.dumps({"out": str(out), "bytes": len(data), **task.describe(), **trained.config}))
    else:
        click.echo(f"{out}: {algorithm}, {len(task.points)} points, {len(data):,} bytes")
