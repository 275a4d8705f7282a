"""What the two sides say to each other. docs/protocol.md has the bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, TypeAlias

import msgspec

from cutpoint.codecs import Array

__all__ = [
    "EXITS",
    "EXTENSIONS",
    "IDLE",
    "SLICES",
    "TIERS",
    "TRACE",
    "Cancel",
    "Error",
    "Event",
    "Goaway",
    "Hello",
    "Hop",
    "Limits",
    "Part",
    "Ping",
    "Pong",
    "Rejected",
    "Request",
    "Result",
    "ServerState",
    "Timings",
    "TraceContext",
    "Welcome",
]

#: Extension: requests that name the boundary where the server stops and the tiers they passed; results with `hops`.
TIERS = "tiers"
#: Extension: requests that name the span of a trace which they belong to.
TRACE = "trace"
#: Extension: requests that an overloaded server may answer from an exit; results that say which exit it was.
EXITS = "exits"
#: Extension: requests whose payload comes in parts, each sent when it is there.
SLICES = "slices"
#: What this implementation knows.
EXTENSIONS = (TIERS, TRACE, SLICES, EXITS)


class Limits(msgspec.Struct, frozen=True):
    """What the server accepts on one connection.

    Attributes:
        frame: bytes of the longest frame.
        in_flight: requests that may wait for an answer at a time.
    """

    frame: int = 1 << 20
    in_flight: int = 32


class Hello(msgspec.Struct, frozen=True):
    """Client → server, first.

    Attributes:
        versions: protocol versions the client speaks.
        bundle: hash of the bundle it holds; empty for none.
        token: bearer token; empty for none.
        client: program and version, for the server's log.
        device: name of the device, for the server's log.
        extensions: that the client understands.
    """

    versions: tuple[int, ...]
    bundle: str
    token: str = ""
    client: str = ""
    device: str = ""
    extensions: tuple[str, ...] = ()


class ServerState(msgspec.Struct, frozen=True):
    """How the server is doing; rides on welcome, results and pongs.

    Attributes:
        queue_ms: how long a request that arrives now would wait for a worker.
        price: of a millisecond of tail time, in the policy's cost units.
        draining: the server is going away and takes no new requests.
        outdated: the connection's bundle has a successor, and will not be served for ever.
    """

    queue_ms: float = 0.0
    price: float = 0.0
    draining: bool = False
    outdated: bool = False


#: The state of a server that has nothing to do.
IDLE = ServerState()


class Welcome(msgspec.Struct, frozen=True):
    """Server → client, the answer to `Hello`.

    Attributes:
        version: of the protocol, chosen among the client's.
        server: program and version.
        bundle: hash of the bundle that requests on this connection are for.
        limits: what the server accepts.
        state: how it is doing.
        extensions: those of the client's that hold on this connection.
        scale: how many times slower than in calibration the server computes; said where tiers were agreed on.
    """

    version: int
    server: str
    bundle: str
    limits: Limits = Limits()
    state: ServerState = IDLE
    extensions: tuple[str, ...] = ()
    scale: Annotated[float, msgspec.Meta(gt=0)] = 1.0


class TraceContext(msgspec.Struct, frozen=True):
    """Which span of which trace a request belongs to, as in a W3C ``traceparent``.

    Attributes:
        trace_id: below 2**128, not 0.
        span_id: of the sender's span; below 2**64, not 0.
        flags: below 256; bit 0: the trace is recorded.
    """

    trace_id: int
    span_id: int
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """Client → server.

    Attributes:
        request_id: 1, 2, …, rising within a connection.
        point: number of the operating point in the manifest.
        payload: what the codec wrote.
        budget: seconds that are left for the answer; 0 for no limit. Not a clock time: clocks differ.
        stop: boundary whose tensors are asked for; 0 for the model's outputs. Others than 0 need `TIERS`.
        hops: tiers that the request has passed already. Others than 0 need `TIERS`.
        trace: the sender's span. Needs `TRACE`.
        exits: how many of the point's exits for servers, those of least drop first, may answer while the server is
            overloaded. Others than 0 need `EXITS`.
        sliced: whether the payload is only its first part, and `Part` events follow. Needs `SLICES`.
        arrivals: receiver only: seconds from the arrival of the first frame to that of each frame.
    """

    request_id: int
    point: int
    payload: bytes
    budget: float = 0.0
    stop: int = 0
    hops: int = 0
    trace: TraceContext | None = None
    exits: int = 0
    sliced: bool = False
    arrivals: tuple[float, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Part:
    """Client → server: a further part of a sliced request's payload. Needs `SLICES`.

    Attributes:
        request_id: of the request.
        number: 1, 2, …; part 0 came with the request.
        count: how many parts there are, part 0 included.
        payload: the bytes of this part; there may be none.
        arrivals: receiver only: seconds from the arrival of the request's first frame to that of each frame so far.
    """

    request_id: int
    number: int
    count: int
    payload: bytes
    arrivals: tuple[float, ...] = field(default=(), compare=False)

    @property
    def last(self) -> bool:
        """Whether the request is complete with it."""
        return self.number == self.count - 1


class Cancel(msgspec.Struct, frozen=True):
    """Client → server: the answer is no longer wanted.

    Answered by `Error` "cancelled", or by a result that crossed it.
    """

    request_id: int


class Timings(msgspec.Struct, frozen=True):
    """Where a request's time on the server went, in milliseconds."""

    queue_ms: float = 0.0
    decode_ms: float = 0.0
    tail_ms: float = 0.0


