"""Server processes that are each other's peers."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp

from cutpoint.sdk.testing import ServerProcess

__all__ = ["free_ports", "node_processes", "numbers"]


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody uses now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@asynccontextmanager
async def node_processes(
    bundle: str | os.PathLike[str], count: int, *options: str, peers: Sequence[Sequence[str]] | None = None
) -> AsyncIterator[list[ServerProcess]]:
    """`count` servers on loopback, called n0, n1, …

    Args:
        bundle: what all of them serve.
        count: how many.
        options: further ones of all of them.
        peers: of each its peers' addresses; all others if not given.
    """
    ports = free_ports(count)
    urls = [f"ws://127.0.0.1:{port}" for port in ports]
    async with AsyncExitStack() as stack:
        servers = []
        for number, port in enumerate(ports):
            others = [url for url in urls if url != urls[number]] if peers is None else peers[number]
            named = [word for url in others for word in ("--peer", url)]
            server = ServerProcess(
                bundle, "--port", str(port), "--tier", f"n{number}", "--threads", "1", *named, *options
            )
            servers.append(server)
        # One after the other would take seconds for each.
        await asyncio.gather(*(stack.enter_async_context(server) for server in servers))
        yield servers


async def numbers(url: str) -> dict[str, Any]:
    """What a server says of itself at ``/v1/status``."""
    async with aiohttp.ClientSession() as session, session.get(f"http{url.removeprefix('ws')}/v1/status") as response:
        found: dict[str, Any] = await response.json()
        return found
