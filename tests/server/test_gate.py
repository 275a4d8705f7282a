"""Who may connect: counts, without sockets; abuse of a real server is in test_abuse."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutpoint.server.gate import Gate, address_key


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("somewhere", "somewhere"),
    ],
)
def test_addresses(host: str, key: str) -> None:
    assert address_key(host) == key


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans())))
def test_limits_hold_whatever_comes_and_goes(steps: list[tuple[str, bool]]) -> None:
    gate = Gate(5, 3)
    inside: Counter[str] = Counter()
    for key, comes in steps:
        if comes:
            full = inside[key] >= 3 or inside.total() >= 5
            reason = gate.enter(key)
            assert (reason is not None) == full
            inside[key] += not full
        elif inside[key]:
            gate.leave(key)
            inside[key] -= 1
        assert gate.count == inside.total()
    assert not +gate._open - +inside
