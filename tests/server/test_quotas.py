"""Requests at a time and per second."""

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutpoint.sdk.errors import Overloaded
from cutpoint.server.auth import Account
from cutpoint.server.quotas import Quotas


def test_requests_at_a_time() -> None:
    quotas, one, other = Quotas(), Account("one", max_in_flight=2), Account("other", max_in_flight=1)
    with quotas.used(one, 0.0):
        with (
            quotas.used(one, 0.0),
            quotas.used(other, 0.0),
            pytest.raises(Overloaded, match="2 requests"),
            quotas.used(one, 0.0),
        ):
            pass
        with quotas.used(one, 0.0):
            pass
    with ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(quotas.used(Account("free"), 0.0))


def test_a_request_that_fails_gives_back_its_place() -> None:
    quotas, account = Quotas(), Account("one", max_in_flight=1)
    for _ in range(3):
        with pytest.raises(KeyError), quotas.used(account, 0.0):
            raise KeyError


@given(st.floats(0.1, 1000), st.lists(st.floats(0, 3), min_size=1, max_size=100), st.booleans(), st.floats(0, 1e6))
def test_rate(rate: float, pauses: list[float], patient: bool, now: float) -> None:
    """Over any time, no more than a second's worth and what the time allows; who waits as told is let in."""
    quotas, account = Quotas(), Account("one", max_rate=rate)
    begun, admitted, told = now, 0, None
    for pause in pauses:
        now += told if patient and told is not None else pause
        try:
            with quotas.used(account, now):
                admitted += 1
            told = None
        except Overloaded as error:
            assert not (patient and told is not None)
            told = error.retry_after
            assert told is not None
            assert 0 < told <= 1 / rate + 1e-9
    assert 1 <= admitted <= max(1.0, rate) + rate * (now - begun) + 1e-3
