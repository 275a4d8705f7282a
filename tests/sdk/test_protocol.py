import contextlib
import struct
import zlib
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutpoint.codecs import DTYPES
from cutpoint.sdk.errors import LocalProtocolError, RemoteProtocolError
from cutpoint.sdk.protocol import (
    MAX_FRAMES,
    TIERS,
    TRACE,
    Cancel,
    Connection,
    ConnectionState,
    Error,
    Event,
    Goaway,
    Hello,
    Hop,
    Limits,
    Ping,
    Pong,
    Rejected,
    Request,
    Result,
    Role,
    ServerState,
    Timings,
    TraceContext,
    Welcome,
    decode_frame,
    encode_frame,
)

LIMITS = Limits(frame=4096, in_flight=3)
HELLO = Hello((1,), "b" * 64, "secret", "test/1", "phone")
WELCOME = Welcome(1, "cutpoint/0", "b" * 64, LIMITS)


class Pair:
    """A client and a server without anything between them. Every event goes through both."""

    def __init__(self, max_payload: int = 1 << 20) -> None:
        self.client = Connection(Role.CLIENT, 1 << 20)
        self.server = Connection(Role.SERVER, LIMITS.frame, lambda point: max_payload if point < 10 else None)
        self.now = 0.0

    @classmethod
    def open(
        cls, max_payload: int = 1 << 20, offered: bool = False, taken: bool = False, extension: str = TIERS
    ) -> "Pair":
        pair = cls(max_payload)
        hello = msgspec.structs.replace(HELLO, extensions=(extension, "unheard-of") if offered else ())
        welcome = msgspec.structs.replace(WELCOME, extensions=(extension,) if taken else ())
        assert pair.up(hello) == [hello]
        assert pair.down(welcome) == [welcome]
        return pair

    def up(self, event: Event) -> list[Event]:
        return self._pass(self.client, self.server, event)

    def down(self, event: Event) -> list[Event]:
        return self._pass(self.server, self.client, event)

    def _pass(self, sender: Connection, receiver: Connection, event: Event) -> list[Event]:
        events = []
        for frame in sender.send(event):
            self.now += 0.001
            got = receiver.receive(frame, self.now)
            events += [] if got is None else [got]
        return events


def result(request_id: int, value: float = 1.0) -> Result:
    return Result(
        request_id,
        (np.full((1, 3), value, np.float32), np.arange(4, dtype=np.int64).reshape(2, 2)),
        Timings(1.5, 0.25, 3.0),
        ServerState(2.0, 0.5, True),
        (0.0, 0.001),
    )


