"""`cutpoint profile` and `cutpoint attach`."""

from __future__ import annotations

import json
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from cutpoint.sdk.bundle import Bundle, DeviceProfile
from cutpoint.sdk.errors import InputError
from cutpoint.sdk.measure import Timing, measure_device
from cutpoint.sdk.profiles import attach_profiles, load_profile, save_profile

__all__ = ["attach", "profile"]


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Profile to write: device.json.")
@click.option("--name", help="Of the device. Default: the name of --out.")
@click.option("--format", "formats", multiple=True, type=click.Choice(["onnx", "tflite"]), help="Default: both.")
@click.option("--threads", default=1, show_default=True, help="Of the runtime.")
@click.option("--repeats", default=50, show_default=True, help="Runs of each head and encoder.")
@click.option("--seconds", default=3.0, show_default=True, help="For each of them at most.")
@click.option(
    "--picture", "pictures", multiple=True, type=click.Path(path_type=Path), help="To compute. Default: noise."
)
@click.option("--json", "as_json", is_flag=True, help="Print the profile instead of a table.")
def profile(
    bundle: Path,
    out: Path,
    name: str | None,
    formats: tuple[str, ...],
    threads: int,
    repeats: int,
    seconds: float,
    pictures: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Measure on this device what its share of BUNDLE costs: milliseconds, memory, and energy where the system tells.

    Clients take the result with `--profile`, and `cutpoint attach` puts it into a bundle.
    """
    if min(threads, repeats) < 1 or seconds <= 0:
        raise InputError("--threads and --repeats are at least 1, and --seconds above 0")
    console = Console(stderr=True)
    timing = Timing(threads, repeats, seconds)
    with console.status("measuring") as status:

        def advance(title: str) -> None:
            status.update(title)
            if not console.is_terminal:
                console.print(f"{title} …", highlight=False)

        found = measure_device(bundle, name or out.stem, formats or ("onnx", "tflite"), timing, pictures, advance)
    try:
        save_profile(found, out)
    except OSError as error:
        raise InputError(f"{out}: cannot be written: {error.strerror}") from error
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(found)))
    else:
        Console().print(_table(found))
        click.echo(f"{out} written: {found.scale:.2f} times as slow as calibration's machine")


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("devices", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Bundle to write.")
@click.option("--overwrite", is_flag=True, help="Replace a bundle that is there.")
def attach(bundle: Path, devices: tuple[Path, ...], out: Path, overwrite: bool) -> None:
    """Write BUNDLE with DEVICES (device.json files) in it. The new bundle has another hash: serve it, too."""
    made = attach_profiles(Bundle.open(bundle), [load_profile(path) for path in devices])
    made.save(out, overwrite=overwrite)
    names = ", ".join(each.name for each in made.manifest.devices)
    click.echo(f"{out}: hash {made.hash[:12]}, device profiles {names}")


def _table(found: DeviceProfile) -> Table:
    table = Table(title=f"{found.name}: {found.machine}, {found.threads} threads", title_justify="left")
    table.add_column("", no_wrap=True)
    for column in ("p50 ms", "p95 ms", "memory", "mJ"):
        table.add_column(column, justify="right")
    rows = [(f"head 0-{h.end} {h.precision} {h.format}", h, h.memory) for h in found.heads]
    rows += [(f"encoder {e.codec} level {e.level} {e.format or ''}", e, None) for e in found.encoders]  # type: ignore[misc]
    for title, cost, memory in rows:
        size = "–" if memory is None else f"{memory / 2**20:.1f} MiB"
        energy = "–" if cost.energy_mj is None else f"{cost.energy_mj:.2f}"
        table.add_row(title, f"{cost.p50_ms:.2f}", f"{cost.p95_ms:.2f}", size, energy)
    return table
