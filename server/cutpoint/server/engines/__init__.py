"""Where tails are computed."""

from cutpoint.server.engines.base import Engine, Outcome
from cutpoint.server.engines.local import LocalEngine

__all__ = ["Engine", "LocalEngine", "Outcome"]
