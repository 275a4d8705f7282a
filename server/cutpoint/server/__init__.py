"""The edge server: aiohttp, tails, metrics."""

from cutpoint.server.app import EdgeServer
from cutpoint.server.engines import Computed, Engine, LocalEngine
from cutpoint.server.scheduler import Outcome, Scheduler
from cutpoint.server.settings import Settings

__all__ = ["Computed", "EdgeServer", "Engine", "LocalEngine", "Outcome", "Scheduler", "Settings"]
