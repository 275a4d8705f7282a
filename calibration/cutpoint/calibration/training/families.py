"""The families of trained codecs: which levels there are, and how much of the encoder each computes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BOTTLENECK", "FAMILIES", "SLIMMABLE", "Family"]


@dataclass(frozen=True)
class Family:
    """A family of trained codecs. Levels are ordered by width, then by quality.

    Attributes:
        codec: id in the registry.
        widths: shares of the encoder's channels that it can run at, the smallest first (Yu et al., arXiv 1812.08928).
        qualities: how many step sizes, the coarsest first, there are at each width.
    """

    codec: str
    widths: tuple[float, ...]
    qualities: int

    @property
    def levels(self) -> tuple[str, ...]:
        """Name of each level."""
        numbers = range(1, self.qualities + 1)
        if len(self.widths) == 1:
            return tuple(f"q{number}" for number in numbers)
        return tuple(f"w{round(100 * width)}-q{number}" for width in self.widths for number in numbers)

    @property
    def level_widths(self) -> tuple[float, ...]:
        """Width of each level."""
        return tuple(width for width in self.widths for _ in range(self.qualities))


#: Each quality has gains of its own, and all are trained together: gains interpolated between trained ones cost up to a
#: point of accuracy on MobileNetV2.
BOTTLENECK = Family("bottleneck", (1.0,), 6)
SLIMMABLE = Family("slimmable", (0.25, 0.5, 0.75, 1.0), 3)
FAMILIES = {family.codec: family for family in (BOTTLENECK, SLIMMABLE)}
