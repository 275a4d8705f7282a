"""What the device's share of a bundle costs on a particular device. docs/bundle.md is the prose to it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import msgspec

__all__ = ["DeviceProfile", "EncoderCost", "HeadCost"]


class HeadCost(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A head on one runtime. Milliseconds of single runs, one after the other.

    Attributes:
        end: boundary where it ends.
        precision: of the head.
        format: of its file, ``onnx`` or ``tflite``.
        sha256: of its file: the cost holds for any bundle with that file.
        p50_ms: median.
        p95_ms: 95th percentile.
        memory: bytes by which loading and running it made the process larger at the most; None where unknown.
        energy_mj: millijoule of a run, above the idle device; None where unknown.
    """

    end: int
    precision: str
    format: Literal["onnx", "tflite"]
    sha256: str
    p50_ms: float
    p95_ms: float
    memory: int | None = None
    energy_mj: float | None = None


class EncoderCost(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An encoder at one level: its graph and the entropy coder, or a picture codec.

    Attributes:
        codec: id in the bundle.
        level: of the codec.
        sha256: of its graph file in `format`; empty for a codec without graph.
        format: of its graph file; None for a codec without graph.
        p50_ms: median, milliseconds.
        p95_ms: 95th percentile, milliseconds.
        energy_mj: millijoule of a run, above the idle device; None where unknown.
    """

    codec: str
    level: int
    sha256: str
    p50_ms: float
    p95_ms: float
    format: Literal["onnx", "tflite"] | None = None
    energy_mj: float | None = None


class DeviceProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the device's share of points costs on one device: `device.json`, and an entry of a manifest.

    Attributes:
        name: of the device, unique in a bundle.
        machine: processor, cores, memory and versions, for people.
        threads: of the runtime.
        scale: how many times slower than in calibration, for points whose head or encoder is not listed.
        source: of an estimate; empty where it was measured.
        bundle: hash of the bundle that it was measured with; empty for an estimate.
        heads: what was measured.
        encoders: what was measured.
    """

    name: str
    machine: str = ""
    threads: int = 1
    scale: float = 1.0
    source: str = ""
    bundle: str = ""
    heads: tuple[HeadCost, ...] = ()
    encoders: tuple[EncoderCost, ...] = ()

    @property
    def estimate(self) -> bool:
        """Whether it comes from a publication instead of a measurement."""
        return bool(self.source)

    def problems(self) -> Iterator[str]:
        """What is wrong with it, if anything."""
        if not self.name:
            yield "a device profile without a name"
        if not 0 < self.scale < math.inf:
            yield f"device profile {self.name!r}: its scale is not above 0"
        costs: list[HeadCost | EncoderCost] = [*self.heads, *self.encoders]
        if not all(0 <= cost.p50_ms < math.inf and 0 <= cost.p95_ms < math.inf for cost in costs):
            yield f"device profile {self.name!r}: a time is below 0"
        if not all(cost.energy_mj is None or 0 <= cost.energy_mj < math.inf for cost in costs):
            yield f"device profile {self.name!r}: an energy is below 0"
