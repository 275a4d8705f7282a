"""What a request, or a part of one, is when it leaves the device's worker."""

from __future__ import annotations

from dataclasses import dataclass

from cutpoint.codecs import Array

__all__ = ["DeviceOutput"]


@dataclass(frozen=True, slots=True)
class DeviceOutput:
    """What came of a request on the device.

    Attributes:
        payload: the bytes to send; None where there is an answer.
        symbols: what the payload stands for, where the codec can refer to it later; None otherwise.
        outputs: the model's outputs; None unless the point is local, or its exit was sure.
        head_ms: time in the head, or the whole model; the exit's included.
        encode_ms: time in the codec.
        exit: id of the exit that answered; None if none did.
    """

    payload: bytes | None
    outputs: tuple[Array, ...] | None
    head_ms: float
    encode_ms: float
    symbols: tuple[Array, ...] | None = None
    exit: str | None = None
