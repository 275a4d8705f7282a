"""What one writes without a framework: an aiohttp handler that calls onnxruntime.

It decodes with the same codec and runs the same tail, in the handler itself, and answers with the output's bytes.
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web

from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.sdk.tail import Tail


async def main(path: str) -> None:
    """Serves the bundle at `path`; prints the port."""
    bundle = Bundle.open(path)
    tail = Tail(BundleGraphs(bundle, [create_runtime("onnx", threads=1)]))
    tail.warm_up(bundle.points)

    async def infer(request: web.Request) -> web.Response:
        point = bundle.points[int(request.match_info["point"])]
        return web.Response(body=tail.run(point, await request.read()).outputs[0].tobytes())

    app = web.Application(client_max_size=1 << 24)
    app.router.add_post("/{point}", infer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
