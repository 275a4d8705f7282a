"""Links for simulations that need no recorded ones."""

from __future__ import annotations

import numpy as np

from cutpoint.sdk.testing import Trace

__all__ = ["wandering_links"]


def wandering_links(count: int = 3, seed: int = 0) -> tuple[Trace, ...]:
    """Links whose rate wanders around some Mbit/s, with outages."""
    links = []
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        rates = np.exp(14.5 + np.cumsum(0.2 * rng.standard_normal(600)) % 2)
        rates[rng.random(600) < 0.02] = 0.0
        links.append(Trace(tuple(rates.tolist())))
    return tuple(links)
