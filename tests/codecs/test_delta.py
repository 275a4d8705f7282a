"""`delta`: streams stay exact and in step, whatever is lost on the way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutpoint.codecs import (
    Array,
    BitstreamError,
    CodecError,
    CodecParts,
    DeltaCodec,
    EntropyModel,
    ReferenceLost,
    SymbolMemory,
    TensorSpec,
    create_codec,
    pack_tables,
)

SHAPE = (1, 4, 5, 6)


def make(dtype: str = "int8") -> DeltaCodec:
    """A codec whose "graphs" cast: the tensors are the symbols."""
    rng = np.random.default_rng(0)
    spec = TensorSpec("x", SHAPE, "float32")
    intra = rng.normal(100 if dtype == "uint8" else 0, 20, (50, 4, 30)).round().astype(dtype)
    signed = np.dtype(f"int{8 * np.dtype(dtype).itemsize}")
    small = rng.choice([-1, 0, 0, 0, 0, 0, 1], (50, 4, 30)).astype(signed)
    parts = CodecParts(
        source=(spec,),
        target=(spec,),
        levels=("low", "high"),
        symbols=(TensorSpec("s", SHAPE, dtype),),
        tables=pack_tables([[EntropyModel.fit(rows)] for rows in (intra, intra, small, small)]),
        analysis=lambda tensors, level: (tensors[0].astype(dtype),),
        synthesis=lambda symbols, level: (symbols[0].astype(np.float32),),
    )
    codec = create_codec("delta", parts)
    assert isinstance(codec, DeltaCodec)
    return codec


def frames(seed: int, count: int, dtype: str = "int8", cut: int | None = None) -> list[tuple[Array]]:
    """A slow stream, with a cut to something else before frame `cut`."""
    rng = np.random.default_rng(seed)
    middle = 100 if dtype == "uint8" else 0
    state = rng.normal(middle, 20, SHAPE).round()
    out = []
    for i in range(count):
        if i == cut:
            state = rng.normal(middle, 20, SHAPE).round()
        out.append((state.clip(0, 255) if dtype == "uint8" else state.clip(-128, 127),))
        state = state + rng.choice([-1, 0, 0, 0, 0, 0, 1], SHAPE)
    return [(frame.astype(np.float32),) for (frame,) in out]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_slow_stream_costs_little_and_comes_back_exactly(dtype: str) -> None:
    codec, memory = make(dtype), SymbolMemory()
    reference, intra, delta = None, 0, 0
    for tensors in frames(1, 20, dtype):
        payload, symbols = codec.encode_frame(tensors, 1, reference)
        decoded = codec.decode_frame(payload, 1, memory)
        np.testing.assert_array_equal(decoded[0], tensors[0])
        intra += len(codec.encode(tensors, 1))
        delta += len(payload)
        reference = symbols
    assert delta < 0.6 * intra


def test_cut_falls_back_to_a_key_frame() -> None:
    codec = make()
    a, b = frames(2, 2, cut=1)
    _, reference = codec.encode_frame(a, 0, None)
    payload, _ = codec.encode_frame(b, 0, reference)
    assert payload[0] == 0
    assert len(payload) == len(codec.encode(b, 0))


def test_lost_reference_is_typed_and_a_key_frame_mends_it() -> None:
    codec, memory = make(), SymbolMemory()
    a, b = frames(3, 2)
    _, reference = codec.encode_frame(a, 0, None)
    payload, _ = codec.encode_frame(b, 0, reference)
    assert payload[0] == 1
    with pytest.raises(ReferenceLost):
        codec.decode_frame(payload, 0, memory)
    with pytest.raises(ReferenceLost):
        codec.decode(payload, 0)
    np.testing.assert_array_equal(codec.decode(codec.encode(b, 0), 0)[0], b[0])


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_ends_stay_in_step_whatever_is_lost(data: st.DataObject) -> None:
    """Requests are lost before or after the server, answers are lost, connections begin anew, several are in flight."""
    codec = make()
    memory = SymbolMemory(frames=3)
    acknowledged: tuple[Array, ...] | None = None
    pending: list[tuple[bytes, tuple[Array, ...], tuple[Array, ...]]] = []
    stream = frames(data.draw(st.integers(0, 100)), 25, cut=data.draw(st.integers(0, 24)))
    for tensors in stream:
        payload, symbols = codec.encode_frame(tensors, 0, acknowledged)
        pending.append((payload, symbols, tensors))
        while pending and data.draw(st.booleans()):
            payload, symbols, tensors = pending.pop(0)
            fate = data.draw(st.sampled_from(["answered", "answered", "request lost", "answer lost", "new connection"]))
            if fate == "new connection":
                memory = SymbolMemory(frames=3)
            if fate == "request lost":
                continue
            try:
                decoded = codec.decode_frame(payload, 0, memory)
            except ReferenceLost:
                decoded = codec.decode_frame(codec.encode(tensors, 0), 0, memory)
            np.testing.assert_array_equal(decoded[0], tensors[0])
            if fate != "answer lost":
                acknowledged = symbols


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=12), st.sampled_from(["int8", "uint8"])
)
def test_frames_of_several_streams_decoded_together_are_as_one_by_one(
    asked: list[tuple[int, bool]], dtype: str
) -> None:
    """Key frames and differences, also to a frame that comes in the same batch."""
    codec = make(dtype)
    left = [iter(frames(stream, len(asked), dtype)) for stream in range(3)]
    last: list[tuple[Array, ...] | None] = [None, None, None]
    together, alone = ([SymbolMemory() for _ in range(3)] for _ in range(2))
    batch = []
    for stream, differs in asked:
        payload, last[stream] = codec.encode_frame(next(left[stream]), 0, last[stream] if differs else None)
        batch.append((stream, payload))
    symbols = codec.decode_frames([(payload, together[stream]) for stream, payload in batch], 0)
    for row, (stream, payload) in enumerate(batch):
        (expected,) = codec.decode_frames([(payload, alone[stream])], 0)
        np.testing.assert_array_equal(symbols[0][row : row + 1], expected)
        assert symbols[0].dtype == expected.dtype
    for a, b in zip(together, alone, strict=True):
        assert list(a._kept) == list(b._kept)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_tensors_or_a_typed_error(payload: bytes) -> None:
    codec, memory = make(), SymbolMemory()
    _, reference = codec.encode_frame(frames(0, 1)[0], 0, None)
    memory.remember(reference)
    try:
        (tensor,) = codec.decode_frame(payload, 0, memory)
    except BitstreamError:
        return
    assert tensor.shape == SHAPE


def test_reference_of_another_codec_is_refused() -> None:
    codec, memory = make(), SymbolMemory()
    a, b = frames(3, 2)
    _, reference = codec.encode_frame(a, 0, None)
    payload, _ = codec.encode_frame(b, 0, reference)
    foreign = SymbolMemory()
    foreign._kept[int.from_bytes(payload[1:5], "little")] = (np.zeros((1, 2), np.int8),)
    with pytest.raises(BitstreamError, match="another codec's"):
        codec.decode_frame(payload, 0, foreign)
    # The encoder does not take one either.
    assert codec.encode_frame(b, 0, (np.zeros((1, 2), np.int8),))[0][0] == 0
    memory.remember(reference)
    assert codec.decode_frame(payload, 0, memory)[0].shape == SHAPE


def test_memory_forgets_the_oldest() -> None:
    memory = SymbolMemory(frames=2)
    symbols = [(np.full((2, 2), i, np.int8),) for i in range(3)]
    for each in symbols:
        memory.remember(each)
    assert len(memory._kept) == 2
    assert all(kept is not symbols[0] for kept in memory._kept.values())


def test_tables_for_other_symbols_are_refused() -> None:
    good = make("int8").parts
    wrong = CodecParts(
        **{**{f: getattr(good, f) for f in good.__slots__}, "symbols": (TensorSpec("s", SHAPE, "int16"),)}
    )
    with pytest.raises(CodecError, match="another type"):
        create_codec("delta", wrong)
