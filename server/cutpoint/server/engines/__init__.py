"""Engines: what computes tails."""

from __future__ import annotations

import sys
from collections.abc import Callable

from cutpoint.sdk.errors import RuntimeUnavailable
from cutpoint.server.engines.base import Computed, Engine, Work
from cutpoint.server.engines.local import LocalEngine
from cutpoint.server.engines.replica import runtime_for
from cutpoint.server.settings import Settings

__all__ = ["Computed", "Engine", "LocalEngine", "Work", "create_engine"]


def create_engine(settings: Settings, clock: Callable[[], float]) -> Engine:
    """The engine that the settings ask for; with ``auto``, one in this process. Blocking.

    Raises:
        RuntimeUnavailable: if Ray or an onnxruntime provider is not installed here, or the system lacks what it takes.
        InputError: if the Ray cluster cannot be reached.
    """
    if settings.engine == "ray":
        from cutpoint.server.engines.ray import RayEngine

        return RayEngine(settings, clock)
    if settings.engine == "process":
        if sys.platform == "win32":
            raise RuntimeUnavailable("engine process hands sockets to a process, which Windows does not do: use local")
        from cutpoint.server.engines.process import ProcessEngine

        return ProcessEngine(settings, clock)
    return LocalEngine(runtime_for(settings), settings.threads, clock, settings.middle)
