"""`cutpoint serve`."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from pathlib import Path
from typing import Literal

import click

from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.errors import InputError
from cutpoint.sdk.protocol import Limits

__all__ = ["serve"]

log = logging.getLogger("cutpoint.server")


@click.command()
@click.argument("bundles", nargs=-1, type=click.Path(path_type=Path))
@click.option("--models", type=click.Path(path_type=Path), help="Serve what is in this folder, as it comes and goes.")
@click.option("--models-interval", default=1.0, show_default=True, help="Seconds between looks at that folder.")
@click.option("--model-grace", default=60.0, show_default=True, help="Seconds for those who hold a replaced bundle.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", default=8700, show_default=True, help="0 for any free port.")
@click.option(
    "--token-file", type=click.Path(path_type=Path), help="Accepted bearer tokens, one a line; SIGHUP reloads."
)
@click.option("--tls-cert", type=click.Path(path_type=Path), help="Certificate chain (PEM).")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Private key (PEM).")
@click.option("--threads", default=os.cpu_count() or 1, show_default="one per core", help="Worker threads for tails.")
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True)
@click.option("--provider", "providers", multiple=True, default=["cpu"], help="cpu, cuda, tensorrt; best first.")
@click.option("--op-threads", default=1, show_default=True, help="Threads within one batch.")
@click.option("--arena/--no-arena", default=True, help="Keep memory between batches.")
@click.option("--ray-address", help="Of a Ray cluster; without it, one is started here.")
@click.option("--replicas", default=1, show_default=True, help="Processes on the Ray cluster, with --threads each.")
@click.option("--max-replicas", type=int, help="Up to so many while requests wait.  [default: as --replicas]")
@click.option("--max-connections", default=1000, show_default=True)
@click.option("--max-frame", default=Limits().frame, show_default=True, help="Bytes of the longest frame.")
@click.option(
    "--max-in-flight", default=Limits().in_flight, show_default=True, help="Requests at a time per connection."
)
@click.option("--max-queue", default=256, show_default=True, help="Requests that may wait for a worker.")
@click.option("--max-batch", default=16, show_default=True, help="Requests computed together at most; 1: none.")
@click.option("--batch-window", default=0.0, show_default=True, help="Milliseconds that a batch waits for more.")
@click.option("--grace", default=10.0, show_default=True, help="Seconds for requests in flight when told to stop.")
@click.option("--json", "as_json", is_flag=True, help="Say where the server listens as one JSON object.")
@click.option("-v", "--verbose", is_flag=True, help="Log connections, too.")
def serve(
    bundles: tuple[Path, ...],
    models: Path | None,
    models_interval: float,
    model_grace: float,
    host: str,
    port: int,
    token_file: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    threads: int,
    engine: Literal["local", "ray"],
    providers: tuple[str, ...],
    op_threads: int,
    arena: bool,
    ray_address: str | None,
    replicas: int,
    max_replicas: int | None,
    max_connections: int,
    max_frame: int,
    max_in_flight: int,
    max_queue: int,
    max_batch: int,
    batch_window: float,
    grace: float,
    as_json: bool,
    verbose: bool,
) -> None:
    """Run the edge server for BUNDLES (folders or .cutpoint files).

    It stops on SIGTERM or SIGINT, after the requests in flight are answered.
    """
    from cutpoint.server.app import EdgeServer
    from cutpoint.server.settings import Settings

    if not bundles and models is None:
        raise click.UsageError("give a BUNDLE to serve, or --models FOLDER")
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    settings = Settings(
        host=host,
        port=port,
        token_file=token_file,
        tls_cert=tls_cert,
        tls_key=tls_key,
        threads=threads,
        engine=engine,
        providers=providers,
        op_threads=op_threads,
        arena=arena,
        ray_address=ray_address,
        replicas=replicas,
        max_replicas=max_replicas if max_replicas is not None else replicas,
        max_connections=max_connections,
        limits=Limits(frame=max_frame, in_flight=max_in_flight),
        models=models,
        models_interval=models_interval,
        model_grace=model_grace,
        max_queue=max_queue,
        max_batch=max_batch,
        batch_window=batch_window / 1e3,
        grace=grace,
    )
    server = EdgeServer([Bundle.open(bundle) for bundle in bundles], settings)
    asyncio.run(_run(server, as_json))


async def _run(server: object, as_json: bool) -> None:
    from cutpoint.server.app import EdgeServer

    assert isinstance(server, EdgeServer)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def reload_tokens() -> None:
        try:
            server.reload_tokens()
        except InputError as error:
            log.error("%s; the old tokens stay", error)

    loop.add_signal_handler(signal.SIGHUP, reload_tokens)
    try:
        await server.start()
    except OSError as error:
        raise InputError(f"cannot listen on {server.settings.host}:{server.settings.port}: {error.strerror}") from error
    served = [{"model": model.name, "bundle": model.hash} for model in server.models]
    if as_json:
        click.echo(json.dumps({"url": server.url, "pid": os.getpid(), "models": served}))
    else:
        names = ", ".join(f"{one['model']} ({one['bundle'][:12]})" for one in served) or "no model yet"
        click.echo(f"serving {names} at {server.url}")
    await stop.wait()
    await server.stop()
