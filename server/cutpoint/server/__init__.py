"""The edge server: aiohttp, tails, metrics."""

from cutpoint.server.app import EdgeServer
from cutpoint.server.engines import Engine, LocalEngine, Outcome
from cutpoint.server.settings import Settings

__all__ = ["EdgeServer", "Engine", "LocalEngine", "Outcome", "Settings"]
