"""`cutpoint serve`."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
from dataclasses import fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import click

from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.errors import InputError
from cutpoint.server.configuration import PREFIX, read_configuration
from cutpoint.server.loops import loop_factory
from cutpoint.server.settings import Settings

__all__ = ["serve"]

#: Seconds; Python's own default is 5 ms, which is longer than most batches take.
_SWITCH_INTERVAL = 0.0002


def _options(command: click.Command) -> click.Command:
    """Adds an option for each setting; None stands for one that is not given."""
    types = get_type_hints(Settings, include_extras=True)
    for setting in fields(Settings):
        kind, text = get_args(types[setting.name])
        kind = get_args(kind)[0] if isinstance(kind, UnionType) else kind
        several = get_origin(kind) is tuple
        kind = str if several else kind
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        click_type: Any = click.Path(path_type=Path) if kind is Path else click.Choice(choices) if choices else kind
        if setting.default not in (None, ()):
            text += f"  [default: {setting.default}]"
        name = f"--{setting.name.replace('_', '-')}"
        command.params.append(click.Option([name], type=click_type, default=None, multiple=several, help=text))
    return command


@_options
@click.command()
@click.argument("bundles", nargs=-1, type=click.Path(path_type=Path))
@click.option("--config", type=click.Path(path_type=Path), help="TOML file with settings, named as the options below.")
@click.option("--print-config", is_flag=True, help="Print the settings and where they come from, and exit.")
@click.option("--json", "as_json", is_flag=True, help="Say where the server listens as one JSON object.")
@click.option("-v", "--verbose", is_flag=True, help="Log connections, too.")
def serve(
    bundles: tuple[Path, ...],
    config: Path | None,
    print_config: bool,
    as_json: bool,
    verbose: bool,
    **flags: object,
) -> None:
    """Run the edge server for BUNDLES (folders or .cutpoint files).

    Settings come from the file, then from variables of the environment (CUTPOINT_SERVE_MAX_QUEUE and so on), then from
    options; later ones win. It stops on SIGTERM or SIGINT, after the requests in flight are answered.
    """
    from cutpoint.server.app import EdgeServer
    from cutpoint.server.logs import set_up_logs

    given = {name: value for name, value in flags.items() if value not in (None, ())}
    configuration = read_configuration(config, os.environ, given)
    if print_config:
        click.echo(configuration.as_toml(), nl=False)
        return
    settings = configuration.settings
    if settings.engine == "auto":
        # On Windows, processes inherit no sockets by their numbers.
        settings = replace(settings, engine="local" if sys.platform == "win32" else "process")
    if not bundles and settings.models is None:
        raise click.UsageError(f"give a BUNDLE to serve, or --models FOLDER (or {PREFIX}MODELS)")
    set_up_logs(settings.log_format, verbose)
    make_loop = loop_factory(settings.loop)
    # A worker whose graph has run waits at most so long for a busy event loop to let it go on.
    sys.setswitchinterval(_SWITCH_INTERVAL)
    server = EdgeServer([Bundle.open(bundle) for bundle in bundles], settings)
    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(_run(server, as_json))


async def _run(server: object, as_json: bool) -> None:
    from cutpoint.server.app import EdgeServer

    assert isinstance(server, EdgeServer)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    reloads: set[asyncio.Task[None]] = set()

    def reload() -> None:
        reloads.add(task := asyncio.create_task(server.reload()))
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        await server.start()
    except OSError as error:
        raise InputError(f"cannot listen on {server.settings.host}:{server.settings.port}: {error.strerror}") from error
    # What is there now stays: to look for garbage in it now and then would hold up everybody for tens of milliseconds.
    gc.collect()
    gc.freeze()
    served = [{"model": model.name, "bundle": model.hash} for model in server.models]
    if as_json:
        click.echo(json.dumps({"url": server.url, "pid": os.getpid(), "models": served}))
    else:
        names = ", ".join(f"{one['model']} ({one['bundle'][:12]})" for one in served) or "no model yet"
        click.echo(f"serving {names} at {server.url}")
    await stop.wait()
    await server.stop()
