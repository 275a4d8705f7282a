"""One, two and three servers that compute slices of one request: VGG-16 and ResNet-50, random weights.

Each server is a process in a namespace of its own, with a processor quota and a shaped link. Requests (WebP pictures)
arrive one after the other at the first, which is the fastest where quotas differ. The machine has two cores: the quotas
of three servers sum up to less, so that none of them slows another one down. Nodes that a row does without are
cut off. Beside each time stands what the planner predicts from what the nodes say of themselves.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import numpy as np
from PIL import Image
from rich.table import Table
from tests.bench._architectures import architecture
from tests.support.nodes import numbers
from tests.support.sharing import picture_graph, sharing_bundle
from tests.testbed.bed import Machine, TestBed, missing

from cutpoint.calibration.graphs.cuts import pick_cuts
from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.importers.torch import export_module
from cutpoint.calibration.slices import Rows, find_local_prefix, trace_halo
from cutpoint.codecs import Array
from cutpoint.demo.scenes import render
from cutpoint.sdk import Bundle, Client
from cutpoint.sdk.testing import ServerProcess
from cutpoint.server.nodes.handover import Handover
from cutpoint.server.nodes.planner import Path as Way
from cutpoint.server.nodes.planner import Route, SharedStage
from cutpoint.server.nodes.report import NodeReport
from cutpoint.server.nodes.roster import Member, Roster, Task
from cutpoint.server.shared_slices import SliceTable

TITLE = "Slices of one request on several servers"

_SIDE = 224
_POINT = "cut0-webp-q85"
_PORT = 8700
_NODES = ("first", "second", "third")
#: Networks, and where their nodes may hand over.
_NETWORKS = {
    "vgg16": ("max_pool2d_2", "relu_11"),
    "resnet50": ("relu_21", "relu_39"),
}
#: In how many slices of equal cost spans are cut, and for which speeds.
_WAYS = ((1.0, 1.0), (1.0, 1.0, 1.0), (1.0, 0.6, 0.4))
#: Quotas in cores.
_QUOTAS = {"equal": (0.5, 0.5, 0.5), "1.0/0.6/0.4": (0.8, 0.48, 0.32)}
_RATES = (1e9, 1e8)
#: Seconds of the smallest message on such a link, each way.
_DELAY = 0.0005
#: Seconds of requests before those that count, in which nodes learn how fast they are, and of those that count.
_WARM, _COUNTED = 6.0, 6.0


def _graph(name: str) -> ModelGraph:
    """A torchvision architecture behind the pixels of a picture; VGG without its hidden dense layers."""
    module = architecture(name)
    return picture_graph(export_module(module, (1, 3, _SIDE, _SIDE), name, name).model, _SIDE)


def _macs(graph: ModelGraph, bundle: Bundle) -> dict[int, int]:
    """Multiply-accumulates of each slice by its number."""
    prefix = find_local_prefix(graph)
    names = [[spec.name for spec in boundary.tensors] for boundary in bundle.manifest.boundaries]
    return {
        number: trace_halo(graph, prefix, names[piece.start], names[piece.end], Rows(*piece.rows)).macs
        for number, piece in enumerate(bundle.manifest.slices)
    }


@asynccontextmanager
async def _servers(bed: TestBed, path: Path) -> AsyncIterator[list[ServerProcess]]:
    """Servers on all machines, each other's peers; they start at full speed."""
    async with AsyncExitStack() as stack:
        servers = []
        for name in _NODES:
            await asyncio.to_thread(bed.set_cpu, name, 2.0)
            peers = [f"ws://{bed.address(other)}:{_PORT}" for other in _NODES if other != name]
            options = [word for url in peers for word in ("--peer", url)]
            server = ServerProcess(
                path,
                *("--host", bed.address(name), "--port", str(_PORT), "--threads", "1", "--tier", name, *options),
                prefix=bed.command(name),
                timeout=300.0,
            )
            # One after the other: while one measures its slices, none disturbs it.
            servers.append(await stack.enter_async_context(server))
        yield servers


async def _report(url: str) -> NodeReport:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http{url.removeprefix('ws')}/v1/node") as response,
    ):
        return msgspec.json.decode(await response.read(), type=NodeReport)


def _predict(bundle: Bundle, reports: Mapping[str, NodeReport], rate: float, sliced: bool = True) -> Route:
    """The route that the planner takes with such nodes and links."""
    measured = bundle.points[bundle.point_number(_POINT)].measured
    places = Handover(bundle, SliceTable(bundle)).places["fp32"]
    roster = Roster(_NODES[0], "latency")
    for name, report in reports.items():
        way = Way(_DELAY, 8 / rate)
        roster.update(name, Member(report) if name == _NODES[0] else Member(report, way, way))
    task = Task(bundle.hash, "fp32", 0, round(measured.bytes_mean), measured.decode_ms / 1e3)
    plan = roster.plan(task, places if sliced else replace(places, ways={}), (), {})
    assert plan is not None
    return plan.choose({})


def _halo(bundle: Bundle, macs: Mapping[int, int], route: Route) -> float:
    """Multiply-accumulates of a route that are computed twice, as a share of the model's."""
    boundaries, extra = bundle.manifest.boundaries, 0
    for stage in route.stages:
        if isinstance(stage, SharedStage):
            computed = sum(macs[number] for share in stage.shares for number in share.slices)
            extra += computed - (boundaries[stage.end].macs - boundaries[stage.start].macs)
    return extra / boundaries[-1].macs


