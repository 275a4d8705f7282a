"""The protocol's rules as tables: who may say what, when.

There are two of them: one for the connection, one for each request on it. Both sides keep both, and look up every event
they send or receive; what is not in a table is an error of whoever said it.
"""

from __future__ import annotations

from enum import Enum, auto

from cutpoint.sdk.protocol.events import Cancel, Error, Goaway, Hello, Ping, Pong, Result, Welcome
from cutpoint.sdk.protocol.frames import Chunk, Opening, PartOpening

__all__ = ["CONNECTION", "REQUEST", "ConnectionState", "RequestState", "Role"]


class Role(Enum):
    """Who says something."""

    CLIENT = auto()
    SERVER = auto()


class ConnectionState(Enum):
    """States of a connection."""

    START = auto()
    GREETED = auto()
    OPEN = auto()
    DRAINING = auto()
    CLOSED = auto()


class RequestState(Enum):
    """States of a request. `DONE` requests are forgotten; ids rise, so late frames of theirs are recognised."""

    NEW = auto()
    UPLOADING = auto()
    WAITING = auto()
    CANCELLED = auto()
    DONE = auto()


_C, _S = Role.CLIENT, Role.SERVER
_State = ConnectionState

#: Frames about requests and pings: allowed while the connection is up, and leave its state alone.
_TRAFFIC: tuple[tuple[Role, type], ...] = (
    (_C, Opening),
    (_C, PartOpening),
    (_C, Chunk),
    (_C, Cancel),
    (_C, Ping),
    (_C, Pong),
    (_S, Result),
    (_S, Ping),
    (_S, Pong),
)

#: state → (who, what) → next state. An `Error` here is one about the connection; those about a request are below.
#: A request may still arrive while draining: it was sent before the goaway was seen, and gets a refusal.
CONNECTION: dict[ConnectionState, dict[tuple[Role, type], ConnectionState]] = {
    _State.START: {(_C, Hello): _State.GREETED, (_S, Error): _State.CLOSED},
    _State.GREETED: {(_S, Welcome): _State.OPEN, (_S, Error): _State.CLOSED},
    _State.OPEN: {
        **dict.fromkeys(_TRAFFIC, _State.OPEN),
        (_S, Goaway): _State.DRAINING,
        (_S, Error): _State.CLOSED,
    },
    _State.DRAINING: {**dict.fromkeys(_TRAFFIC, _State.DRAINING), (_S, Error): _State.CLOSED},
    _State.CLOSED: {},
}

_Req = RequestState

#: state → (who, what, whether the payload is complete with it) → next state.
REQUEST: dict[RequestState, dict[tuple[Role, type, bool], RequestState]] = {
    _Req.NEW: {(_C, Opening, False): _Req.UPLOADING, (_C, Opening, True): _Req.WAITING},
    _Req.UPLOADING: {
        (_C, PartOpening, False): _Req.UPLOADING,
        (_C, PartOpening, True): _Req.WAITING,
        (_C, Chunk, False): _Req.UPLOADING,
        (_C, Chunk, True): _Req.WAITING,
        (_C, Cancel, True): _Req.CANCELLED,
        (_S, Error, True): _Req.DONE,
    },
    _Req.WAITING: {
        (_C, Cancel, True): _Req.CANCELLED,
        (_S, Result, True): _Req.DONE,
        (_S, Error, True): _Req.DONE,
    },
    _Req.CANCELLED: {(_S, Result, True): _Req.DONE, (_S, Error, True): _Req.DONE},
    _Req.DONE: {},
}
