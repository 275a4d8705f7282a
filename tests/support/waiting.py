"""Waiting for something that another task or process does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["until"]


async def until(condition: Callable[[], object], timeout: float = 20.0) -> None:
    """Returns as soon as `condition()` is true; raises TimeoutError if it never is.

    It looks every few milliseconds, so that a test takes as long as what it waits for and no guessed time.
    """
    async with asyncio.timeout(timeout):
        # What is waited for lies in another process, or has no event.
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.003)
