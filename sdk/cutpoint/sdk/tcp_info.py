"""What the kernel knows of a TCP connection (Linux, Android)."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

__all__ = ["TcpInfo", "read_tcp_info"]

#: struct tcp_info of linux/tcp.h: eight bytes of flags, 24 u32, then u64s and u32s; newer kernels append.
_LENGTH = 168
_FLAGS, _RTT, _RTTVAR, _DELIVERY_RATE = 7, 68, 72, 160
#: Bit 0 of byte 7: the rate was limited by the application, not by the link.
_APP_LIMITED = 1


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """The kernel's view of the connection up to the next TCP endpoint, which may be a proxy.

    Attributes:
        rtt: smoothed round-trip time in seconds.
        rtt_deviation: its mean deviation in seconds.
        uplink: bit/s that were delivered lately; None where the application sent less than the link would take.
    """

    rtt: float
    rtt_deviation: float
    uplink: float | None


def read_tcp_info(connection: socket.socket) -> TcpInfo | None:
    """Asks the kernel; None where it does not tell."""
    option = getattr(socket, "TCP_INFO", None)
    if option is None:
        return None
    try:
        data = connection.getsockopt(socket.IPPROTO_TCP, option, _LENGTH)
    except OSError:
        return None
    if len(data) < _LENGTH:
        return None
    rtt, deviation = struct.unpack_from("=II", data, _RTT)
    (rate,) = struct.unpack_from("=Q", data, _DELIVERY_RATE)
    limited = bool(data[_FLAGS] & _APP_LIMITED) or rate == 0
    return TcpInfo(rtt / 1e6, deviation / 1e6, None if limited else rate * 8.0)
