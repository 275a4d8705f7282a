"""How many requests went which way."""

from __future__ import annotations

from dataclasses import dataclass

from cutpoint.sdk.result import InferenceResult

__all__ = ["Counters"]


@dataclass(slots=True)
class Counters:
    """Requests of a client that were answered.

    Attributes:
        edge: by the server.
        device: by the device, whatever the reason.
        hedged: for which the device worked beside the server.
        hedges_won: of those, the ones that the device answered first.
        exits: that an exit of the device answered.
        server_exits: that an overloaded server answered from an exit.
        fallbacks: that the device answered because the server or the link failed.
    """

    edge: int = 0
    device: int = 0
    hedged: int = 0
    hedges_won: int = 0
    exits: int = 0
    server_exits: int = 0
    fallbacks: int = 0

    @property
    def answered(self) -> int:
        """All of them."""
        return self.edge + self.device

    def count(self, result: InferenceResult) -> None:
        """Adds an answer."""
        on_device = result.source == "device"
        self.edge += not on_device
        self.device += on_device
        self.hedged += result.hedged
        self.hedges_won += result.hedged and on_device
        self.exits += result.exit is not None and on_device
        self.server_exits += result.exit is not None and not on_device
        self.fallbacks += result.fallback is not None
