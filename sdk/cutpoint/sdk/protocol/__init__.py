"""The protocol, without I/O. docs/protocol.md is its specification."""

from cutpoint.sdk.protocol.connection import MAX_FRAMES, SUBPROTOCOL, VERSION, Connection
from cutpoint.sdk.protocol.events import (
    IDLE,
    TIERS,
    Cancel,
    Error,
    Event,
    Goaway,
    Hello,
    Hop,
    Limits,
    Ping,
    Pong,
    Rejected,
    Request,
    Result,
    ServerState,
    Timings,
    Welcome,
)
from cutpoint.sdk.protocol.frames import decode_frame, encode_frame
from cutpoint.sdk.protocol.state import ConnectionState, Role

__all__ = [
    "IDLE",
    "MAX_FRAMES",
    "SUBPROTOCOL",
    "TIERS",
    "VERSION",
    "Cancel",
    "Connection",
    "ConnectionState",
    "Error",
    "Event",
    "Goaway",
    "Hello",
    "Hop",
    "Limits",
    "Ping",
    "Pong",
    "Rejected",
    "Request",
    "Result",
    "Role",
    "ServerState",
    "Timings",
    "Welcome",
    "decode_frame",
    "encode_frame",
]
