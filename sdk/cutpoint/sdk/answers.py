"""What a link is waiting for: answers, and the server's word on requests that were cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cutpoint.sdk.errors import CutpointError
from cutpoint.sdk.protocol import Result

__all__ = ["Answers"]


class Answers:
    """Gives the server's answers to those who wait for them, by the number of the request.

    Attributes:
        unfinished: cancelled requests: until when the server's word on them says something, and whom it is told.
    """

    def __init__(self) -> None:
        self.unfinished: dict[int, tuple[float, Callable[[], None]]] = {}
        self._waiting: dict[int, asyncio.Future[Result]] = {}

    def __len__(self) -> int:
        """Requests that wait for an answer."""
        return len(self._waiting)

    def expect(self, number: int) -> asyncio.Future[Result]:
        """The answer to a request, once it is there."""
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        return answer

    def forget(self, number: int) -> None:
        """Nobody waits for the answer any more."""
        answer = self._waiting.pop(number)
        if answer.done() and not answer.cancelled():
            answer.exception()  # seen: a failure that came with a cancellation is not "never retrieved"

    def cancelled(self, number: int, until: float, confirmed: Callable[[], None]) -> None:
        """A request was cancelled; `confirmed` is called if the server says before `until` that it was not done."""
        self.unfinished[number] = until, confirmed

    def answered(self, result: Result) -> None:
        """An answer came, to whoever still waits for it."""
        self.unfinished.pop(result.request_id, None)
        answer = self._waiting.get(result.request_id)
        if answer is not None and not answer.done():
            answer.set_result(result)

    def refused(self, number: int, error: CutpointError, now: float) -> None:
        """The server refused a request, or confirms that it was cancelled."""
        until, confirmed = self.unfinished.pop(number, (now, None))
        # In an outage request and cancellation arrive together, and the server had no time at all.
        if confirmed is not None and now <= until:
            confirmed()
        self._fail(self._waiting.get(number), error)

    def lost(self, error: CutpointError) -> None:
        """The connection went away: there will be no answers."""
        self.unfinished.clear()
        for answer in self._waiting.values():
            self._fail(answer, error)

    def _fail(self, answer: asyncio.Future[Result] | None, error: CutpointError) -> None:
        if answer is not None and not answer.done():
            answer.set_exception(error)
