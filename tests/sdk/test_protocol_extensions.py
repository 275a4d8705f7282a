"""What extensions add to the protocol, and that it needs an agreement."""

import contextlib
import struct
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.protocol import HELLO, WELCOME, Pair, assert_same, result, with_checksum

from cutpoint.sdk.errors import LocalProtocolError, RemoteProtocolError
from cutpoint.sdk.protocol import (
    EXITS,
    TIERS,
    TRACE,
    Hop,
    Rejected,
    Request,
    Result,
    TraceContext,
    decode_frame,
    encode_frame,
)

# -- tiers -------------------------------------------------------------------------------------------------------


def test_tiers_hold_where_both_ends_know_of_them() -> None:
    pair = Pair.open(offered=True, taken=True)
    asked = Request(1, 5, b"x" * 3000, 0.25, stop=3, hops=2)
    assert pair.up(asked) == [asked]
    hops = (Hop("Kante 1", 1.5, 0.25, 3.0, 0.5, 40.0), Hop("cloud", 0.0, 0.125, 9.0, 0.0, 9.5))
    (answer,) = pair.down(msgspec.structs.replace(result(1), hops=hops))
    assert isinstance(answer, Result)
    assert answer.hops == hops
    assert [hop.away_ms for hop in answer.hops] == [34.75, 0.375]


@pytest.mark.parametrize(("offered", "taken"), [(False, False), (True, False), (False, True)])
def test_tiers_that_were_not_agreed_on_are_errors_of_whoever_uses_them(offered: bool, taken: bool) -> None:
    pair, agreed = Pair.open(offered=offered, taken=taken), Pair.open(offered=True, taken=True)
    asked = Request(1, 5, b"x", stop=3)
    with pytest.raises(LocalProtocolError, match="does not know of tiers"):
        pair.client.send(asked)
    with pytest.raises(RemoteProtocolError, match="not agreed on"):
        pair.server.receive(agreed.client.send(asked)[0], 0.0)
    pair.up(Request(1, 5, b"x"))
    answer = msgspec.structs.replace(result(1), hops=(Hop("cloud"),))
    with pytest.raises(LocalProtocolError, match="does not know of tiers"):
        pair.server.send(answer)
    with pytest.raises(RemoteProtocolError, match="not agreed on"):
        pair.client.receive(encode_frame(answer), 0.0)
    assert pair.client.in_flight == 1


@pytest.mark.parametrize("wrong", [{"stop": 256}, {"stop": -1}, {"hops": 256}])
def test_numbers_that_do_not_fit_are_not_sent(wrong: dict[str, int]) -> None:
    with pytest.raises(LocalProtocolError, match="below 256"):
        Pair.open(offered=True, taken=True).client.send(replace(Request(1, 5, b"x"), **wrong))


@pytest.mark.parametrize("scale", ["0", "-1", "NaN", '"2"', "1e999"])
def test_a_speed_that_makes_no_sense_is_an_error(scale: str) -> None:
    text = encode_frame(msgspec.structs.replace(WELCOME, extensions=(TIERS,), scale=2.5))[16:].decode()
    assert '"scale":2.5' in text
    with pytest.raises(RemoteProtocolError, match="malformed"):
        decode_frame(with_checksum(2, 0, text.replace('"scale":2.5', f'"scale":{scale}').encode()))


def test_greetings_without_extensions_are_what_they_always_were() -> None:
    assert b"extensions" not in encode_frame(HELLO) + encode_frame(WELCOME)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=300), st.floats(0, 4000)), max_size=5))
def test_hops_round_trip(hops: list[tuple[str, float]]) -> None:
    sent = tuple(Hop(name, *(round(ms, 3) for ms in (time, time / 2, 0.0, 1.0, time))) for name, time in hops)
    got = decode_frame(encode_frame(msgspec.structs.replace(result(1), hops=sent)))
    assert isinstance(got, Result)
    assert_same(got, result(1))
    for there, here in zip(got.hops, sent, strict=True):
        assert msgspec.structs.replace(there, tier=here.tier) == here
        assert here.tier.startswith(there.tier)
        assert len(there.tier.encode()) > 251 or there.tier == here.tier


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=120), st.integers(1, 255))
def test_hops_that_are_cut_off_are_errors(body: bytes, count: int) -> None:
    header = struct.pack("<IfI", 0, 0.0, 0) + struct.pack("<IIIHBB", 0, 0, 0, 0, 0, count)
    pair = Pair.open(offered=True, taken=True)
    pair.up(Request(1, 0, b"x"))
    with contextlib.suppress(RemoteProtocolError):
        event = pair.client.receive(with_checksum(6, 1, header + body), 0.0)
        assert isinstance(event, Result)
        assert len(event.hops) == count


