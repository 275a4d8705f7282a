"""`cutpoint infer`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.client import Client, Mode
from cutpoint.sdk.errors import InputError
from cutpoint.sdk.objective import PRESETS, Objective
from cutpoint.sdk.result import InferenceResult
from cutpoint.sdk.runtimes import RUNTIMES
from cutpoint.sdk.tls import client_context

__all__ = ["infer", "top_classes"]


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--server", metavar="URL", help="ws://host:port or wss://…; not needed with --mode device.")
@click.option("--mode", type=click.Choice(["auto", "device", "edge"]), default="auto", show_default=True)
@click.option("--point", metavar="ID", help="Use this operating point.")
@click.option("--policy", type=click.Path(path_type=Path), help="Trained policy, from `cutpoint train-policy`.")
@click.option("--objective", type=click.Choice(list(PRESETS)), default="latency", show_default=True)
@click.option("--deadline", type=float, help="Seconds for an answer.")
@click.option("--late-cost", type=float, help="Cost of an answer after it. Default: more than everything else.")
@click.option("--accuracy-drop", type=float, help="Against the uncut model, 0 to 1. Default: the objective's.")
@click.option("--token", envvar="CUTPOINT_TOKEN", help="Bearer token; also from CUTPOINT_TOKEN.")
@click.option("--tls-cert", type=click.Path(path_type=Path), help="Certificate chain (PEM) to show the server.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its private key (PEM).")
@click.option("--tls-ca", type=click.Path(path_type=Path), help="Trust these authorities (PEM), not the system's.")
@click.option("--trusted-key", "trusted_keys", multiple=True, help="BUNDLE must be signed with it, or another one.")
@click.option("--runtime", type=click.Choice(RUNTIMES), default="onnx", show_default=True)
@click.option("--threads", default=1, show_default=True)
@click.option("--profile", metavar="NAME", help="Of this device: in the bundle, built in, or a device.json.")
@click.option("--top", default=5, show_default=True, help="Classes to print.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, one line an image.")
def infer(
    bundle: Path,
    images: tuple[Path, ...],
    server: str | None,
    mode: Mode,
    point: str | None,
    policy: Path | None,
    objective: str,
    deadline: float | None,
    late_cost: float | None,
    accuracy_drop: float | None,
    token: str | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_ca: Path | None,
    trusted_keys: tuple[str, ...],
    runtime: str,
    threads: int,
    profile: str | None,
    top: int,
    as_json: bool,
) -> None:
    """Run IMAGES through BUNDLE: on this device, or with the server's help.

    Prints the best classes; for models that do not classify, the shapes of the outputs.
    """
    if server is None and mode != "device":
        raise click.UsageError("give --server URL, or --mode device to compute here alone")
    changes = {"deadline": deadline, "late_cost": late_cost, "accuracy_drop": accuracy_drop}
    client = Client(
        server,
        Bundle.open(bundle),
        objective=Objective.preset(objective, **{name: value for name, value in changes.items() if value is not None}),
        mode=mode,
        policy=policy,
        token=token,
        ssl=client_context(tls_cert, tls_key, tls_ca) if tls_cert or tls_key or tls_ca else None,
        trusted_keys=trusted_keys or None,
        runtime=runtime,
        threads=threads,
        profile=profile,
    )
    asyncio.run(_run(client, images, point, top, as_json))


async def _run(client: Client, images: tuple[Path, ...], point: str | None, top: int, as_json: bool) -> None:
    failed: list[InputError] = []
    table = Table("image", "answer", "point", "source", "bytes", "ms", box=None)
    async with client:
        task = client.bundle.manifest.task
        for image in images:
            try:
                result = await client.infer(image, point=point)
            except InputError as error:
                failed.append(error)
                click.echo(f"error: {error}", err=True)
                continue
            classes = task.kind == "classification"
            best = top_classes(result.outputs[0], task.labels, top) if classes else []
            if as_json:
                click.echo(json.dumps(_as_json(image, best, result), ensure_ascii=False))
            else:
                answer = ", ".join(f"{label} {score:.2f}" for label, score in best)
                if not classes:
                    answer = ", ".join(f"{tensor.dtype}{list(tensor.shape)}" for tensor in result.outputs)
                row = [answer, result.point.id, result.source, str(result.bytes_sent), f"{result.timing.total:.1f}"]
                table.add_row(image.name, *row)
    if table.row_count:
        Console().print(table)
    if failed:
        raise InputError(f"{len(failed)} of {len(images)} images could not be used")


def top_classes(scores: Array, labels: tuple[str, ...], top: int) -> list[tuple[str, float]]:
    """The best classes and their probabilities.

    Args:
        scores: (1, classes) or (classes,): logits, or probabilities.
        labels: names by class; where there are none, the numbers are used.
        top: how many.
    """
    values = np.asarray(scores, dtype=np.float64).reshape(-1)
    if not np.isclose(values.sum(), 1.0, atol=1e-3) or values.min() < 0:
        values = np.exp(values - values.max())
        values /= values.sum()
    order = np.argsort(-values, kind="stable")[:top]
    return [(labels[i] if i < len(labels) else str(i), float(values[i])) for i in order]


def _as_json(image: Path, best: list[tuple[str, float]], result: InferenceResult) -> dict[str, object]:
    timing = result.timing
    return {
        "image": str(image),
        "top": [[label, round(score, 6)] for label, score in best],
        "point": result.point.id,
        "source": result.source,
        "exit": result.exit,
        "bytes_sent": result.bytes_sent,
        "timing_ms": {name: round(getattr(timing, name), 3) for name in timing.__dataclass_fields__},
        "hops": [
            {"tier": hop.tier}
            | {name: round(getattr(hop, name), 3) for name in hop.__struct_fields__ if name != "tier"}
            for hop in result.hops
        ],
    }
