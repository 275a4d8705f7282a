"""How thoroughly to search for operating points, and what they must keep to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from cutpoint.calibration.search.constraints import Constraints
from cutpoint.sdk.bundle import Point

__all__ = ["ANY_DEVICE", "KNOWN_DEVICE", "MODES", "Mode", "Scope"]

#: How many times slower than in calibration devices are, and than they were measured: warm, or busy.
ANY_DEVICE = (1.0, 100.0)
KNOWN_DEVICE = (1.0, 3.0)


@dataclass(frozen=True)
class Mode:
    """How thoroughly to search.

    Attributes:
        name: of the mode.
        rungs: shares of the samples, cumulative; the last is 1.
        keep: share of the trials that goes on after a rung.
        proxy: whether the proxy rejects anything.
        most: points in the bundle, baselines not counted.
        budget_s: seconds of the whole calibration unless asked otherwise; None: no limit.
    """

    name: Literal["quick", "default", "exhaustive"]
    rungs: tuple[float, ...]
    keep: float
    proxy: bool
    most: int
    budget_s: float | None


MODES = {
    mode.name: mode
    for mode in (
        Mode("quick", (1 / 8, 1 / 2, 1.0), 1 / 3, True, 32, 240.0),
        Mode("default", (1 / 8, 1 / 4, 1 / 2, 1.0), 1 / 2, True, 48, 900.0),
        Mode("exhaustive", (1.0,), 1.0, False, 48, None),
    )
}


@dataclass(frozen=True)
class Scope:
    """What a search goes by.

    Attributes:
        mode: how thorough it is.
        baselines: ids of points that are measured and kept whatever happens.
        uncut: id of the point that is the uncut model on the device.
        constraints: that points must keep to.
        most: points to keep, baselines not counted; None: the mode's.
        seed: of what is drawn.
        keep_all: reject nothing but what breaks constraints, and keep all of the rest.
        memory: bytes that a device needs for a point.
        workers: samples that are judged side by side.
        on_device: from a point as it was measured here to what it costs on the device that the front is chosen for.
        slower: how many times slower the device may be than those costs: the ends of what is drawn.
    """

    mode: Mode
    baselines: frozenset[str]
    uncut: str
    constraints: Constraints = field(default_factory=Constraints)
    most: int | None = None
    seed: int = 0
    keep_all: bool = False
    memory: Callable[[Point], int] = lambda point: 0
    workers: int = 1
    on_device: Callable[[Point], Point] = lambda point: point
    slower: tuple[float, float] = ANY_DEVICE
