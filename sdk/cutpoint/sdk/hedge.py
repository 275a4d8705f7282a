"""Two ways to one answer: the edge first, the device when the edge fails or is late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from cutpoint.sdk.errors import CutpointError

__all__ = ["Answer", "first_answer"]

E = TypeVar("E")
D = TypeVar("D")


@dataclass(frozen=True, slots=True)
class Answer(Generic[E, D]):
    """The answer that came first.

    Attributes:
        edge: the edge's answer; None if the device's came first.
        device: the device's answer; None if the edge's came first.
        failure: what went wrong at the edge; None if it was only slower.
        hedged: whether the device started because the edge was late.
    """

    edge: E | None
    device: D | None
    failure: CutpointError | None
    hedged: bool


async def first_answer(
    edge: Coroutine[Any, Any, E], device: Callable[[], Coroutine[Any, Any, D]], patience: float
) -> Answer[E, D]:
    """Waits for `edge`; starts `device` when it fails, or has not answered after `patience` seconds.

    Whichever answers first wins and the other is cancelled. Cancelling this cancels both.

    Raises:
        CutpointError: if both fail: the device's error, with the edge's as its cause.
    """
    asking = asyncio.ensure_future(edge)
    computing: asyncio.Future[D] | None = None
    failure: CutpointError | None = None
    try:
        await asyncio.wait({asking}, timeout=max(0.0, patience))
        hedged = not asking.done()
        if not hedged:
            try:
                return Answer(asking.result(), None, None, False)
            except CutpointError as error:
                failure = error
        computing = asyncio.ensure_future(device())
        if hedged:
            await asyncio.wait({asking, computing}, return_when=asyncio.FIRST_COMPLETED)
            # The edge is asked first: where both are there, its answer is the more accurate one.
            if asking.done() or computing.exception() is not None:
                try:
                    return Answer(await asking, None, None, True)
                except CutpointError as error:
                    failure = error
        try:
            return Answer(None, await computing, failure, hedged)
        except CutpointError as error:
            raise error from failure
    finally:
        for task in (asking, computing):
            if task is not None and not task.done():
                task.cancel()
        # A cancelled request still tells the server so, and that must not be lost when the loop ends.
        await asyncio.gather(*(t for t in (asking, computing) if t is not None), return_exceptions=True)
