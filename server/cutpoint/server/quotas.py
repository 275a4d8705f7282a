"""How much of the server each account may use: requests at a time, and per second. No clock of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from cutpoint.sdk.errors import Overloaded
from cutpoint.server.auth import Account

__all__ = ["Quotas"]

#: Seconds of an account's rate that it may use at once, after a pause.
_BURST = 1.0
#: Sums of rounded numbers: who waits for as long as he was told is let in.
_WHOLE = 1 - 1e-6
#: Seconds after which trying again makes sense where it is not known.
_RETRY_AFTER = 0.1
#: For accounts without limits.
_FREE = nullcontext()


@dataclass(slots=True)
class _Use:
    credit: float
    then: float
    in_flight: int = 0


class Quotas:
    """Counts what the accounts use: requests under way, and a token bucket each of one second's requests."""

    def __init__(self) -> None:
        self._uses: dict[str, _Use] = {}

    def used(self, account: Account, now: float) -> AbstractContextManager[None]:
        """A request of `account` is under way.

        Args:
            account: whose it is.
            now: clock in seconds.

        Raises:
            Overloaded: if it may not be; `retry_after` says when it may. Nothing is counted then.
        """
        if account.max_in_flight is None and account.max_rate is None:
            return _FREE
        return self._used(account, now)

    @contextmanager
    def _used(self, account: Account, now: float) -> Iterator[None]:
        use = self._uses.setdefault(account.name, _Use(_most(account), now))
        if account.max_in_flight is not None and use.in_flight >= account.max_in_flight:
            limit = account.max_in_flight
            raise Overloaded(f"{limit} requests with this token are under way, which is its limit", _RETRY_AFTER)
        if account.max_rate is not None:
            use.credit = min(_most(account), use.credit + (now - use.then) * account.max_rate)
            use.then = now
            if use.credit < _WHOLE:
                message = f"this token is good for {account.max_rate:g} requests per second"
                raise Overloaded(message, (1 - use.credit) / account.max_rate)
            use.credit -= 1
        use.in_flight += 1
        try:
            yield
        finally:
            use.in_flight -= 1


def _most(account: Account) -> float:
    return max(1.0, (account.max_rate or 0.0) * _BURST)
