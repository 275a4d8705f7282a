"""What points must keep to, and what counts how much: a small TOML file.

accuracy_drop = 0.01      # of the metric, below the uncut model's
bytes = "4kB"             # mean payload
device_ms = 20            # head and encoder
tail_ms = 10              # decoder and tail
device_memory = "64MB"    # head, activations and encoder, estimated

[weights]                 # when the front is thinned; 0 leaves out what is not cared for, 1 is the default
accuracy = 2              # half the loss is allowed
tail = 0
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from cutpoint.calibration.errors import CalibrationError

__all__ = ["Constraints", "Weights", "load_constraints"]

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


class Weights(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much counts when the front is thinned: 1 as it is, 0 not at all. See `order_by_use`."""

    accuracy: float = 1.0
    bytes: float = 1.0
    device: float = 1.0
    tail: float = 1.0

    def __post_init__(self) -> None:
        if min(self.accuracy, self.bytes, self.device, self.tail) < 0:
            raise ValueError("a weight is 0 or more")

    @property
    def axes(self) -> tuple[float, float, float, float]:
        """Accuracy, bytes, device, tail."""
        return self.accuracy, self.bytes, self.device, self.tail


class Constraints(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Upper limits of points; None: no limit.

    Attributes:
        accuracy_drop: of the task metric below the uncut model's, 0 … 1.
        bytes: mean payload.
        device_ms: milliseconds of head and encoder on the calibrating machine, or on the device of `--device`.
        tail_ms: milliseconds of decoder and tail on the calibrating machine.
        device_memory: bytes of head, its largest activations and encoder, estimated.
        weights: when the front is thinned.
    """

    accuracy_drop: float | None = None
    bytes: float | None = None
    device_ms: float | None = None
    tail_ms: float | None = None
    device_memory: float | None = None
    weights: Weights = Weights()

    def __post_init__(self) -> None:
        if any(value < 0 for value in self._limits().values()):
            raise ValueError("a limit is 0 or more")

    def _limits(self) -> dict[str, float]:
        names = ("accuracy_drop", "bytes", "device_ms", "tail_ms", "device_memory")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def flat(self) -> dict[str, float]:
        """The limits that there are, and weights other than 1 as ``weight.NAME``: for the report."""
        weights = msgspec.structs.asdict(self.weights)
        return self._limits() | {f"weight.{name}": value for name, value in weights.items() if value != 1}


def load_constraints(path: Path) -> Constraints:
    """Reads a constraints file.

    Raises:
        CalibrationError: if it does not read, or has a key or value that is none; names it.
    """
    try:
        fields: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CalibrationError(f"{path}: not a readable TOML file: {error}") from error
    known = (*Constraints.__struct_fields__,)
    if unknown := [key for key in fields if key not in known]:
        raise CalibrationError(f"{path}: {unknown[0]!r} is not one of {', '.join(known)}")
    for key in ("bytes", "device_memory"):
        if isinstance(fields.get(key), str):
            fields[key] = _size(fields[key], path, key)
    try:
        return msgspec.convert(fields, Constraints)
    except msgspec.ValidationError as error:
        raise CalibrationError(f"{path}: {error}") from error


def _size(text: str, path: Path, key: str) -> float:
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", text)
    if found is None or found[2].upper() not in _UNITS:
        raise CalibrationError(f"{path}: {key}: {text!r} is not a size: write 64MB or 4kB")
    return float(found[1]) * _UNITS[found[2].upper()]
