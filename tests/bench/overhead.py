"""What the framework itself costs per request, beside a bare socket.

Overhead is the client's wall time less head, encoder, decoder and tail: event loops, threads, protocol, WebSocket and
the way there and back. The payload is about 10 KB: a raw cut of the demo's network. The yardstick, in the same run and
in turn with it, is an echo over a plain blocking TCP socket to another process: 10 KB there, a result's size back.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import subprocess
import sys
import time
from importlib.resources import as_file, files
from typing import Any

from rich.table import Table

from cutpoint.demo.scenes import render
from cutpoint.sdk import Bundle, Client, InferenceResult, Point, StaticPolicy
from cutpoint.sdk.testing import ServerProcess

TITLE = "Framework overhead per request, loopback, separate processes"

_ROUNDS = 400
_PAYLOAD = 10_000

_ECHO = """
import socket
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
connection, _ = server.accept()
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
need, back = {up}, b"x" * {down}
while True:
    got = 0
    while got < need:
        data = connection.recv(need - got)
        if not data:
            raise SystemExit
        got += len(data)
    connection.sendall(back)
"""


class _Echo:
    """The plain socket."""

    def __init__(self, up: int, down: int) -> None:
        code = _ECHO.format(up=up, down=down)
        self._process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        port = int(self._process.stdout.readline())
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._up, self._down = b"x" * up, down

    def milliseconds(self) -> float:
        """One round."""
        began = time.perf_counter()
        self._socket.sendall(self._up)
        got = 0
        while got < self._down:
            got += len(self._socket.recv(self._down - got))
        return (time.perf_counter() - began) * 1e3

    def close(self) -> None:
        """Ends the process."""
        self._socket.close()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def overhead_ms(result: InferenceResult) -> float:
    """Wall time less the work."""
    timing = result.timing
    return timing.total - timing.prepare - timing.head - timing.encode - timing.decode - timing.tail


def _nearest(bundle: Bundle) -> Point:
    remote = [point for point in bundle.points if not point.local]
    return min(remote, key=lambda point: abs(point.measured.bytes_mean - _PAYLOAD))


async def _run() -> dict[str, Any]:
    with as_file(files("cutpoint.demo").joinpath("scenes.cutpoint")) as path:
        bundle = await asyncio.to_thread(Bundle.open, path)
        point = _nearest(bundle)
        local = next(p for p in bundle.points if p.local)
        picture = await asyncio.to_thread(lambda: render(1).image)
        async with (
            ServerProcess(path, "--threads", "1") as server,
            Client(server.url, bundle, policy=StaticPolicy(point, local), mode="edge") as client,
        ):
            first = await client.infer(picture)
            echo = await asyncio.to_thread(_Echo, first.bytes_sent, first.outputs[0].nbytes + 100)
            framework, bare, wall = [], [], []
            for _ in range(_ROUNDS):
                result = await client.infer(picture)
                framework.append(overhead_ms(result))
                wall.append(result.timing.total)
                bare.append(echo.milliseconds())
            echo.close()
    return {
        "point": point.id,
        "bytes_sent": first.bytes_sent,
        "rounds": _ROUNDS,
        "overhead_ms": _quantiles(framework),
        "bare_socket_ms": _quantiles(bare),
        "wall_ms": _quantiles(wall),
        "ratio_p50": statistics.median(framework) / statistics.median(bare),
    }


def _quantiles(values: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100)
    return {"p50": round(cuts[49], 4), "p95": round(cuts[94], 4)}


def run() -> dict[str, Any]:
    """Measures; see the module's docstring."""
    return asyncio.run(_run())


def table(result: dict[str, Any]) -> Table:
    """A row a measurement."""
    rows = Table("", "p50 ms", "p95 ms", title=f"{result['point']}, {result['bytes_sent']} bytes sent")
    for name in ("wall_ms", "overhead_ms", "bare_socket_ms"):
        rows.add_row(name.removesuffix("_ms").replace("_", " "), *(f"{result[name][q]:.3f}" for q in ("p50", "p95")))
    rows.add_row("overhead / bare socket", f"{result['ratio_p50']:.1f}×", "")
    return rows
