from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from tests.testbed.bed import Machine, TestBed, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

#: Sends so many bytes to whoever connects.
_SENDER = """
import socket, sys
with socket.create_server((sys.argv[1], 7000)) as server:
    print("ready", flush=True)
    with server.accept()[0] as connection:
        connection.sendall(bytes(int(sys.argv[2])))
"""
#: Computes for some wall time, and says how much processor time that was.
_BUSY = """
import sys, time
began = time.perf_counter()
while time.perf_counter() - began < float(sys.argv[1]):
    pass
print(time.process_time() / (time.perf_counter() - began))
"""


@pytest.fixture
def bed() -> Iterator[TestBed]:
    with TestBed({"fast": Machine(0.6), "slow": Machine(0.2, 2e7)}) as bed:
        yield bed


def _run(bed: TestBed, name: str, code: str, *arguments: str) -> str:
    command = [*bed.command(name), sys.executable, "-c", code, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


def test_processors_are_shared_out(bed: TestBed) -> None:
    assert float(_run(bed, "slow", _BUSY, "0.5")) < 0.3
    bed.set_cpu("slow", 0.05)
    before = time.perf_counter()
    _run(bed, "slow", "sum(range(10**6))")
    assert time.perf_counter() - before > 0.05


def test_links_have_their_rate(bed: TestBed) -> None:
    receive = (
        "import socket, sys, time\n"
        "with socket.create_connection((sys.argv[1], 7000)) as connection:\n"
        "    began, size = time.perf_counter(), 0\n"
        "    while data := connection.recv(1 << 16): size += len(data)\n"
        "    print(size * 8 / (time.perf_counter() - began))\n"
    )
    sender = subprocess.Popen(
        [*bed.command("slow"), sys.executable, "-c", _SENDER, bed.address("slow"), "1000000"],
        stdout=subprocess.PIPE,
        text=True,
    )
    with sender:
        assert sender.stdout is not None
        assert sender.stdout.readline() == "ready\n"
        rate = float(_run(bed, "fast", receive, bed.address("slow")))
    assert 1e7 < rate < 2.5e7


def test_a_cable_can_be_taken_out(bed: TestBed) -> None:
    connect = [
        sys.executable,
        "-c",
        f"import socket; socket.create_connection(({bed.address('fast')!r}, 7000), 0.3)",
    ]
    assert b"refused" in subprocess.run(connect, check=False, capture_output=True).stderr
    bed.cut("fast")
    assert b"timed out" in subprocess.run(connect, check=False, capture_output=True).stderr
    bed.cut("fast", off=False)
