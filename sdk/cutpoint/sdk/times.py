"""When the link connects, probes, and gives up."""

from __future__ import annotations

import random
from dataclasses import dataclass

__all__ = ["Backoff", "LinkTimes"]


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before connecting again: a random time up to `first` · 2^n seconds, at most `longest`.

    (Full jitter: a thousand phones that lost one server must not come back at the same moment.)
    """

    first: float = 0.1
    longest: float = 10.0

    def delay(self, attempt: int, rng: random.Random) -> float:
        """Seconds before attempt number `attempt` (0, 1, …)."""
        return rng.uniform(0, min(self.longest, self.first * 2.0 ** min(attempt, 30)))


@dataclass(frozen=True, slots=True)
class LinkTimes:
    """Times of the link in seconds.

    Attributes:
        connect: for connecting and the handshake.
        probe: between probes of an idle link; they keep the belief about it fresh.
        silence: without any sign of the server while an answer or a pong is due, after which the link is given up.
        longest_silence: up to which that rises where pongs come late; 0 for `silence`.
        backoff: between attempts to connect.
        eager: between attempts while requests want the link.
        kernel: ask the kernel for its round-trip time and rate with every answer (Linux, Android). Not with a proxy or
            a VPN in between, of which the kernel does not see the other side.
    """

    connect: float = 5.0
    probe: float = 1.0
    silence: float = 8.0
    longest_silence: float = 0.0
    backoff: Backoff = Backoff()
    eager: float = 1.0
    kernel: bool = False
