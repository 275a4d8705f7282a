"""What `Client.infer` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Point
from cutpoint.sdk.errors import CutpointError
from cutpoint.sdk.policy import Plan
from cutpoint.sdk.protocol import Hop

__all__ = ["InferenceResult", "Timing"]


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time of a request went, in milliseconds.

    Attributes:
        total: from the call of `infer` to its answer.
        prepare: picture to boundary 0.
        head: head and exit, or the whole model where the device answered.
        encode: codec, on the device.
        network: everything between the two machines: there, back, and their event loops.
        queue: waiting for a worker of the server.
        decode: codec, on the server.
        tail: tail, on the server.
    """

    total: float
    prepare: float = 0.0
    head: float = 0.0
    encode: float = 0.0
    network: float = 0.0
    queue: float = 0.0
    decode: float = 0.0
    tail: float = 0.0


@dataclass(frozen=True, slots=True)
class InferenceResult:
    """An answer.

    Attributes:
        outputs: the model's outputs, as the bundle's last boundary describes.
        point: the point that gave this answer. Not the plan's where the device stepped in.
        source: who gave it: ``edge`` or ``device``.
        timing: where the time went.
        bytes_sent: on the wire, protocol included; 0 if nothing was sent. Counted also where the device stepped in.
        plan: what the policy chose, what it expected, and what the runners-up would have cost.
        fallback: why the device stepped in: the link's or server's error; None if it did not have to.
        hedged: whether the device worked on an answer beside the server.
        hops: what each tier behind the device did, the nearest first; empty where none did anything, or the server does
            not tell.
        exit: id of the exit that was sure enough of this answer: the device's, or where `source` is ``edge`` one that
            an overloaded server asked; None if the request went all the way.
        frame: number in the stream, from 0, counting also those that were left out; None outside streams.
    """

    outputs: tuple[Array, ...]
    point: Point
    source: Literal["edge", "device"]
    timing: Timing
    bytes_sent: int
    plan: Plan
    fallback: CutpointError | None = None
    hedged: bool = False
    exit: str | None = None
    frame: int | None = None
    hops: tuple[Hop, ...] = ()
