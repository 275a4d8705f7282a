import contextlib
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.protocol import HELLO, LIMITS, WELCOME, Pair, assert_same, result, with_checksum

from cutpoint.codecs import DTYPES
from cutpoint.sdk.errors import LocalProtocolError, RemoteProtocolError
from cutpoint.sdk.protocol import (
    MAX_FRAMES,
    Cancel,
    Connection,
    ConnectionState,
    Error,
    Event,
    Goaway,
    Limits,
    Ping,
    Pong,
    Rejected,
    Request,
    Result,
    Role,
    ServerState,
    Timings,
    decode_frame,
    encode_frame,
)


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
