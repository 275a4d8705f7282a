"""What a node says of itself: `GET /v1/node`."""

from __future__ import annotations

import msgspec

__all__ = ["NodeReport", "SpanReport"]


class SpanReport(msgspec.Struct, frozen=True):
    """A span that a node can compute.

    Attributes:
        start: boundary.
        end: boundary.
        precision: as in the bundle.
        seconds: of a worker for one request now, from what it has measured.
    """

    start: int
    end: int
    precision: str
    seconds: float


class NodeReport(msgspec.Struct, frozen=True):
    """A node now.

    Attributes:
        id: of the process, at random: another one after a restart.
        cpu: processors that it may keep busy.
        memory: bytes that it has free; None where it does not know.
        load: share of its processors that it uses, 0 … 1.
        workers: batches that it computes at a time.
        tasks: requests that wait there or are computed.
        draining: whether it takes no new requests.
        models: by the bundle's hash, the spans that it can compute.
        slices: by the bundle's hash and the slice's number, seconds of a worker for the slices that it can compute.
    """

    id: str
    cpu: float
    memory: int | None
    load: float
    workers: int
    tasks: int
    draining: bool
    models: dict[str, list[SpanReport]]
    slices: dict[str, dict[int, float]] = {}
