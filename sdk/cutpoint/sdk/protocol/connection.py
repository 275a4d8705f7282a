"""One end of a connection, without the socket: events in, bytes out; bytes in, events out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cutpoint.sdk.errors import LocalProtocolError, RemoteProtocolError
from cutpoint.sdk.protocol.events import (
    SLICES,
    TIERS,
    TRACE,
    Cancel,
    Error,
    Event,
    Hello,
    Limits,
    Part,
    Rejected,
    Request,
    Result,
    TraceContext,
    Welcome,
)
from cutpoint.sdk.protocol.frames import (
    HEADER_SIZE,
    OPENING_SIZE,
    PART_SIZE,
    TRACE_SIZE,
    Chunk,
    Frame,
    Opening,
    PartOpening,
    decode_frame,
    encode_frame,
)
from cutpoint.sdk.protocol.state import CONNECTION, REQUEST, ConnectionState, RequestState, Role

__all__ = ["MAX_FRAMES", "SUBPROTOCOL", "VERSION", "Connection"]

VERSION = 1
SUBPROTOCOL = f"cutpoint.v{VERSION}"
#: Frames of one request. Four arrival times pin down a rate; more only add headers and wake-ups.
MAX_FRAMES = 4
#: A payload is split into pieces no smaller than about one packet, which is what the link serialises anyway.
MIN_CHUNK = 1200
_PLAIN: frozenset[str] = frozenset()
_TIERED = frozenset({TIERS})
_SLICED = frozenset({SLICES})


@dataclass(slots=True)
class _Exchange:
    """A request that is not done. `part`, `size`, `pieces` and `received` are of the part that is on the way."""

    state: RequestState
    opening: Opening
    size: int
    part: int = 0
    count: int = 1
    pieces: list[bytes] = field(default_factory=list)
    received: int = 0
    first_arrival: float = 0.0
    arrivals: list[float] = field(default_factory=list)


class Connection:
    """The protocol's state on one side.

    Args:
        role: which side this is.
        frame_limit: longest frame accepted from the other side, in bytes. A client sets it to what a result may take, a
            server to what it announces in its welcome.
        max_payload: server only: the most payload bytes of a point by its number, None if there is no such point. The
            announced size is checked with it before memory is taken.
        max_parts: server only: the most bytes of each part of a point's payload by the point's number; none for a point
            whose payload comes at once.
        pieces: client only: frames that a request is split into, if they fit in so few.
    """

    def __init__(
        self,
        role: Role,
        frame_limit: int,
        max_payload: Callable[[int], int | None] = lambda point: None,
        pieces: int = MAX_FRAMES,
        max_parts: Callable[[int], Sequence[int]] = lambda point: (),
    ) -> None:
        self.role = role
        self.peer = Role.SERVER if role is Role.CLIENT else Role.CLIENT
        self.state = ConnectionState.START
        self.limits = Limits()
        #: Those that both ends know.
        self.extensions: frozenset[str] = frozenset()
        self._offered: tuple[str, ...] = ()
        self._frame_limit = frame_limit
        self._max_payload = max_payload
        self._max_parts = max_parts
        self._pieces = pieces
        self._exchanges: dict[int, _Exchange] = {}
        self._last_id = 0

    @property
    def in_flight(self) -> int:
        """Number of requests that are not done."""
        return len(self._exchanges)

    def next_id(self) -> int:
        """The id for the next request of a client."""
        return self._last_id + 1

    # -- sending -------------------------------------------------------------------------------------------------

    def send(self, event: Event) -> list[bytes]:
        """The frames to send for `event`, in order. A long request becomes several; others may go between them.

        Raises:
            LocalProtocolError: if the protocol does not allow it now. Nothing changes then.
        """
        match event:
            case Rejected():
                raise LocalProtocolError("Rejected is not sent; send an Error")
            case Request() | Part() | Result() if unknown := _used(event) - self.extensions:
                raise LocalProtocolError(f"the other side does not know of {_list(unknown)}")
            case Request():
                frames: list[Frame] = self._split(event)
            case Part():
                frames = self._split_part(event)
            case _:
                frames = [event]
        encoded = [encode_frame(frame) for frame in frames]
        if self.role is Role.CLIENT and any(len(data) > self.limits.frame for data in encoded):
            raise LocalProtocolError(f"a frame is longer than the server's limit of {self.limits.frame} bytes")
        for frame in frames:
            if not self._follow(frame, self.role):
                raise LocalProtocolError(f"{type(frame).__name__} is not allowed in state {self.state.name}")
        self._learn(event)
        return encoded

    def _learn(self, event: Event | Frame) -> None:
        """What a greeting says about the connection."""
        match event:
            case Hello():
                self._offered = event.extensions
            case Welcome():
                self.limits = event.limits
                self.extensions = frozenset(event.extensions) & frozenset(self._offered)

    def _split(self, request: Request) -> list[Frame]:
        if request.request_id <= self._last_id:
            raise LocalProtocolError(f"request id {request.request_id} was used: the next is {self.next_id()}")
        if len(self._exchanges) >= self.limits.in_flight:
            raise LocalProtocolError(f"{len(self._exchanges)} requests are in flight, which is the server's limit")
        if not (0 <= request.stop < 256 and 0 <= request.hops < 256):
            raise LocalProtocolError(f"stop {request.stop} and hops {request.hops}: both are numbers below 256")
        if request.trace is not None and not _fits(request.trace):
            raise LocalProtocolError(f"{request.trace}: the ids are not 0, of at most 16 and 8 bytes, and flags of one")
        head = OPENING_SIZE + (TRACE_SIZE if request.trace is not None else 0)
        first, chunks = self._pieces_of(request, head)
        asked = request.budget, len(request.payload), first, request.stop, request.hops, request.trace, request.sliced
        return [Opening(request.request_id, request.point, *asked), *chunks]

    def _split_part(self, part: Part) -> list[Frame]:
        exchange = self._exchanges.get(part.request_id)
        if exchange is None or not _follows(part, exchange):
            raise LocalProtocolError(f"part {part.number} of {part.count} does not follow in request {part.request_id}")
        first, chunks = self._pieces_of(part, PART_SIZE)
        return [PartOpening(part.request_id, part.number, part.count, len(part.payload), first), *chunks]

    def _pieces_of(self, event: Request | Part, head: int) -> tuple[bytes, list[Chunk]]:
        """The payload in frames: what goes into the first, behind `head` bytes, and those that follow."""
        payload, size = event.payload, len(event.payload)
        room = self.limits.frame - HEADER_SIZE - head
        piece = min(room, max(MIN_CHUNK, -(-size // self._pieces)))
        chunks = [Chunk(event.request_id, o, payload[o : o + piece]) for o in range(piece, size, piece)]
        return payload[:piece], chunks

    # -- receiving -----------------------------------------------------------------------------------------------

    def receive(self, data: bytes | str, now: float) -> Event | None:
        """Takes one WebSocket message.

        Args:
            data: the message; text messages are not part of the protocol.
            now: monotonic time in seconds, for arrival times.

        Returns:
            What the other side said; None while a request is incomplete, or for frames of requests that are done.

        Raises:
            RemoteProtocolError: if the other side broke the protocol. A server sends `Error` with the exception's
                `code` and request id 0, and closes.
        """
        if isinstance(data, str):
            raise RemoteProtocolError("a text message arrived; frames are binary")
        if len(data) > self._frame_limit:
            raise RemoteProtocolError(
                f"a frame of {len(data)} bytes arrived, over the limit of {self._frame_limit}", code="too_large"
            )
        frame = decode_frame(data)
        if isinstance(frame, Opening | PartOpening | Result) and (unknown := _used(frame) - self.extensions):
            raise RemoteProtocolError(f"a frame with {_list(unknown)}, which was not agreed on")
        match frame:
            case Opening():
                return self._receive_opening(frame, now)
            case PartOpening():
                return self._receive_part(frame, now)
            case Chunk():
                return self._receive_chunk(frame, now)
            case Cancel() if frame.request_id not in self._exchanges and frame.request_id <= self._last_id:
                if (self.peer, Cancel) not in CONNECTION[self.state]:
                    raise RemoteProtocolError(f"Cancel is not allowed in state {self.state.name}")
                return None  # its answer crossed the cancellation
            case Result() | Error() if frame.request_id and frame.request_id not in self._exchanges:
                raise RemoteProtocolError(f"an answer to request {frame.request_id}, which is not waiting for one")
            case _:
                self._require(frame)
                self._learn(frame)
                return frame

    def _require(self, frame: Frame) -> None:
        if not self._follow(frame, self.peer):
            raise RemoteProtocolError(f"{type(frame).__name__} is not allowed in state {self.state.name}")

    def _receive_opening(self, frame: Opening, now: float) -> Event | None:
        if frame.request_id <= self._last_id:
            raise RemoteProtocolError(f"request id {frame.request_id} does not rise")
        self._require(frame)
        rejected = self._judge(frame)
        if rejected is not None:
            return rejected
        return self._collect(frame.request_id, frame.data, now)

    def _judge(self, frame: Opening) -> Rejected | None:
        limit, parts = self._max_payload(frame.point), self._max_parts(frame.point)
        if limit is None:
            return Rejected(frame.request_id, "unknown_point", f"point {frame.point} is not one this server computes")
        if bool(parts) != frame.sliced:
            comes = "comes in parts" if parts else "does not come in parts"
            return Rejected(frame.request_id, "bad_payload", f"the payload of point {frame.point} {comes}")
        limit = parts[0] if parts else limit
        if frame.size > limit:
            return Rejected(
                frame.request_id,
                "too_large",
                f"a payload of {frame.size} bytes; point {frame.point} has at most {limit}",
            )
        if len(self._exchanges) > self.limits.in_flight:
            return Rejected(frame.request_id, "overloaded", f"more than {self.limits.in_flight} requests in flight")
        if len(frame.data) > frame.size:
            return Rejected(frame.request_id, "bad_payload", "more payload than the request announces")
        return None

    def _receive_part(self, frame: PartOpening, now: float) -> Event | None:
        exchange = self._uploading(frame)
        if exchange is None:
            return None
        limits = self._max_parts(exchange.opening.point)
        whole = exchange.received >= exchange.size and len(frame.data) <= frame.size
        if not (whole and _follows(frame, exchange) and frame.count == len(limits)):
            return self._reject(exchange, "bad_payload", f"part {frame.number} of {frame.count} does not follow")
        if frame.size > limits[frame.number]:
            message = f"{frame.size} bytes; part {frame.number} of the point has at most {limits[frame.number]}"
            return self._reject(exchange, "too_large", message)
        self._require(frame)
        return self._collect(frame.request_id, frame.data, now)

    def _receive_chunk(self, frame: Chunk, now: float) -> Event | None:
        exchange = self._uploading(frame)
        if exchange is None:
            return None
        end = frame.offset + len(frame.data)
        if frame.offset != exchange.received or not exchange.received < end <= exchange.size:
            return self._reject(exchange, "bad_payload", f"a chunk at {frame.offset} does not follow the one before")
        self._require(frame)
        return self._collect(frame.request_id, frame.data, now)

    def _uploading(self, frame: PartOpening | Chunk) -> _Exchange | None:
        """The request that a frame goes on with; None if it was refused or cancelled while the frame was on the way."""
        exchange = self._exchanges.get(frame.request_id)
        if exchange is None and frame.request_id > self._last_id:
            raise RemoteProtocolError(f"a part of request {frame.request_id}, which was not opened")
        return exchange if exchange is not None and exchange.state is not RequestState.CANCELLED else None

    def _reject(self, exchange: _Exchange, code: str, message: str) -> Rejected:
        """What is left of the upload is of no use; only the refusal is still to be sent."""
        exchange.pieces.clear()
        exchange.state = RequestState.WAITING
        return Rejected(exchange.opening.request_id, code, message)

    def _collect(self, request_id: int, data: bytes, now: float) -> Request | Part | None:
        exchange = self._exchanges[request_id]
        if not exchange.arrivals:
            exchange.first_arrival = now
        exchange.pieces.append(data)
        exchange.received += len(data)
        exchange.arrivals.append(now - exchange.first_arrival)
        opening = exchange.opening
        if exchange.received < exchange.size:
            return None
        payload = b"".join(exchange.pieces)
        exchange.pieces.clear()
        if exchange.part:
            return Part(request_id, exchange.part, exchange.count, payload, tuple(exchange.arrivals))
        asked = opening.budget, opening.stop, opening.hops, opening.trace, opening.sliced
        return Request(request_id, opening.point, payload, *asked, tuple(exchange.arrivals))

    # -- the tables ----------------------------------------------------------------------------------------------

    def _follow(self, frame: Frame, who: Role) -> bool:
        """Moves both state machines; False, and nothing moved, if a table does not have it."""
        request_id = getattr(frame, "request_id", 0)
        about_request = request_id != 0
        if about_request and isinstance(frame, Error):
            allowed = self.state in (ConnectionState.OPEN, ConnectionState.DRAINING)
            next_state = self.state if allowed else None
        else:
            next_state = CONNECTION[self.state].get((who, type(frame)))
        if next_state is None or (
            isinstance(frame, Opening | PartOpening | Chunk | Cancel | Result) and not about_request
        ):
            return False
        if about_request and not self._follow_request(frame, request_id, who):
            return False
        self.state = next_state
        return True

    def _follow_request(self, frame: Frame, request_id: int, who: Role) -> bool:
        exchange = self._exchanges.get(request_id)
        if exchange is None:
            if not isinstance(frame, Opening):
                return False
            exchange = _Exchange(RequestState.NEW, frame, frame.size)
        part, count, size = exchange.part, exchange.count, exchange.size
        if isinstance(frame, PartOpening):
            part, count, size = frame.number, frame.count, frame.size
        complete = True
        if isinstance(frame, Opening | PartOpening | Chunk):
            end = len(frame.data) + (frame.offset if isinstance(frame, Chunk) else 0)
            last = part == count - 1 if part else not exchange.opening.sliced
            complete = last and end >= size
        state = REQUEST[exchange.state].get((who, type(frame), complete))
        if state is None:
            return False
        exchange.state = state
        if isinstance(frame, Opening):
            self._last_id = request_id
            self._exchanges[request_id] = exchange
        elif isinstance(frame, PartOpening):
            exchange.part, exchange.count, exchange.size, exchange.received = part, count, size, 0
        if state is RequestState.DONE:
            del self._exchanges[request_id]
        return True


def _used(about: Request | Opening | Part | PartOpening | Result) -> frozenset[str]:
    """The extensions that a frame needs."""
    if isinstance(about, Part | PartOpening):
        return _SLICED
    if isinstance(about, Result):
        return _TIERED if about.hops else _PLAIN
    used = _TIERED if about.stop or about.hops else _PLAIN
    used |= _SLICED if about.sliced else _PLAIN
    return used if about.trace is None else used | {TRACE}


def _list(extensions: frozenset[str]) -> str:
    return " and ".join(sorted(extensions))


def _fits(trace: TraceContext) -> bool:
    return 0 < trace.trace_id < 1 << 128 and 0 < trace.span_id < 1 << 64 and 0 <= trace.flags < 256


def _follows(part: Part | PartOpening, exchange: _Exchange) -> bool:
    """Whether a part is the next one of its request."""
    count = exchange.count if exchange.part else part.count
    return exchange.opening.sliced and part.number == exchange.part + 1 < part.count == count
