"""What the server and the process that computes say to each other comes back as it was."""

import pickle  # noqa: TID251  # it is what messages are made of
import socket
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.toy import toy_bundle

from cutpoint.codecs import BitstreamError, SymbolMemory
from cutpoint.sdk import GraphError
from cutpoint.sdk.tail import TailOutput
from cutpoint.server.engines.messages import (
    HEAD,
    pack,
    pack_outcomes,
    pack_sample,
    receive,
    sendable,
    unpack,
    unpack_outcomes,
    unpack_sample,
)
from cutpoint.server.tails import Encoded, Tensors

BUNDLE = toy_bundle()
POINTS = {id(point): number for number, point in enumerate(BUNDLE.points)}


def sent(message: object) -> Any:
    data = pack(message)
    assert HEAD.unpack_from(data)[0] == len(data) - HEAD.size
    return unpack(data[HEAD.size :])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9), st.none() | st.binary(max_size=9)), min_size=1, max_size=5),
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["float32", "int64"])), min_size=1, max_size=3),
    st.sets(st.integers(0, 4)),
)
def test_outcomes(
    times: list[tuple[float, float, bytes | None]], shapes: list[tuple[int, str]], failed: set[int]
) -> None:
    rng = np.random.default_rng(0)
    outcomes: list[TailOutput | Exception] = []
    for number, (decode_ms, tail_ms, payload) in enumerate(times):
        if number in failed:
            outcomes.append(BitstreamError(f"sample {number}"))
        else:
            outputs = tuple(rng.integers(0, 9, (1, side)).astype(dtype) for side, dtype in shapes)
            outcomes.append(TailOutput(outputs, decode_ms, tail_ms, payload, 0.5, number))
    back = unpack_outcomes(sent(pack_outcomes(outcomes)))
    assert len(back) == len(outcomes)
    for was, now in zip(outcomes, back, strict=True):
        if isinstance(was, Exception):
            assert (type(now), str(now)) == (type(was), str(was))
            continue
        assert isinstance(now, TailOutput)
        assert (now.decode_ms, now.tail_ms, now.payload) == (was.decode_ms, was.tail_ms, was.payload)
        assert (now.encode_ms, now.exit) == (was.encode_ms, was.exit)
        for a, b in zip(was.outputs, now.outputs, strict=True):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            np.testing.assert_array_equal(a, b)


def test_outputs_of_one_sample_need_not_be_rows() -> None:
    outputs = (np.float32(3).reshape(()), np.zeros((4, 6), np.float32))
    (back,) = unpack_outcomes(sent(pack_outcomes([TailOutput(outputs, 1.0, 2.0)])))
    assert isinstance(back, TailOutput)
    assert [output.shape for output in back.outputs] == [(), (4, 6)]


def test_samples() -> None:
    point, onward = BUNDLE.points[1], BUNDLE.points[2]
    memory = SymbolMemory()
    sample = Encoded(point, b"payload", memory, 1, onward)
    packed = pack_sample(sample, POINTS, {memory: 7}.__getitem__)
    assert len(pack(packed)) < 64
    other = SymbolMemory()
    back = unpack_sample(sent(packed), BUNDLE, {7: other}.__getitem__)
    assert isinstance(back, Encoded)
    assert (back.point, back.payload, back.stop, back.onward, back.exit) == (point, b"payload", 1, onward, None)
    assert back.memory is other


def test_points_that_the_bundle_does_not_have_and_other_samples_are_sent_whole() -> None:
    point = pickle.loads(pickle.dumps(BUNDLE.points[1]))
    packed = pack_sample(Encoded(point, b"payload", onward=point), POINTS, lambda memory: 0)
    back = unpack_sample(sent(packed), BUNDLE, lambda stream: SymbolMemory())
    assert isinstance(back, Encoded)
    assert back.point == back.onward == point
    tensors = Tensors(1, "fp32", (np.ones((1, 3), np.float32),), 2)
    back = unpack_sample(sent(pack_sample(tensors, POINTS, lambda memory: 0)), BUNDLE, lambda stream: SymbolMemory())
    assert isinstance(back, Tensors)
    assert (back.tail, back.tensors[0].tolist()) == (tensors.tail, [[1, 1, 1]])


class Picky(Exception):
    """Cannot be made of what it says."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one} and {other}")


def test_errors_that_cannot_be_sent_say_as_much() -> None:
    error = BitstreamError("too short")
    assert sendable(error) is error
    instead = sendable(Picky(1, 2))
    assert isinstance(instead, GraphError)
    assert str(instead) == "Picky: 1 and 2"


def test_long_messages_and_the_end() -> None:
    here, there = socket.socketpair()
    data = np.arange(1 << 20).tobytes()
    sending = threading.Thread(target=lambda: (here.sendall(pack(data) + pack("next")), here.close()))
    sending.start()
    with there:
        assert receive(there) == data
        assert receive(there) == "next"
        with pytest.raises(EOFError):
            receive(there)
    sending.join()
