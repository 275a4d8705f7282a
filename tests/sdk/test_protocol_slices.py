"""Requests whose payload comes in parts: the extension `slices`."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.protocol import HELLO, WELCOME, Pair, with_checksum

from cutpoint.sdk.errors import LocalProtocolError, RemoteProtocolError
from cutpoint.sdk.protocol import (
    SLICES,
    TRACE,
    Cancel,
    Error,
    Event,
    Part,
    Rejected,
    Request,
    Result,
    TraceContext,
)

#: Of point 5; the others come at once.
PARTS = (10_000, 0, 20_000)


def speaking(*extensions: str) -> Pair:
    """A client and a server that both know of `extensions`."""
    pair = Pair(100, PARTS)
    pair.up(msgspec.structs.replace(HELLO, extensions=extensions))
    pair.down(msgspec.structs.replace(WELCOME, extensions=extensions))
    return pair


def sliced(payload: bytes = b"first", request_id: int = 1, **others: Any) -> Request:
    return Request(request_id, 5, payload, sliced=True, **others)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=10_000), st.binary(max_size=20_000), st.booleans())
def test_parts_arrive_one_by_one(first: bytes, last: bytes, traced: bool) -> None:
    pair = speaking(SLICES, TRACE)
    trace = TraceContext(1, 2, 1) if traced else None
    asked = sliced(first, budget=0.25, trace=trace)
    parts = [Part(1, 1, 3, b""), Part(1, 2, 3, last)]
    assert [event for sent in (asked, *parts) for event in pair.up(sent)] == [asked, *parts]
    answer = Result(1, ())
    assert pair.down(answer) == [answer]
    assert pair.client.in_flight == pair.server.in_flight == 0


def test_arrivals_of_all_frames_so_far() -> None:
    pair = speaking(SLICES)
    (got,) = pair.up(sliced(b"x" * 3000))
    assert isinstance(got, Request)
    assert got.arrivals == pytest.approx((0, 0.001, 0.002))
    pair.up(Part(1, 1, 3, b""))
    (got,) = pair.up(Part(1, 2, 3, b"y" * 1500))
    assert isinstance(got, Part)
    assert got.last
    assert got.arrivals == pytest.approx([number / 1000 for number in range(6)])


def test_other_requests_go_on_between_parts() -> None:
    pair = speaking(SLICES)
    pair.up(sliced())
    assert pair.up(Request(2, 0, b"whole")) == [Request(2, 0, b"whole")]
    assert pair.up(Part(1, 1, 3, b"")) == [Part(1, 1, 3, b"")]
    assert pair.down(Result(2, ())) == [Result(2, ())]
    assert pair.up(Part(1, 2, 3, b"end")) == [Part(1, 2, 3, b"end")]


def test_who_does_not_know_of_it_is_not_asked() -> None:
    pair, agreed = speaking(), speaking(SLICES)
    with pytest.raises(LocalProtocolError, match="does not know of slices"):
        pair.client.send(sliced())
    opening = agreed.client.send(sliced())[0]
    assert opening[:2] == b"\x03\x02"
    with pytest.raises(RemoteProtocolError, match="slices, which was not agreed on"):
        pair.server.receive(opening, 0.0)
    with pytest.raises(RemoteProtocolError, match="slices, which was not agreed on"):
        pair.server.receive(agreed.client.send(Part(1, 1, 3, b""))[0], 0.0)


@pytest.mark.parametrize("part", [Part(1, 2, 3, b""), Part(1, 0, 3, b""), Part(1, 1, 1, b""), Part(2, 1, 3, b"")])
def test_parts_that_do_not_follow_are_not_sent(part: Part) -> None:
    pair = speaking(SLICES)
    pair.up(sliced())
    with pytest.raises(LocalProtocolError, match="does not follow"):
        pair.client.send(part)
    pair.up(Part(1, 1, 3, b""))
    for wrong in (Part(1, 1, 3, b""), Part(1, 2, 4, b"")):
        with pytest.raises(LocalProtocolError, match="does not follow"):
            pair.client.send(wrong)
    pair.up(Part(1, 2, 3, b""))
    with pytest.raises(LocalProtocolError, match="does not follow"):
        pair.client.send(Part(1, 3, 3, b""))


def test_parts_of_a_plain_request_are_not_sent() -> None:
    pair = speaking(SLICES)
    pair.up(Request(1, 0, b""))
    with pytest.raises(LocalProtocolError, match="does not follow"):
        pair.client.send(Part(1, 1, 2, b""))


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ([Request(1, 5, b"at once")], "bad_payload"),
        ([Request(1, 0, b"", sliced=True)], "bad_payload"),
        ([sliced(b"x" * 10_001)], "too_large"),
        ([sliced(), Part(1, 1, 3, b"x")], "too_large"),
        ([sliced(), Part(1, 1, 2, b"")], "bad_payload"),
        ([sliced(), Part(1, 1, 3, b""), Part(1, 2, 3, b"x" * 20_001)], "too_large"),
    ],
)
def test_what_the_bundle_does_not_say_is_rejected_alone(sent: list[Event], code: str) -> None:
    pair = speaking(SLICES)
    rejected = next(event for event in (got for event in sent for got in pair.up(event)) if isinstance(event, Rejected))
    assert rejected.code == code
    assert pair.down(Error(1, code, "")) == [Error(1, code, "")]
    assert pair.up(sliced(request_id=2)) == [sliced(request_id=2)]


def test_a_part_in_the_middle_of_another_is_rejected() -> None:
    pair = speaking(SLICES)
    first = pair.client.send(sliced(b"x" * 5000))
    middle = pair.client.send(Part(1, 1, 3, b""))
    assert pair.server.receive(first[0], 0.0) is None
    rejected = pair.server.receive(middle[0], 0.0)
    assert isinstance(rejected, Rejected)
    assert pair.down(Error(1, rejected.code, "")) == [Error(1, "bad_payload", "")]
    # What was on the way is of no interest.
    assert pair.server.receive(first[1], 0.0) is None
    assert pair.up(sliced(request_id=2)) == [sliced(request_id=2)]


@pytest.mark.parametrize("answer", [Error(1, "overloaded", "", 1.0), Error(1, "cancelled", "")])
def test_an_error_ends_it_between_parts(answer: Error) -> None:
    pair = speaking(SLICES)
    pair.up(sliced())
    if answer.code == "cancelled":
        pair.up(Cancel(1))
    late = pair.client.send(Part(1, 1, 3, b"")) if answer.code != "cancelled" else []
    assert pair.down(answer) == [answer]
    assert [pair.server.receive(frame, 0.0) for frame in late] == [None] * len(late)
    assert pair.client.in_flight == pair.server.in_flight == 0
    with pytest.raises(LocalProtocolError):
        pair.client.send(Part(1, 2, 3, b""))


def test_no_result_before_the_last_part() -> None:
    pair = speaking(SLICES)
    pair.up(sliced())
    with pytest.raises(LocalProtocolError, match="Result is not allowed"):
        pair.server.send(Result(1, ()))


def part_body(number: int, count: int, size: int, data: bytes) -> tuple[int, bytes]:
    return 11, struct.pack("<HHI", number, count, size) + data


_FEW = st.integers(0, 4)
_SIZES = st.sampled_from([0, 1, 5, 2**32 - 1])
_FRAMES = st.one_of(
    st.builds(part_body, _FEW, _FEW, _SIZES, st.binary(max_size=8)),
    st.builds(lambda offset, data: (4, struct.pack("<I", offset) + data), _FEW, st.binary(max_size=8)),
    st.binary(max_size=20).map(lambda body: (11, body)),
    st.just((5, b"")),
)


@settings(max_examples=500, deadline=None)
@given(st.lists(_FRAMES, max_size=12))
def test_whatever_comes_is_an_event_or_a_typed_error(frames: list[tuple[int, bytes]]) -> None:
    pair = speaking(SLICES)
    pair.up(sliced(b"12345"))
    for kind, body in frames:
        with contextlib.suppress(RemoteProtocolError):
            event = pair.server.receive(with_checksum(kind, 1, body), 0.0)
            if isinstance(event, Part):
                assert len(event.payload) <= PARTS[event.number]
            elif isinstance(event, Rejected):
                pair.server.send(Error(1, event.code, ""))
    assert pair.server.in_flight <= 1
