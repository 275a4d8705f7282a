"""Real onnxruntime sessions, several samples at a time."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.support.toy import picture, toy_bundle

from cutpoint.codecs import BitstreamError, DeltaCodec, ReferenceLost, SymbolMemory
from cutpoint.sdk import Bundle
from cutpoint.sdk.errors import GraphError
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.head import Head
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.sdk.tail import Tail, TailOutput
from cutpoint.server.tails import Encoded, run_together, takes_batches

POINT = "cut1-fp32-affine-fine"


@pytest.fixture(scope="module")
def free() -> Bundle:
    return toy_bundle("free", free_batch=True)


def graphs(bundle: Bundle) -> BundleGraphs:
    return BundleGraphs(bundle, [create_runtime("onnx")])


class _Graph:
    """Answers as told, for the ways in which a graph may look as if it took batches."""

    input_names = output_names = ("x",)
    batches = True

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def run(self, inputs: Any) -> Any:
        return (self._answer(inputs[0]),)


def test_which_graphs_take_batches(bundle: Bundle, slow_bundle: Bundle, free: Bundle) -> None:
    for its, expected in ((free, True), (bundle, False), (slow_bundle, False)):
        tail = graphs(its).span(1, 2, "fp32")
        assert takes_batches(tail, its.manifest.boundaries[1].tensors) is expected


def test_graphs_that_mix_their_samples_do_not(bundle: Bundle) -> None:
    specs = bundle.manifest.boundaries[1].tensors

    def fails(x: np.ndarray) -> np.ndarray:
        raise GraphError("no")

    assert takes_batches(_Graph(lambda x: x.mean(axis=(1, 2, 3), keepdims=True)), specs)
    for answer in (
        lambda x: x - x.mean(),  # over the batch, too
        lambda x: x.mean(axis=0, keepdims=True),
        lambda x: x.reshape(-1, 4),
        fails,
    ):
        assert not takes_batches(_Graph(answer), specs)


def samples(bundle: Bundle, count: int, point_id: str = POINT) -> list[Encoded]:
    point = bundle.points[bundle.point_number(point_id)]
    head = Head(graphs(bundle))
    return [
        Encoded(point, head.run(point, (picture(i % 3, i)[None],)).payload or b"", SymbolMemory()) for i in range(count)
    ]


def test_each_gets_what_it_would_get_alone(free: Bundle) -> None:
    tail = Tail(graphs(free))
    asked = samples(free, 7)
    together = run_together(tail, asked)
    for sample, outcome in zip(asked, together, strict=True):
        alone = tail.run(sample.point, sample.payload)
        assert isinstance(outcome, TailOutput)
        assert outcome.outputs[0].shape == (1, 3)
        np.testing.assert_allclose(outcome.outputs[0], alone.outputs[0], rtol=1e-4, atol=1e-4)
    assert len({outcome.tail_ms for outcome in together if isinstance(outcome, TailOutput)}) == 1


def test_levels_and_codecs_of_one_boundary_go_together(free: Bundle) -> None:
    mixed = [samples(free, 1, p)[0] for p in ("cut1-fp32-raw-exact", "cut1-fp32-affine-coarse", "cut1-fp32-delta-fine")]
    for outcome in run_together(Tail(graphs(free)), mixed):
        assert isinstance(outcome, TailOutput)
        assert outcome.outputs[0].argmax() == 0


def test_a_bad_payload_is_its_senders_alone(free: Bundle) -> None:
    asked = samples(free, 4)
    asked[1] = Encoded(asked[1].point, b"\xff" * 9, SymbolMemory())
    outcomes = run_together(Tail(graphs(free)), asked)
    assert isinstance(outcomes[1], BitstreamError)
    for i in (0, 2, 3):
        outcome = outcomes[i]
        assert isinstance(outcome, TailOutput)
        assert outcome.outputs[0].argmax() == i % 3
    (only,) = run_together(Tail(graphs(free)), asked[1:2])
    assert isinstance(only, BitstreamError)


def test_a_tail_that_fails_for_all_is_tried_one_by_one(bundle: Bundle) -> None:
    outcomes = run_together(Tail(graphs(bundle)), samples(bundle, 3))  # this tail takes one at a time
    for i, outcome in enumerate(outcomes):
        assert isinstance(outcome, TailOutput)
        assert outcome.outputs[0].argmax() == i


class _Counting:
    """A decoder graph that counts its runs."""

    def __init__(self, tail: Tail, codec: str, most: int = 99) -> None:
        its = tail._graphs.codec(codec)
        self.batches: list[int] = []
        synthesis = its.parts.synthesis
        assert synthesis is not None

        def run(symbols: Any, level: int) -> Any:
            self.batches.append(len(symbols[0]))
            if len(symbols[0]) > most:
                raise GraphError("too many")
            return synthesis(symbols, level)

        its.parts = replace(its.parts, synthesis=run)


def test_decoders_run_once_for_all_that_have_one_level(free: Bundle) -> None:
    tail = Tail(graphs(free))
    decoder, streams = _Counting(tail, "1-affine"), _Counting(tail, "1-delta")
    coarse, fine = (samples(free, 3, f"cut1-fp32-affine-{level}") for level in ("coarse", "fine"))
    delta = samples(free, 2, "cut1-fp32-delta-fine")
    mixed = [coarse[0], fine[0], delta[0], fine[1], coarse[1], delta[1], fine[2], coarse[2]]
    mixed[3] = Encoded(fine[1].point, b"\xff" * 9)
    outcomes = run_together(tail, mixed)
    assert (sorted(decoder.batches), streams.batches) == ([2, 3], [2])
    for i, (sample, outcome) in enumerate(zip(mixed, outcomes, strict=True)):
        if i == 3:
            assert isinstance(outcome, BitstreamError)
            continue
        assert isinstance(outcome, TailOutput)
        np.testing.assert_allclose(
            outcome.outputs[0], Tail(graphs(free)).run(sample.point, sample.payload).outputs[0], rtol=1e-4, atol=1e-4
        )


def test_decoders_that_take_one_payload_get_one(bundle: Bundle) -> None:
    tail = Tail(graphs(bundle))
    decoder = _Counting(tail, "1-affine")
    assert all(isinstance(outcome, TailOutput) for outcome in run_together(tail, samples(bundle, 3)))
    assert decoder.batches == [1, 1, 1]


def test_a_decoder_that_fails_for_all_is_tried_one_by_one(free: Bundle) -> None:
    tail = Tail(graphs(free))
    decoder = _Counting(tail, "1-affine", most=1)
    asked = samples(free, 3)
    asked[1] = Encoded(asked[1].point, b"\xff" * 9)
    first, second, third = run_together(tail, asked)
    assert decoder.batches == [2, 1, 1]
    assert isinstance(second, BitstreamError)
    for i, outcome in ((0, first), (2, third)):
        assert isinstance(outcome, TailOutput)
        assert outcome.outputs[0].argmax() == i


def test_frames_of_a_stream_in_one_batch_know_those_before_them(free: Bundle) -> None:
    point = free.points[free.point_number("cut1-fp32-delta-fine")]
    head, memory, reference = Head(graphs(free)), SymbolMemory(), None
    frames = []
    for _ in range(3):
        sent = head.run(point, (picture(1)[None],), reference)
        reference = sent.symbols
        frames.append(Encoded(point, sent.payload or b"", memory))
    assert [DeltaCodec.is_key(frame.payload) for frame in frames] == [True, False, False]
    for outcome in run_together(Tail(graphs(free)), frames):
        assert isinstance(outcome, TailOutput)
        assert outcome.outputs[0].argmax() == 1
    (lost,) = run_together(Tail(graphs(free)), [Encoded(point, frames[1].payload)])
    assert isinstance(lost, ReferenceLost)
