"""Whoever says nothing for too long is noticed, on a virtual clock; whoever speaks is not."""

import asyncio

import pytest

from cutpoint.sdk.testing import VirtualLoop
from cutpoint.server.idling import IdleLimit


def test_silence_ends_and_speech_does_not() -> None:
    async def listen() -> float:
        loop = asyncio.get_running_loop()
        try:
            async with IdleLimit(2.0) as limit:
                for _ in range(10):
                    await asyncio.sleep(1.5)
                    limit.heard()
                await asyncio.Event().wait()
        except TimeoutError:
            return loop.time()
        raise AssertionError("nobody was silent")

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(listen()) == pytest.approx(17.0)


def test_nothing_is_left_of_it() -> None:
    async def listen() -> float:
        loop = asyncio.get_running_loop()
        async with IdleLimit(1.0):
            await asyncio.sleep(0.5)
        with pytest.raises(KeyError):
            async with IdleLimit(1.0):
                raise KeyError
        await asyncio.sleep(5.0)
        return loop.time()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(listen()) == pytest.approx(5.5)


def test_it_can_be_cancelled() -> None:
    async def listen() -> None:
        async with IdleLimit(1.0):
            await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(listen())
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
