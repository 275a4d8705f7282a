"""The Android bridge on this machine's JVM: throughput of the entropy coder, and what a request costs and allocates.

The coder's symbols are those of the `codecs` benchmark. Requests go to a server in a process of its own, over loopback;
the head's output comes from memory, so that what is left is codec, client, protocol and OkHttp. A JVM is not a phone:
ratios to the other benchmarks of the same run say more than the figures.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from rich.table import Table
from tests.android import jvm
from tests.android.recording import RecordingRuntime
from tests.bench.codecs import large_symbols
from tests.vectors.vectors import Vector

from cutpoint.codecs.entropy import EntropyModel
from cutpoint.demo.scenes import render
from cutpoint.sdk import Bundle, Client, Objective, StaticPolicy
from cutpoint.sdk.testing import ServerProcess

TITLE = "Android bridge on the JVM"

POINTS = ("cut5-int8-klt-q6", "cut7-int8-klt-q5", "cut8-int8-affine-8bit")


def run() -> dict[str, Any]:
    """Measure; speeds in million symbols per second, times in milliseconds, sizes in bytes."""
    if reason := jvm.missing():
        raise SystemExit(reason)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        symbols = large_symbols()
        model = EntropyModel.fit(symbols)
        vector = Vector(model.to_bytes(), (symbols.shape[0], symbols.shape[1]), symbols, model.encode(symbols))
        (folder / "symbols.vec").write_bytes(vector.to_bytes())
        coder = json.loads(jvm.run("entropy.EntropyBench", folder / "symbols.vec"))
        with as_file(files("cutpoint.demo") / "scenes.cutpoint") as bundle:
            requests = asyncio.run(_requests(bundle, folder))
    sizes = {jar.name: jar.stat().st_size for jar in (jvm.BRIDGE / "build").glob("*.jar") if "test" not in jar.name}
    return {"coder": coder, "requests": requests, "jars": sizes}


async def _requests(path: Path, folder: Path) -> dict[str, Any]:
    bundle = await asyncio.to_thread(Bundle.open, path)
    image = render(1, (224, 224)).image
    picture = folder / "picture.rgb"
    await asyncio.to_thread(picture.write_bytes, image.tobytes())
    local = next(point for point in bundle.points if point.local)
    found = {}
    async with ServerProcess(path) as server:
        for name in POINTS:
            point = bundle.points[bundle.point_number(name)]
            for chosen in [point, *(each for each in bundle.points if each.local)]:
                mode = "device" if chosen.local else "edge"
                policy = StaticPolicy(chosen, chosen if chosen.local else local)
                recording = [RecordingRuntime(folder)]
                objective = Objective(accuracy_floor=0)
                async with Client(
                    server.url, bundle, mode=mode, policy=policy, objective=objective, runtime=recording
                ) as client:
                    await client.infer(image)
            arguments = (server.url, path, folder, picture, name)
            found[name] = json.loads(await asyncio.to_thread(jvm.run, "interop.RequestBench", *arguments))
    return found


def table(result: dict[str, Any]) -> Table:
    """The result as a table."""
    coder = result["coder"]
    table = Table("", "")
    table.add_row("encode", f"{coder['encode_msym_s']:.0f} Msym/s")
    table.add_row("decode", f"{coder['decode_msym_s']:.0f} Msym/s")
    table.add_row(
        "allocated to encode",
        f"{coder['encode_allocated_bytes']} B for a stream of {coder['bytes']} B ({coder['symbols']} symbols)",
    )
    for name, request in result["requests"].items():
        heap = request["cutpoint_allocated_bytes"] + request["cutpoint_device_allocated_bytes"]
        table.add_row(
            name,
            f"{request['bytes_sent']} B sent, {request['overhead_ms']:.2f} ms beside the work, "
            f"{heap} B allocated (and {request['okhttp_allocated_bytes']} B by OkHttp)",
        )
    for name, size in sorted(result["jars"].items()):
        table.add_row(name, f"{size / 1e3:.0f} kB")
    return table
