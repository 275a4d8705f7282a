import socket
import sys

import pytest

from cutpoint.sdk.tcp_info import TcpInfo, read_tcp_info


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells this on Linux")
def test_kernel_tells_round_trip_and_rate() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        peer, _ = server.accept()
        with peer:
            for _ in range(50):
                client.sendall(b"x" * 60_000)
                got = 0
                while got < 60_000:
                    got += len(peer.recv(1 << 16))
            info = read_tcp_info(client)
    assert info is not None
    assert 0 < info.rtt < 1
    assert 0 <= info.rtt_deviation < 1
    assert info.uplink is None or info.uplink > 1e6


def test_systems_that_do_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        assert read_tcp_info(datagrams) is None
    monkeypatch.delattr(socket, "TCP_INFO", raising=False)
    with socket.socket() as connection:
        assert read_tcp_info(connection) is None


class Told(socket.socket):
    """A connection whose kernel says what the test wants."""

    answer = b""

    def getsockopt(self, *arguments: object) -> bytes:  # type: ignore[override]
        return self.answer


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="no such option here")
def test_layout() -> None:
    data = bytearray(168)
    data[68:76] = (45_000).to_bytes(4, sys.byteorder) + (5_000).to_bytes(4, sys.byteorder)
    data[160:168] = (250_000).to_bytes(8, sys.byteorder)
    with Told() as connection:
        connection.answer = bytes(data)
        assert read_tcp_info(connection) == TcpInfo(0.045, 0.005, 2e6)
        data[7] = 1
        connection.answer = bytes(data)
        assert read_tcp_info(connection) == TcpInfo(0.045, 0.005, None)
        connection.answer = bytes(data[:100])  # an old kernel
        assert read_tcp_info(connection) is None
