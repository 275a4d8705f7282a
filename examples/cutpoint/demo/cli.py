"""`cutpoint demo`."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from importlib.metadata import version
from importlib.resources import as_file, files
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live

from cutpoint.demo.channels import make_channels
from cutpoint.demo.display import show_live, show_results
from cutpoint.demo.report import write_report
from cutpoint.demo.run import ChannelRun, run_channel
from cutpoint.demo.scenes import Scene, render
from cutpoint.sdk import Bundle, Client, InputError, Objective
from cutpoint.sdk.testing import ServerProcess

__all__ = ["BUNDLE", "demo"]

#: The bundle that comes with cutpoint.
BUNDLE = files("cutpoint.demo").joinpath("scenes.cutpoint")

#: A low-end phone against one core of a server: about 0.8 GMAC/s in this network.
_SLOWDOWN = 60.0
_OBJECTIVE = Objective(accuracy_drop=0.02)
#: Different ones; they are shown in turn.
_PICTURES = 60


@click.command()
@click.option(
    "--seconds", type=float, default=24.0, show_default=True, help="Time on the links, all channels together."
)
@click.option("--device-slowdown", type=float, default=_SLOWDOWN, show_default=True, help="Against one core here.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of pictures and links.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else.")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Write an HTML report here.")
@click.option(
    "--save-bundle", type=click.Path(path_type=Path, dir_okay=False), help="Copy the demo's bundle here and stop."
)
def demo(
    seconds: float, device_slowdown: float, seed: int, as_json: bool, report: Path | None, save_bundle: Path | None
) -> None:
    """Watch a real client and a real server split a network over changing links.

    Starts a server, emulates four links, and compares cutpoint with computing on the device only, sending pictures
    and a fixed cut. Uses nothing beyond loopback.
    """
    with as_file(BUNDLE) as path:
        if save_bundle is not None:
            shutil.copyfile(path, save_bundle)
            click.echo(f"wrote {save_bundle}")
            return
        if seconds < 2:
            raise InputError(f"--seconds {seconds:g} is too short to see anything: give at least 2")
        runs, scenes = asyncio.run(_run(path, seconds, device_slowdown, seed, quiet=as_json))
    if as_json:
        summary = {
            "channels": [run.summary() for run in runs],
            "version": version("cutpoint"),
            "seconds": seconds,
            "device_slowdown": device_slowdown,
        }
        click.echo(json.dumps(summary))
    else:
        show_results(Console(), runs, device_slowdown)
    if report is not None:
        write_report(report, runs, scenes, slowdown=device_slowdown, version=version("cutpoint"))
        click.echo(f"wrote {report}", err=True)


async def _run(
    path: Path, seconds: float, slowdown: float, seed: int, quiet: bool
) -> tuple[list[ChannelRun], list[Scene]]:
    console = Console(quiet=quiet)
    bundle = await asyncio.to_thread(Bundle.open, path)
    channels = make_channels(seconds / 4, seed)
    with console.status("rendering pictures, starting the server …"):
        # Pictures that training and calibration have not seen: their seeds are below 2**31.
        scenes = await asyncio.to_thread(lambda: [render(2**31 + 1000 * seed + i) for i in range(_PICTURES)])
        scale, local_ms = await _device_speed(bundle, slowdown)
    console.print(f"Emulated device: {slowdown:g}× slower than one core here, {local_ms:.0f} ms for the whole network.")
    runs = []
    async with ServerProcess(path, "--threads", "1") as server:
        for channel in channels:
            with Live(console=console, refresh_per_second=5, transient=True) as live:

                def progress(run: ChannelRun, live: Live = live) -> None:
                    live.update(show_live(run))

                def silent(run: ChannelRun) -> None:
                    pass

                runs.append(
                    await run_channel(
                        channel,
                        scenes,
                        bundle,
                        server.url,
                        objective=_OBJECTIVE,
                        slowdown=slowdown,
                        seconds=seconds / len(channels),
                        device_scale=scale,
                        progress=progress if console.is_terminal and not quiet else silent,
                    )
                )
            if not console.is_terminal and not quiet:
                print(f"{channel.name}: done", file=sys.stderr)
    return runs, scenes


async def _device_speed(bundle: Bundle, slowdown: float) -> tuple[float, float]:
    """How much slower than in calibration the emulated device is, and its milliseconds for the whole network."""
    async with Client(bundle=bundle, mode="device", objective=_OBJECTIVE, slowdown=slowdown) as client:
        plan = client.policy.choose(client.conditions)
        return client.conditions.device_scale, plan.predicted_ms