def assert_same(a: Result, b: Result) -> None:
    assert (a.request_id, a.timings, a.state, a.arrivals) == (b.request_id, b.timings, b.state, b.arrivals)
    assert len(a.outputs) == len(b.outputs)
    for x, y in zip(a.outputs, b.outputs, strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def test_greeting_opens_both_sides() -> None:
    pair = Pair.open()
    assert pair.client.state is pair.server.state is ConnectionState.OPEN
    assert pair.client.limits == pair.server.limits == LIMITS


@pytest.mark.parametrize("size", [0, 1, 1199, 1200, 1201, 9000, 100_000])
def test_request_of_any_size_arrives_whole(size: int) -> None:
    pair = Pair.open()
    payload = np.random.default_rng(size).bytes(size)
    (got,) = pair.up(Request(1, 5, payload, budget=0.25))
    assert got == Request(1, 5, payload, 0.25)
    assert isinstance(got, Request)
    assert got.arrivals[0] == 0
    assert len(got.arrivals) <= max(MAX_FRAMES, -(-size // 4000) + 1)
    assert list(got.arrivals) == sorted(got.arrivals)
    (answer,) = pair.down(result(1))
    assert isinstance(answer, Result)
    assert_same(answer, result(1))
    assert pair.client.in_flight == pair.server.in_flight == 0


@pytest.mark.parametrize(("pieces", "size", "frames"), [(1, 3000, 1), (2, 3000, 2), (4, 3000, 3), (1, 9000, 3)])
def test_a_client_may_want_fewer_frames(pieces: int, size: int, frames: int) -> None:
    pair = Pair()
    pair.client = Connection(Role.CLIENT, 1 << 20, pieces=pieces)
    pair.up(HELLO)
    pair.down(WELCOME)
    assert len(pair.client.send(Request(1, 0, b"a" * size))) == frames


def test_requests_are_multiplexed_and_answered_in_any_order() -> None:
    pair = Pair.open()
    first = pair.client.send(Request(1, 0, b"a" * 3000))
    second = pair.client.send(Request(2, 0, b"b" * 3000))
    mixed = [frame for both in zip(first, second, strict=True) for frame in both]
    got = [event for frame in mixed if (event := pair.server.receive(frame, 0.0))]
    assert [(e.request_id, e.payload[:1]) for e in got if isinstance(e, Request)] == [(1, b"a"), (2, b"b")]
    assert isinstance(pair.down(result(2))[0], Result)
    assert pair.down(Error(1, "internal", "no", None)) == [Error(1, "internal", "no")]


def test_cancel_before_and_after_the_answer() -> None:
    pair = Pair.open()
    pair.up(Request(1, 0, b"x"))
    assert pair.up(Cancel(1)) == [Cancel(1)]
    assert pair.down(Error(1, "cancelled", "")) == [Error(1, "cancelled", "")]
    # The answer crosses the cancellation: both sides take it as done.
    pair.up(Request(2, 0, b"x"))
    cancel = pair.client.send(Cancel(2))
    frames = pair.server.send(result(2))
    assert pair.server.receive(cancel[0], 0.0) is None
    assert isinstance(pair.client.receive(frames[0], 0.0), Result)
    assert pair.client.in_flight == pair.server.in_flight == 0


def test_cancel_in_the_middle_of_an_upload() -> None:
    pair = Pair.open()
    frames = pair.client.send(Request(1, 0, b"x" * 5000))
    assert pair.server.receive(frames[0], 0.0) is None
    assert pair.up(Cancel(1)) == [Cancel(1)]
    # Chunks that were on the way are of no interest.
    assert pair.server.receive(frames[1], 0.0) is None
    assert pair.down(Error(1, "cancelled", "")) == [Error(1, "cancelled", "")]
    assert pair.server.receive(frames[2], 0.0) is None


@pytest.mark.parametrize(
    ("request_event", "code"),
    [
        (Request(1, 10, b"x"), "unknown_point"),
        (Request(1, 65535, b""), "unknown_point"),
        (Request(1, 0, b"x" * 101), "too_large"),
    ],
)
def test_request_that_breaks_a_rule_is_rejected_alone(request_event: Request, code: str) -> None:
    pair = Pair.open(max_payload=100)
    (rejected,) = pair.up(request_event)
    assert isinstance(rejected, Rejected)
    assert rejected.code == code
    assert pair.down(Error(1, code, rejected.message)) == [Error(1, code, rejected.message)]
    assert isinstance(pair.up(Request(2, 0, b"fine"))[0], Request)


def test_client_keeps_the_servers_limits() -> None:
    pair = Pair.open()
    for number in range(1, 4):
        pair.up(Request(number, 0, b""))
    with pytest.raises(LocalProtocolError, match="3 requests are in flight"):
        pair.client.send(Request(4, 0, b""))
    with pytest.raises(LocalProtocolError, match="longer than the server's limit"):
        pair.client.send(Ping(0.0, padding=5000))
    with pytest.raises(LocalProtocolError, match="was used"):
        pair.client.send(Request(1, 0, b""))


def test_server_rejects_more_in_flight_than_it_allows() -> None:
    pair = Pair.open()
    pair.client.limits = Limits(frame=4096, in_flight=100)
    events = [event for number in range(1, 6) for event in pair.up(Request(number, 0, b""))]
    assert [type(event) for event in events] == [Request] * 3 + [Rejected] * 2


@pytest.mark.parametrize(
    "event",
    [Request(1, 0, b""), Ping(0.0), Cancel(1), WELCOME, Result(1, ()), Goaway(1.0)],
    ids=lambda event: type(event).__name__,
)
def test_nothing_but_hello_comes_first(event: Event) -> None:
    with pytest.raises(LocalProtocolError):
        Connection(Role.CLIENT, 1 << 20).send(event)
    server = Connection(Role.SERVER, 1 << 20, lambda point: 100)
    data = encode_frame(event) if not isinstance(event, Request) else Pair.open().client.send(event)[0]
    with pytest.raises(RemoteProtocolError):
        server.receive(data, 0.0)
    assert server.state is ConnectionState.START


@pytest.mark.parametrize("event", [Result(1, ()), Error(7, "internal", ""), Result(0, ())])
def test_answer_nobody_waits_for_is_an_error(event: Event) -> None:
    pair = Pair.open()
    with pytest.raises(LocalProtocolError):
        pair.server.send(event)
    with pytest.raises(RemoteProtocolError):
        pair.client.receive(encode_frame(event), 0.0)  # type: ignore[arg-type]


def test_second_answer_is_an_error() -> None:
    pair = Pair.open()
    pair.up(Request(1, 0, b""))
    pair.down(result(1))
    with pytest.raises(LocalProtocolError):
        pair.server.send(result(1))
    with pytest.raises(RemoteProtocolError, match="not waiting"):
        pair.client.receive(encode_frame(result(1)), 0.0)


def test_drain_lets_requests_finish() -> None:
    pair = Pair.open()
    pair.up(Request(1, 0, b""))
    late = pair.client.send(Request(2, 0, b""))
    assert pair.down(Goaway(5.0)) == [Goaway(5.0)]
    assert isinstance(pair.server.receive(late[0], 0.0), Request)
    assert isinstance(pair.down(result(1))[0], Result)
    assert pair.down(Error(2, "draining", "")) == [Error(2, "draining", "")]
    assert pair.client.state is ConnectionState.DRAINING


def test_connection_error_ends_everything() -> None:
    pair = Pair.open()
    error = Error(0, "internal", "boom", 1.5)
    assert pair.down(error) == [error]
    assert pair.client.state is pair.server.state is ConnectionState.CLOSED
    with pytest.raises(LocalProtocolError):
        pair.client.send(Ping(0.0))


def test_ping_pong_both_ways() -> None:
    pair = Pair.open()
    assert pair.up(Ping(1.5, 100)) == [Ping(1.5, 100)]
    pong = Pong(1.5, 2.25, ServerState(1.0, 0.0, False))
    assert pair.down(pong) == [pong]
    assert pair.down(Ping(3.0)) == [Ping(3.0)]
    assert pair.up(Pong(3.0, 4.0)) == [Pong(3.0, 4.0)]


# -- tiers -------------------------------------------------------------------------------------------------------


def test_tiers_hold_where_both_ends_know_of_them() -> None:
    pair = Pair.open(offered=True, taken=True)
    asked = Request(1, 5, b"x" * 3000, 0.25, stop=3, hops=2)
    assert pair.up(asked) == [asked]
    hops = (Hop("Kante 1", 1.5, 0.25, 3.0, 0.5, 40.0), Hop("cloud", 0.0, 0.125, 9.0, 0.0, 9.5))
    (answer,) = pair.down(replace(result(1), hops=hops))
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
    answer = replace(result(1), hops=(Hop("cloud"),))
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
    got = decode_frame(encode_frame(replace(result(1), hops=sent)))
    assert isinstance(got, Result)
    assert_same(got, result(1))
    for there, here in zip(got.hops, sent, strict=True):
        assert replace(there, tier=here.tier) == here
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


# -- damage ------------------------------------------------------------------------------------------------------


def test_text_message_is_an_error() -> None:
    with pytest.raises(RemoteProtocolError, match="text"):
        Pair.open().server.receive("hello", 0.0)


def test_oversized_frame_is_too_large() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        Pair.open().server.receive(bytes(LIMITS.frame + 1), 0.0)
    assert caught.value.code == "too_large"


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_flipped_bits_never_pass(data: st.DataObject) -> None:
    pair = Pair.open()
    frames = pair.client.send(Request(1, 3, b"some payload " * 50))
    frame = bytearray(frames[0])
    position = data.draw(st.integers(0, len(frame) - 1))
    frame[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(RemoteProtocolError) as caught:
        pair.server.receive(bytes(frame), 0.0)
    assert caught.value.code in ("bad_request", "bad_payload")


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_truncated_frames_never_pass(data: st.DataObject) -> None:
    pair = Pair.open()
    frame = pair.client.send(Request(1, 3, b"some payload " * 50))[0]
    with pytest.raises(RemoteProtocolError):
        pair.server.receive(frame[: data.draw(st.integers(0, len(frame) - 1))], 0.0)


def with_checksum(kind: int, request_id: int, body: bytes, flags: int = 0) -> bytes:
    checked = struct.pack("<BBHII", kind, flags, 0, request_id, len(body))
    return checked + struct.pack("<I", zlib.crc32(checked + body)) + body


@settings(max_examples=1000, deadline=None)
@given(kind=st.integers(0, 255), request_id=st.integers(0, 5), body=st.binary(max_size=80))
def test_well_framed_nonsense_is_a_typed_error_or_an_event(kind: int, request_id: int, body: bytes) -> None:
    for side in ("client", "server"):
        pair = Pair.open()
        pair.up(Request(1, 0, b"x"))
        with contextlib.suppress(RemoteProtocolError):
            getattr(pair, side).receive(with_checksum(kind, request_id, body), 0.0)


@settings(max_examples=300, deadline=None)
@given(body=st.binary(max_size=200), count=st.integers(0, 255), shape=st.lists(st.integers(0, 2**32 - 1), max_size=4))
def test_result_sizes_are_checked_before_memory_is_taken(body: bytes, count: int, shape: list[int]) -> None:
    # A result that announces huge tensors: nothing of that size may be allocated.
    header = struct.pack("<IfI", 0, 0.0, 0) + struct.pack("<IIIHBB", 0, 0, 0, 0, count, 0)
    tensor = struct.pack("<BBH", 0, len(shape), 0) + b"".join(struct.pack("<I", side) for side in shape)
    pair = Pair.open()
    pair.up(Request(1, 0, b"x"))
    data = with_checksum(6, 1, header + tensor + body)
    try:
        event = pair.client.receive(data, 0.0)
    except RemoteProtocolError:
        return
    assert isinstance(event, Result)
    assert sum(tensor.nbytes for tensor in event.outputs) <= len(data)


def test_chunks_that_do_not_follow_are_rejected() -> None:
    pair = Pair.open()
    frames = pair.client.send(Request(1, 0, b"x" * 6000))
    assert pair.server.receive(frames[0], 0.0) is None
    rejected = pair.server.receive(frames[2], 0.0)
    assert isinstance(rejected, Rejected)
    assert rejected.code == "bad_payload"
    # The rest of the upload is of no use, and no second complaint follows.
    assert pair.down(Error(1, rejected.code, "")) == [Error(1, "bad_payload", "")]
    assert pair.server.receive(frames[3], 0.0) is None
    with pytest.raises(RemoteProtocolError, match="was not opened"):
        pair.server.receive(with_checksum(4, 9, struct.pack("<I", 0) + b"x"), 0.0)


dtypes = st.sampled_from(DTYPES)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(dtypes, st.lists(st.integers(0, 5), max_size=4)), max_size=4),
    st.lists(st.floats(0, 100), max_size=8),
    st.floats(0, 4000),
)
def test_results_round_trip(tensors: list[tuple[str, list[int]]], arrivals: list[float], queue: float) -> None:
    rng = np.random.default_rng(0)
    outputs = tuple(rng.integers(0, 2, shape).astype(dtype) for dtype, shape in tensors)
    rounded = tuple(round(a * 1e6) / 1e6 for a in arrivals)
    sent = Result(1, outputs, Timings(round(queue * 1e3) / 1e3, 0.0, 0.0), ServerState(), rounded)
    got = decode_frame(encode_frame(sent))
    assert isinstance(got, Result)
    assert_same(got, sent)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=9000), min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_any_interleaving_of_requests_arrives(payloads: list[bytes], random: object) -> None:
    pair = Pair.open()
    queues = [pair.client.send(Request(i + 1, 0, payload)) for i, payload in enumerate(payloads)]
    # Openings keep their order, because ids rise; chunks may come in any mix.
    got = [pair.server.receive(queue.pop(0), 0.0) for queue in queues]
    while any(queues):
        queue = random.choice([queue for queue in queues if queue])  # type: ignore[attr-defined]
        got.append(pair.server.receive(queue.pop(0), 0.0))
    arrived = {event.request_id: event.payload for event in got if isinstance(event, Request)}
    assert arrived == {i + 1: payload for i, payload in enumerate(payloads)}