# -- trace -------------------------------------------------------------------------------------------------------

CONTEXT = TraceContext(0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, 1)


def test_the_context_of_a_trace_stands_in_front_of_the_payload() -> None:
    pair = Pair.open(offered=True, taken=True, extension=TRACE)
    plain = Pair.open().client.send(Request(1, 5, b"payload"))[0]
    (frame,) = pair.client.send(Request(1, 5, b"payload", trace=CONTEXT))
    context = bytes.fromhex("0af7651916cd43dd8448eb211c80319cb7ad6b716920333101")
    assert frame[:2] == b"\x03\x01"
    assert frame[16:] == plain[16:28] + context + b"payload"
    got = pair.server.receive(frame, 0.0)
    assert got == Request(1, 5, b"payload", trace=CONTEXT)


@pytest.mark.parametrize(("offered", "taken"), [(False, False), (True, False), (False, True)])
def test_a_context_that_was_not_agreed_on_is_an_error_of_whoever_uses_it(offered: bool, taken: bool) -> None:
    pair = Pair.open(offered=offered, taken=taken, extension=TRACE)
    agreed = Pair.open(offered=True, taken=True, extension=TRACE)
    asked = Request(1, 5, b"x", trace=CONTEXT)
    with pytest.raises(LocalProtocolError, match="does not know of trace"):
        pair.client.send(asked)
    with pytest.raises(RemoteProtocolError, match="trace, which was not agreed on"):
        pair.server.receive(agreed.client.send(asked)[0], 0.0)
    # Tiers are another extension.
    with pytest.raises(LocalProtocolError, match="does not know of tiers"):
        agreed.client.send(Request(2, 5, b"x", hops=1, trace=CONTEXT))
    assert pair.up(Request(1, 5, b"x")) == [Request(1, 5, b"x")]


@pytest.mark.parametrize(
    "wrong", [(0, 1, 0), (1 << 128, 1, 0), (1, 0, 0), (1, 1 << 64, 0), (1, 1, 256), (1, 1, -1)], ids=str
)
def test_a_context_that_is_none_is_not_sent(wrong: tuple[int, int, int]) -> None:
    pair = Pair.open(offered=True, taken=True, extension=TRACE)
    with pytest.raises(LocalProtocolError, match="the ids are not 0"):
        pair.client.send(Request(1, 5, b"x", trace=TraceContext(*wrong)))
    assert pair.client.in_flight == 0


@settings(max_examples=200, deadline=None)
@given(
    st.builds(TraceContext, st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 255)),
    st.binary(max_size=9000),
)
def test_contexts_round_trip(context: TraceContext, payload: bytes) -> None:
    pair = Pair.open(offered=True, taken=True, extension=TRACE)
    assert pair.up(Request(1, 3, payload, 0.25, trace=context)) == [Request(1, 3, payload, 0.25, trace=context)]


@settings(max_examples=300, deadline=None)
@given(kind=st.integers(1, 10), flags=st.integers(1, 255), body=st.binary(max_size=60))
def test_flags_are_known_or_refused(kind: int, flags: int, body: bytes) -> None:
    pair = Pair.open(offered=True, taken=True, extension=TRACE)
    zeros = not (any(body[12:28]) and any(body[28:36]))
    frame = with_checksum(kind, 1, body, flags)
    if kind != 3 or flags != 1 or len(body) < 37 or zeros:
        with pytest.raises(RemoteProtocolError):
            pair.server.receive(frame, 0.0)
    else:
        with contextlib.suppress(RemoteProtocolError):
            assert isinstance(pair.server.receive(frame, 0.0), Request | Rejected | None)


@pytest.mark.parametrize(("trace_id", "span_id"), [(bytes(16), b"a" * 8), (b"a" * 16, bytes(8))])
def test_ids_of_zero_are_refused(trace_id: bytes, span_id: bytes) -> None:
    pair = Pair.open(offered=True, taken=True, extension=TRACE)
    body = struct.pack("<HBBII", 0, 0, 0, 0, 1) + trace_id + span_id + b"\x01" + b"x"
    with pytest.raises(RemoteProtocolError, match="is 0"):
        pair.server.receive(with_checksum(3, 1, body, 1), 0.0)


# -- exits -------------------------------------------------------------------------------------------------------


