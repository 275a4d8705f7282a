"""Engines: what computes tails."""

from cutpoint.server.engines.base import Computed, Engine
from cutpoint.server.engines.local import LocalEngine

__all__ = ["Computed", "Engine", "LocalEngine"]