class Hop(msgspec.Struct, frozen=True):
    """What one tier did for a request. Times in milliseconds.

    Attributes:
        tier: its name.
        queue_ms: waiting for a worker.
        decode_ms: decoders.
        compute_ms: spans, of the whole batch.
        encode_ms: encoders, of what it sent to the next tier.
        total_ms: from the request's arrival to its answer.
    """

    tier: str
    queue_ms: float = 0.0
    decode_ms: float = 0.0
    compute_ms: float = 0.0
    encode_ms: float = 0.0
    total_ms: float = 0.0

    @property
    def away_ms(self) -> float:
        """Time in which the tier did nothing itself: the next one's, and the way there and back."""
        own = self.queue_ms + self.decode_ms + self.compute_ms + self.encode_ms
        return max(0.0, self.total_ms - own)


class Result(msgspec.Struct, frozen=True):
    """Server → client.

    Attributes:
        request_id: the request it answers.
        outputs: the model's outputs, or the tensors of the boundary that the request named.
        timings: on the server; what further tiers and the ways to them took counts as tail.
        state: how the server is doing.
        arrivals: seconds from the arrival of the request's first frame to that of each of its frames: the client's
            measurement of the uplink.
        hops: the tiers that worked on it, the server that answers first. Needs `TIERS`.
        exit: which of the exits that the request allows gave the answer, from 1 on; 0: none did. Others than 0 need
            `EXITS`.
    """

    request_id: int
    outputs: tuple[Array, ...]
    timings: Timings = Timings()
    state: ServerState = IDLE
    arrivals: tuple[float, ...] = ()
    hops: tuple[Hop, ...] = ()
    exit: int = 0


class Error(msgspec.Struct, frozen=True):
    """Server → client.

    Attributes:
        request_id: the request it answers; 0: the connection, which ends here.
        code: see the tree in `cutpoint.sdk.errors`, or ``cancelled``.
        message: for people.
        retry_after: seconds after which trying again makes sense; None where it does not.
    """

    request_id: int
    code: str
    message: str
    retry_after: float | None = None


class Ping(msgspec.Struct, frozen=True):
    """Either way. `sent` is the sender's clock in seconds; `padding` bytes make it a probe of the link's rate."""

    sent: float
    padding: int = 0


class Pong(msgspec.Struct, frozen=True):
    """The answer to a ping: its `sent`, the receiver's clock in seconds, and the server's state."""

    sent: float
    received: float
    state: ServerState = IDLE


class Goaway(msgspec.Struct, frozen=True):
    """Server → client: no new requests, please. Those in flight are answered within `grace` seconds."""

    grace: float


class Rejected(msgspec.Struct, frozen=True):
    """Never on the wire: a request that arrived but breaks a rule. The server answers it with an `Error`."""

    request_id: int
    code: str
    message: str


Event: TypeAlias = Hello | Welcome | Request | Part | Cancel | Result | Error | Ping | Pong | Goaway | Rejected