def _sent(bundle: Bundle, route: Route) -> int:
    """Bytes of rows that go to other nodes and come back."""
    table = SliceTable(bundle)
    shares = [share for stage in route.stages if isinstance(stage, SharedStage) for share in stage.shares]
    others = [number for share in shares if share.node != _NODES[0] for number in share.slices]
    return sum(table.takes(number) + table.gives(number) for number in others)


def _describe(bundle: Bundle, route: Route) -> str:
    """Where spans end, and how many rows each node computes."""
    slices, words = bundle.manifest.slices, []
    for stage in route.stages:
        if isinstance(stage, SharedStage):
            rows = {s.node: sum(b - a for a, b in (slices[n].rows for n in s.slices)) for s in stage.shares}
            words.append("+".join(str(rows[name]) for name in _NODES if name in rows))
        else:
            words.append(stage.node)
    return ", ".join(words)


async def _measure(
    bed: TestBed, bundle: Bundle, servers: Sequence[ServerProcess], picture: Array, count: int
) -> dict[str, Any]:
    """Requests to the first server while so many of them are there."""
    for number, name in enumerate(_NODES):
        await asyncio.to_thread(bed.cut, name, number >= count)
    while len((await numbers(servers[0].url))["nodes"]) != count:
        pass
    times, helped = [], Counter[int]()
    async with Client(servers[0].url, bundle, mode="edge") as client:
        warm = time.perf_counter() + _WARM
        while (began := time.perf_counter()) < warm + _COUNTED:
            result = await client.infer((picture,), point=_POINT)
            if began >= warm:
                times.append((time.perf_counter() - began) * 1e3)
                helped[len({hop.tier for hop in result.hops if hop.compute_ms})] += 1
    return {
        "servers": count,
        "p50_ms": statistics.median(times),
        "best_ms": min(times),
        "p95_ms": float(np.quantile(times, 0.95)),
        "computed_by": dict(helped),
    }


async def _network(bed: TestBed, name: str, picture: Array) -> list[dict[str, Any]]:
    graph = _graph(name)
    bundle = sharing_bundle(name, graph, pick_cuts(graph, _NETWORKS[name]), _WAYS)
    macs = _macs(graph, bundle)
    rows = []
    path = Path(f"bench/bundles/slices-{name}.cutpoint")
    await asyncio.to_thread(bundle.save, path, overwrite=True)
    async with _servers(bed, path) as servers:
        for quotas, cores in _QUOTAS.items():
            for node, share in zip(_NODES, cores, strict=True):
                await asyncio.to_thread(bed.set_cpu, node, share)
            for rate in _RATES:
                for node in _NODES:
                    await asyncio.to_thread(bed.set_rate, node, rate)
                for count in range(1, len(_NODES) + 1):
                    row = await _measure(bed, bundle, servers, picture, count)
                    there = dict(zip(_NODES[:count], servers, strict=False))
                    reports = {node: await _report(server.url) for node, server in there.items()}
                    route = _predict(bundle, reports, rate)
                    whole = _predict(bundle, reports, rate, sliced=False).seconds
                    row |= {
                        "network": name,
                        "quotas": quotas,
                        "rate": rate,
                        "predicted_ms": route.seconds * 1e3,
                        "unsliced_ms": whole * 1e3,
                        "halo": _halo(bundle, macs, route),
                        "transfer_ms": 8e3 * _sent(bundle, route) / rate,
                        "rows": _describe(bundle, route),
                    }
                    rows.append(row)
    return rows


def run() -> dict[str, Any]:
    """Measures; see the module's docstring."""
    if reason := missing():
        raise SystemExit(reason)
    Path("bench/bundles").mkdir(parents=True, exist_ok=True)
    # What the client waits for shall be the servers, whatever else the machine has to do.
    os.setpriority(os.PRIO_PROCESS, 0, -10)
    picture = np.asarray(Image.fromarray(render(1).image).resize((_SIDE, _SIDE)))[None]
    rows: list[dict[str, Any]] = []
    for name in _NETWORKS:
        with TestBed({node: Machine(2.0, _RATES[0]) for node in _NODES}) as bed:
            rows += asyncio.run(_network(bed, name, picture))
    return {"rows": rows, "quotas": _QUOTAS}


def table(result: dict[str, Any]) -> Table:
    """A row for each network, kind of quotas, link and number of servers."""
    table = Table("network", "quotas", "Mbit/s", "servers", title="milliseconds of one request at a time")
    columns = ("p50", "best", "speed-up", "predicted", "p50 / predicted", "unsliced, predicted", "halo", "transfers")
    for column in columns:
        table.add_column(column, justify="right")
    table.add_column("rows, or node")
    table.add_column("computed by")
    alone: dict[tuple[str, str, float], float] = {}
    for row in result["rows"]:
        key = row["network"], row["quotas"], row["rate"]
        alone.setdefault(key, row["p50_ms"])
        nodes = ", ".join(f"{count} × {number}" for number, count in sorted(row["computed_by"].items()))
        table.add_row(
            row["network"],
            row["quotas"],
            f"{row['rate'] / 1e6:.0f}",
            str(row["servers"]),
            f"{row['p50_ms']:.0f}",
            f"{row['best_ms']:.0f}",
            f"{alone[key] / row['p50_ms']:.2f}",
            f"{row['predicted_ms']:.0f}",
            f"{row['p50_ms'] / row['predicted_ms']:.2f}",
            f"{row['unsliced_ms']:.0f}",
            f"{row['halo']:.0%}",
            f"{row['transfer_ms']:.0f}",
            row["rows"],
            nodes,
        )
    return table
