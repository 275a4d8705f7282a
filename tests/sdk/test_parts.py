"""Payloads that are sent while they are made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from cutpoint.sdk import CutpointError
from cutpoint.sdk.channel import ChannelEstimator
from cutpoint.sdk.errors import Overloaded
from cutpoint.sdk.monitor import LinkMonitor
from cutpoint.sdk.parts import Parts, send_rest
from cutpoint.sdk.protocol import Result


async def made(ready: asyncio.Queue[bytes | CutpointError], closed: list[bool]) -> AsyncGenerator[bytes]:
    try:
        while True:
            part = await ready.get()
            if isinstance(part, CutpointError):
                raise part
            yield part
    finally:
        closed.append(True)


class Sender:
    def __init__(self) -> None:
        self.sent: list[tuple[int, bytes]] = []
        self.more = asyncio.Event()

    async def send(self, number: int, payload: bytes) -> None:
        self.sent.append((number, payload))
        self.more.set()


async def test_each_part_leaves_when_it_is_there() -> None:
    ready: asyncio.Queue[bytes | CutpointError] = asyncio.Queue()
    answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
    sender = Sender()
    sending = asyncio.create_task(send_rest(Parts(3, b"0", made(ready, [])), answer, sender.send))
    ready.put_nowait(b"1")
    await sender.more.wait()
    assert sender.sent == [(1, b"1")]
    assert not sending.done()
    ready.put_nowait(b"2")
    await sending
    assert sender.sent == [(1, b"1"), (2, b"2")]


@pytest.mark.parametrize("early", [True, False])
async def test_a_refusal_ends_the_sending(early: bool) -> None:
    ready: asyncio.Queue[bytes | CutpointError] = asyncio.Queue()
    answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
    sender, closed = Sender(), list[bool]()
    if early:
        ready.put_nowait(b"1")
        answer.set_exception(Overloaded("full"))
    sending = asyncio.create_task(send_rest(Parts(3, b"0", made(ready, closed)), answer, sender.send))
    if not early:
        ready.put_nowait(b"1")
        await sender.more.wait()
        answer.set_exception(Overloaded("full"))
    await sending
    assert closed == ([] if early else [True])
    assert len(sender.sent) == (0 if early else 1)
    assert isinstance(answer.exception(), Overloaded)


async def test_what_cannot_be_made_ends_it() -> None:
    ready: asyncio.Queue[bytes | CutpointError] = asyncio.Queue()
    answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
    ready.put_nowait(CutpointError("no graph"))
    with pytest.raises(CutpointError, match="no graph"):
        await send_rest(Parts(2, b"0", made(ready, [])), answer, Sender().send)


def test_only_frames_of_one_part_tell_the_rate() -> None:
    """10 kB in 10 ms each, 200 ms of computing between: 8 Mbit/s, whatever the pauses say."""
    estimator = ChannelEstimator(uplink=2e6)
    monitor = LinkMonitor(estimator)
    monitor.asked(0.0)
    now = 0.0
    for number in range(1, 20):
        monitor.sent(number, [5000, 5000, 5000], 0.1, now)
        monitor.sent_part(number, [5000, 5000, 5000])
        assert monitor.unanswered == 30_000
        arrivals = (0.0, 0.005, 0.010, 0.200, 0.205, 0.210)
        now += 0.3
        monitor.answered(number, arrivals, 0.01, 100, now)
        assert monitor.unanswered == 0
    assert estimator.channel(now).uplink == pytest.approx(8e6, rel=0.15)
    # One that was called off says nothing of the link either.
    before = estimator.channel(now)
    monitor.sent(30, [5000], 0.1, now)
    monitor.sent_part(30, [5000])
    monitor.cancelled(30)
    monitor.refused(30, now + 0.001)
    assert estimator.channel(now) == before
