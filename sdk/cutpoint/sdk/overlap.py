"""A head in slices: the device computes one while the link sends another; some are sent as picture, for the server.

Without I/O: what a schedule takes is simulated on the three resources (`timeline`), and the best one is looked for
among ways of slicing. The whole picture to the server, one slice at one cut, and the device alone are such ways, too,
so that the best is never worse than any of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cutpoint.sdk.errors import InputError
from cutpoint.sdk.timeline import Step, finish_ms

__all__ = ["ChannelState", "Schedule", "SliceCost", "SlicedHead", "best_schedule", "schedule_steps"]


@dataclass(frozen=True, slots=True)
class SliceCost:
    """What a slice of a head takes, on the calibrating machine, if the device computes it or the server does.

    Attributes:
        device_ms: head and encoder.
        nbytes: what they give.
        decode_ms: decoder, on the server.
        picture_ms: the picture codec on the device, for the rows that no slice above needs.
        picture_bytes: what it gives.
        server_ms: decoder and head, if the server computes the slice from the picture.
    """

    device_ms: float
    nbytes: float
    decode_ms: float
    picture_ms: float
    picture_bytes: float
    server_ms: float


@dataclass(frozen=True, slots=True)
class SlicedHead:
    """One way of slicing one head.

    Attributes:
        boundary: where it ends.
        slices: from the top of the picture down.
        tail_ms: the rest of the model, on the server of the calibrating machine's speed.
    """

    boundary: int
    slices: tuple[SliceCost, ...]
    tail_ms: float


@dataclass(frozen=True, slots=True)
class ChannelState:
    """What a schedule depends on.

    Attributes:
        uplink: bit/s.
        rtt_ms: round trip, in halves behind what is sent and in front of the answer.
        device_scale: how many times slower than the calibrating machine the device computes.
        server_scale: the same for the server.
    """

    uplink: float
    rtt_ms: float
    device_scale: float = 1.0
    server_scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """Who computes which slices, and when the answer is there.

    Attributes:
        head: its slices; None if the device computes the whole model.
        raw: how many slices, from the top, are sent as picture and computed by the server.
        latency_ms: until the answer is there.
    """

    head: SlicedHead | None
    raw: int
    latency_ms: float


def schedule_steps(head: SlicedHead, raw: int, state: ChannelState) -> list[Step]:
    """The steps of a request whose first `raw` slices are sent as picture.

    The picture goes first, so that link and server have work while the device computes. Everything is sent, and worked
    on by the server, in the order of the slices.

    Raises:
        InputError: if there are not as many slices.
    """
    if not 0 <= raw <= len(head.slices):
        raise InputError(f"{raw} of {len(head.slices)} slices cannot be sent as picture")
    byte_ms = 8e3 / state.uplink
    steps: list[Step] = []
    arrivals: list[tuple[int, float]] = []
    for number, cost in enumerate(head.slices):
        as_picture = number < raw
        device_ms = cost.picture_ms if as_picture else cost.device_ms
        nbytes = cost.picture_bytes if as_picture else cost.nbytes
        steps.append(Step("device", device_ms * state.device_scale))
        steps.append(Step("uplink", nbytes * byte_ms, (len(steps) - 1,), state.rtt_ms / 2))
        arrivals.append((len(steps) - 1, cost.server_ms if as_picture else cost.decode_ms))
    done = []
    for arrival, server_ms in arrivals:
        done.append(len(steps))
        steps.append(Step("server", server_ms * state.server_scale, (arrival,)))
    steps.append(Step("server", head.tail_ms * state.server_scale, tuple(done), state.rtt_ms / 2))
    return steps


def best_schedule(heads: Iterable[SlicedHead], local_ms: float, state: ChannelState) -> Schedule:
    """The schedule with the earliest answer: any of `heads`, any number of slices as picture, or the device alone.

    Args:
        heads: ways of slicing; those of one slice are cuts as usual.
        local_ms: the whole model on the calibrating machine.
        state: of link, device and server.
    """
    best = Schedule(None, 0, local_ms * state.device_scale)
    for head in heads:
        for raw in range(len(head.slices) + 1):
            latency_ms = finish_ms(schedule_steps(head, raw, state))
            if latency_ms < best.latency_ms:
                best = Schedule(head, raw, latency_ms)
    return best
