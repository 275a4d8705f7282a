"""Sequences of frames: how many are under way at a time, and which are left out."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Iterator
from typing import Any, Generic, Literal, TypeVar

from cutpoint.sdk.errors import InputError

__all__ = ["Keep", "Window", "answer_stream"]

F = TypeVar("F")
R = TypeVar("R")

Keep = Literal["all", "latest"]
#: Weight of a new answer in the window.
_WEIGHT = 0.3


class Window:
    """How many frames to have under way: enough that the slowest stage always has work, and no more.

    A frame passes the device, the link and the server one after the other, and spends a round trip on the way. With
    (sum of all) / (slowest) of them under way the slowest stage is busy; more would only wait in front of it.

    Args:
        most: upper bound.
    """

    def __init__(self, most: int) -> None:
        if most < 1:
            raise InputError(f"in_flight must be at least 1, not {most}")
        self._most = most
        self._wanted = float(most)

    @property
    def size(self) -> int:
        """Frames that may be under way now."""
        return max(1, min(self._most, math.ceil(self._wanted - 0.05)))

    def answered(self, device_ms: float, transfer_ms: float, server_ms: float, rtt_ms: float) -> None:
        """A frame kept the device, the link and the server busy for so long, and spent `rtt_ms` on the way."""
        slowest = max(device_ms, transfer_ms, server_ms)
        if slowest > 0:
            wanted = (device_ms + transfer_ms + server_ms + rtt_ms) / slowest
            self._wanted += _WEIGHT * (min(wanted, self._most) - self._wanted)


class _Pace:
    """Lets at most `rate` frames a second pass; None for all."""

    def __init__(self, rate: float | None, clock: Callable[[], float]) -> None:
        if rate is not None and not rate > 0:
            raise InputError(f"rate {rate} is not above 0 frames a second")
        self._period = 0.0 if rate is None else 1.0 / rate
        self._clock = clock
        self._next = -math.inf

    async def __call__(self) -> None:
        wait = self._next - self._clock()
        if wait > 0:
            await asyncio.sleep(wait)
        # A late frame does not make the following ones come early.
        self._next = max(self._next, self._clock() - self._period) + self._period


async def answer_stream(
    answer: Callable[[int, F], Coroutine[Any, Any, R]],
    frames: Iterable[F] | AsyncIterable[F],
    window: Window,
    keep: Keep,
    rate: float | None,
    clock: Callable[[], float],
) -> AsyncIterator[R]:
    """Answers frames, in their order.

    Args:
        answer: answers frame number 0, 1, …
        frames: the frames; an ordinary iterable is advanced in a thread.
        window: how many may be under way.
        keep: ``all`` holds the source up; ``latest`` lets it run, and leaves out the frames that were overtaken.
        rate: frames a second that are begun at most; None for no limit.
        clock: monotonic seconds.
    """
    if keep not in ("all", "latest"):
        raise InputError(f"keep {keep!r} is not one of all, latest")
    pace = _Pace(rate, clock)
    source = (_Every if keep == "all" else _Latest)(
        frames if isinstance(frames, AsyncIterable) else _in_thread(iter(frames))
    )

    async def take() -> tuple[int, F] | None:
        await pace()
        return await source.take()

    taking: asyncio.Task[tuple[int, F] | None] | None = None
    tasks: deque[asyncio.Task[R]] = deque()
    ended = False
    try:
        while tasks or not ended:
            if taking is None and not ended and len(tasks) < window.size:
                taking = asyncio.create_task(take())
            waits: list[asyncio.Task[Any]] = [
                task for task in (taking, tasks[0] if tasks else None) if task is not None
            ]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if tasks and tasks[0].done():
                yield tasks.popleft().result()
            if taking is not None and taking.done():
                taken, taking = taking.result(), None
                if taken is None:
                    ended = True
                else:
                    tasks.append(asyncio.create_task(answer(*taken)))
    finally:
        left = [*tasks, *([] if taking is None else [taking])]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await source.close()


class _Every(Generic[F]):
    """Frames one by one, each when it is asked for."""

    def __init__(self, frames: AsyncIterable[F]) -> None:
        self._frames = aiter(frames)
        self._number = -1

    async def take(self) -> tuple[int, F] | None:
        """The next frame and its number; None at the end."""
        try:
            frame = await anext(self._frames)
        except StopAsyncIteration:
            return None
        self._number += 1
        return self._number, frame

    async def close(self) -> None:
        """Tells the source that no more is wanted."""
        if isinstance(self._frames, AsyncGenerator):
            await self._frames.aclose()


class _Latest(_Every[F]):
    """The newest frame, whenever one is asked for; the source runs on meanwhile."""

    def __init__(self, frames: AsyncIterable[F]) -> None:
        super().__init__(frames)
        self._newest: tuple[int, F] | None = None
        self._there = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while (frame := await super().take()) is not None:
                self._newest = frame
                self._there.set()
        finally:
            self._there.set()

    async def take(self) -> tuple[int, F] | None:
        await self._there.wait()
        newest, self._newest = self._newest, None
        if self._reading.done():
            if newest is None:
                self._reading.result()  # a source that failed says so here
        else:
            self._there.clear()
        return newest

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await super().close()


async def _in_thread(iterator: Iterator[F]) -> AsyncIterator[F]:
    end = object()
    while (item := await asyncio.to_thread(next, iterator, end)) is not end:
        yield item  # type: ignore[misc]  # next() gives an F or `end`
