"""Engines: what computes tails."""

from __future__ import annotations

from collections.abc import Callable

from cutpoint.sdk.runtimes import Runtime
from cutpoint.server.engines.base import Computed, Engine, Work
from cutpoint.server.engines.local import LocalEngine
from cutpoint.server.settings import Settings

__all__ = ["Computed", "Engine", "LocalEngine", "Work", "create_engine"]


def create_engine(settings: Settings, clock: Callable[[], float]) -> Engine:
    """The engine that the settings ask for. Blocking.

    Raises:
        RuntimeUnavailable: if Ray or an onnxruntime provider is not installed here.
        InputError: if the Ray cluster cannot be reached.
    """
    if settings.engine == "ray":
        from cutpoint.server.engines.ray import RayEngine

        return RayEngine(settings, clock)
    from cutpoint.sdk.runtimes.onnx import OnnxRuntime
    from cutpoint.sdk.testing import SlowRuntime

    runtime: Runtime = OnnxRuntime(settings.op_threads, settings.providers, settings.arena)
    if settings.slowdown > 1:
        runtime = SlowRuntime(runtime, settings.slowdown)
    return LocalEngine(runtime, settings.threads, clock, settings.middle)
