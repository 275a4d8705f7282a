"""What int8 costs a model: a part of the report, and nothing that readers of reports need onnx for."""

from __future__ import annotations

import msgspec

__all__ = ["Int8Report"]


class Int8Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """What int8 costs the whole model, and which layers stay floats for it.

    Attributes:
        all_metric: the task metric with every layer in int8.
        all_ms: milliseconds of that model.
        all_bytes: size of that model.
        floats: outputs of the products whose layers stay floats, in the order of the graph.
        metric: the task metric with these in floats.
        ms: milliseconds of this model.
        bytes: size of this model.
        layers: how many there are.
    """

    all_metric: float
    all_ms: float
    all_bytes: int
    floats: tuple[str, ...] = ()
    metric: float = 0.0
    ms: float = 0.0
    bytes: int = 0
    layers: int = 0

    def note(self, metric: str, uncut: float, drop: float) -> str | None:
        """The story for people; None where all layers are int8 and lose no more than `drop`."""
        if self.all_metric >= uncut - drop:
            return None
        lost = f"int8 costs {uncut - self.all_metric:.1%} of {metric} ({uncut:.1%} to {self.all_metric:.1%})"
        if not self.floats:
            return f"{lost}, and no part of the layers in floats mends it"
        return (
            f"{lost}; with {len(self.floats)} of {self.layers} layers in floats it has {self.metric:.1%} and takes "
            f"{self.ms:.1f} ms instead of {self.all_ms:.1f}, {self.bytes / 1e6:.2f} MB instead of "
            f"{self.all_bytes / 1e6:.2f}: {', '.join(self.floats)}"
        )