def test_an_answer_from_an_exit_says_from_which() -> None:
    pair = Pair.open(offered=True, taken=True, extension=EXITS)
    plain = Pair.open().client.send(Request(1, 5, b"payload"))[0]
    (frame,) = pair.client.send(Request(1, 5, b"payload", exits=3))
    assert frame[:2] == b"\x03\x04"
    assert frame[16:] == plain[16:28] + b"\x03" + b"payload"
    assert pair.server.receive(frame, 0.0) == Request(1, 5, b"payload", exits=3)
    sent = msgspec.structs.replace(result(1), exit=2)
    (answer,) = pair.down(sent)
    assert isinstance(answer, Result)
    assert answer.exit == 2
    assert_same(answer, sent)


@pytest.mark.parametrize(("allowed", "named"), [(0, 1), (1, 2), (254, 255)])
def test_an_exit_that_is_not_allowed_must_not_answer(allowed: int, named: int) -> None:
    pair = Pair.open(offered=True, taken=True, extension=EXITS)
    pair.up(Request(1, 5, b"x", exits=allowed))
    answer = msgspec.structs.replace(result(1), exit=named)
    with pytest.raises(LocalProtocolError, match=f"does not allow an answer from exit {named}"):
        pair.server.send(answer)
    with pytest.raises(RemoteProtocolError, match="which the request does not allow"):
        pair.client.receive(encode_frame(answer), 0.0)
    assert isinstance(pair.down(msgspec.structs.replace(answer, exit=allowed))[0], Result)


@pytest.mark.parametrize(("offered", "taken"), [(False, False), (True, False), (False, True)])
def test_exits_that_were_not_agreed_on_are_errors_of_whoever_uses_them(offered: bool, taken: bool) -> None:
    pair = Pair.open(offered=offered, taken=taken, extension=EXITS)
    agreed = Pair.open(offered=True, taken=True, extension=EXITS)
    asked = Request(1, 5, b"x", exits=1)
    with pytest.raises(LocalProtocolError, match="does not know of exits"):
        pair.client.send(asked)
    with pytest.raises(RemoteProtocolError, match="exits, which was not agreed on"):
        pair.server.receive(agreed.client.send(asked)[0], 0.0)
    assert pair.up(Request(1, 5, b"x")) == [Request(1, 5, b"x")]
    with pytest.raises(RemoteProtocolError, match="exits, which was not agreed on"):
        pair.client.receive(encode_frame(msgspec.structs.replace(result(1), exit=1)), 0.0)


@pytest.mark.parametrize("exits", [-1, 256])
def test_a_number_of_exits_that_does_not_fit_is_not_sent(exits: int) -> None:
    with pytest.raises(LocalProtocolError, match="below 256"):
        Pair.open(offered=True, taken=True, extension=EXITS).client.send(Request(1, 5, b"x", exits=exits))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 255), st.data(), st.binary(max_size=9000))
def test_exits_round_trip(exits: int, data: st.DataObject, payload: bytes) -> None:
    pair = Pair.open(offered=True, taken=True, extension=EXITS)
    asked = Request(1, 3, payload, 0.25, exits=exits)
    assert pair.up(asked) == [asked]
    answer = msgspec.structs.replace(result(1), exit=data.draw(st.integers(0, exits)))
    (got,) = pair.down(answer)
    assert isinstance(got, Result)
    assert got.exit == answer.exit


@settings(max_examples=300, deadline=None)
@given(flags=st.sampled_from([0, 4]), front=st.binary(max_size=32), rest=st.binary(max_size=20))
def test_results_that_are_cut_off_at_their_exit_are_errors(flags: int, front: bytes, rest: bytes) -> None:
    pair = Pair.open(offered=True, taken=True, extension=EXITS)
    pair.up(Request(1, 0, b"x", exits=7))
    with contextlib.suppress(RemoteProtocolError):
        event = pair.client.receive(with_checksum(6, 1, front + rest, flags), 0.0)
        assert isinstance(event, Result)
        assert bool(event.exit) is bool(flags)
        assert event.exit <= 7


@pytest.mark.parametrize("body", [b"", b"\x00", b"\x00payload"])
def test_the_flag_without_an_exit_is_refused(body: bytes) -> None:
    pair = Pair.open(offered=True, taken=True, extension=EXITS)
    opening = struct.pack("<HBBII", 0, 0, 0, 0, max(0, len(body) - 1))
    with pytest.raises(RemoteProtocolError, match="flag for exits"):
        pair.server.receive(with_checksum(3, 1, opening + body, 4), 0.0)
