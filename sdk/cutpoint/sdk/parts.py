"""A payload that is sent while it is made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from cutpoint.sdk.protocol import Result

__all__ = ["Parts", "send_rest"]


@dataclass(frozen=True, slots=True)
class Parts:
    """The payload of a sliced request.

    Attributes:
        count: of parts.
        first: the first of them.
        rest: the others, each as soon as it is there.
    """

    count: int
    first: bytes
    rest: AsyncIterator[bytes]


async def send_rest(
    parts: Parts, answer: asyncio.Future[Result], send: Callable[[int, bytes], Awaitable[None]]
) -> None:
    """Sends every part behind the first as soon as it is there, until all are sent, or the answer comes before them.

    Args:
        parts: of the request.
        answer: of the server, which may refuse a request at any time.
        send: takes a part's number and its bytes.

    Raises:
        CutpointError: what making or sending a part raises.
    """
    for number in range(1, parts.count):
        coming = asyncio.ensure_future(anext(parts.rest))
        try:
            await asyncio.wait((coming, answer), return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return
            await send(number, coming.result())
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
